// SPDX-License-Identifier: Apache-2.0
// What a vmx gives up before it runs anything of the guest's.
#ifndef BULKHEAD_VMX_JAIL_H
#define BULKHEAD_VMX_JAIL_H

#include <sys/types.h>

#include "base/err.h"

/* Become uid and gid (0: stay), for good, without capabilities, without gaining privileges by exec, with limits. Call
 * while there is one thread, after everything that is opened by path. Returns 0 or -errno. */
int jail_enter(uid_t uid, gid_t gid, struct err *e);

#endif
