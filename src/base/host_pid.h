// SPDX-License-Identifier: Apache-2.0
// Process ids as the host numbers them. A process may be the first of a namespace of its own, where all are called otherwise;
// /proc is that of the host, while its root folder is; before it goes elsewhere, that /proc can be kept.
#ifndef BH_HOST_PID_H
#define BH_HOST_PID_H

#include <sys/types.h>

pid_t host_pid_self(void);
void host_pid_keep(void);       // for the next host_pid_of: where /proc is another one then
pid_t host_pid_of(int pidfd);   // -1: not known

#endif
