# started on Mon Nov 23 03:58:44 2026


 Performance counter stats for process id '539':

             64933      syscalls:sys_enter_sendto                                          
             11968      syscalls:sys_enter_sendmsg                                         
             17740      syscalls:sys_enter_recvfrom                                        
             26025      syscalls:sys_enter_futex                                           
             15575      syscalls:sys_enter_epoll_wait                                      
              7090      syscalls:sys_enter_write                                           
             28297      context-switches                                                   
              2516      page-faults                                                        
              1178      syscalls:sys_enter_fdatasync                                       
                27      syscalls:sys_enter_madvise                                         
              1534      syscalls:sys_enter_mprotect                                        

      30.046194609 seconds time elapsed

