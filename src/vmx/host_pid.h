// SPDX-License-Identifier: Apache-2.0
// Process ids as the host numbers them. vmx may be the first process of a namespace of its own, where all are called otherwise;
// /proc is the host's, until the jail closes.
#ifndef BULKHEAD_VMX_HOST_PID_H
#define BULKHEAD_VMX_HOST_PID_H

#include <sys/types.h>

pid_t host_pid_self(void);
pid_t host_pid_of(int pidfd);   // -1: not known

#endif
