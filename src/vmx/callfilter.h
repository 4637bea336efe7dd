// SPDX-License-Identifier: Apache-2.0
// The system calls that a thread of vmx may make, by what it does. Everything else fails with EPERM.
#ifndef BULKHEAD_VMX_CALLFILTER_H
#define BULKHEAD_VMX_CALLFILTER_H

#include "base/err.h"

enum callfilter_role {
	CALLFILTER_CONTROL,   // the main thread and all threads that there are, once the engine has started
	CALLFILTER_DEVICE,    // serves a device: sockets, disks, event loop
	CALLFILTER_VCPU,      // runs the guest: KVM_RUN, eventfds, the console's pipe
};

/* For the calling thread and those it makes from now on, for good. Returns 0 or -errno. */
int callfilter_enter(enum callfilter_role role, struct err *e);

#endif
