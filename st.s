# started on Mon Nov 23 04:04:41 2026


 Performance counter stats for process id '19302':

             67060      syscalls:sys_enter_sendto                                          
             11900      syscalls:sys_enter_sendmsg                                         
             17583      syscalls:sys_enter_recvfrom                                        
             24049      syscalls:sys_enter_futex                                           
             15061      syscalls:sys_enter_epoll_wait                                      
              7183      syscalls:sys_enter_write                                           
             25583      context-switches                                                   
              2487      page-faults                                                        
              1206      syscalls:sys_enter_fdatasync                                       
                28      syscalls:sys_enter_madvise                                         
              1459      syscalls:sys_enter_mprotect                                        

      30.011518820 seconds time elapsed

