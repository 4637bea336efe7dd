// SPDX-License-Identifier: Apache-2.0
// What a vmx gives up before it runs anything of the guest's.
#ifndef BULKHEAD_VMX_JAIL_H
#define BULKHEAD_VMX_JAIL_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* Limits, namespaces (with a user of its own, where the host allows), no gaining of privileges by exec, an empty capability bounding set. Call while there is one thread: threads made
 * later inherit it. Returns 0 or -errno. */
int jail_begin(bool own_user, struct err *e);   // own_user: jail_enter will take a user that nobody shares

/* Become uid and gid (0: stay), for good, without capabilities, in another root folder (where jail_begin made namespaces).
 * no_program: an empty one. Else one in which QEMU can be started: programs and libraries to read, /dev/null, /dev/urandom, and a
 * /proc of our own processes. Call after everything that is opened by path. The change of user reaches every thread. Returns 0 or
 * -errno. */
int jail_enter(uid_t uid, gid_t gid, bool no_program, struct err *e);

#endif
