// SPDX-License-Identifier: Apache-2.0
// Process ids as the host numbers them. A process may be the first of a namespace of its own, where all are called otherwise;
// /proc is that of the host, while its root folder is.
#ifndef BH_HOST_PID_H
#define BH_HOST_PID_H

#include <sys/types.h>

pid_t host_pid_self(void);
pid_t host_pid_of(int pidfd);   // -1: not known

#endif
