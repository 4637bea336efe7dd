// SPDX-License-Identifier: Apache-2.0
// The control group of a VM's processes: what a guest that has taken over vmx can use of the host's memory, processors and
// process numbers at most. Versions 1 and 2 of the kernel's interface, whichever has the controller; below the group in which
// hostd itself is (version 2: beside it, since a group with processes has no children there), so that limits of hostd's service
// stay limits of its VMs. The group is named after the VM's folder: a new hostd finds it by that.
#ifndef BH_HOSTD_VM_CGROUP_H
#define BH_HOSTD_VM_CGROUP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define VM_CGROUP_CONTROLLERS 3        // memory, pids, cpu

struct vm_cgroup_limits {
	uint64_t memory_bytes;
	unsigned pids, cpus;           // threads count, too; whole processors
};

struct vm_cgroup { int join[VM_CGROUP_CONTROLLERS]; };   // owned descriptors: a process that writes "0" is in; -1: none

#define VM_CGROUP_INIT {{-1, -1, -1}}

/* Make the groups of the VM in dir (an absolute path), or set the limits of those that are there, and open them. A controller
 * that the host does not have, or does not let hostd use, is left out: -ENOTSUP then, the text says which and why; the others are in
 * g all the same. 0: all of them. */
int vm_cgroup_make(const char *dir, const struct vm_cgroup_limits *l, struct vm_cgroup *g, struct err *e);
void vm_cgroup_join(const struct vm_cgroup *g);      // the calling process; between fork and exec
void vm_cgroup_close(struct vm_cgroup *g);
void vm_cgroup_kill(const char *dir);                // SIGKILL to whatever is in it
/* When its processes have ended. Waits for the last of them up to a second; nothing there is fine. */
void vm_cgroup_remove(const char *dir);

/* For tests. Where groups of a controller go, from the texts of /proc/self/mountinfo and /proc/self/cgroup. version: 1 or 2.
 * Returns 0 or -ENOENT: it is not mounted. */
int vm_cgroup_place(const char *mountinfo, const char *cgroup, const char *controller, char *out, size_t len, int *version);
void vm_cgroup_name(const char *dir, char *out, size_t len);

#endif
