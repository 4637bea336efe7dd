// SPDX-License-Identifier: Apache-2.0
// The sandbox of vmx and of the QEMU under it; see jail.h. What stays allowed, and why:
//   open descriptors   the VM's own disks, sockets, TAP and memory; nothing else was handed in
//   fork and exec      once, for QEMU
#include "jail.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define FILES_MAX 4096       // connections, disks, eventfds of the devices
#define PROCESSES_MAX 256    // threads of vmx and QEMU; counted per user, so only with a user of its own

static int limit(int what, rlim_t max, const char *name, struct err *e)
{
	struct rlimit now;
	if (getrlimit(what, &now))
		return err_sys(e, errno, "read the limit of %s", name);
	if (max > now.rlim_max)
		max = now.rlim_max;
	struct rlimit r = {.rlim_cur = max, .rlim_max = max};
	return setrlimit(what, &r) ? err_sys(e, errno, "limit %s", name) : 0;
}

int jail_begin(bool own_user, struct err *e)
{
	int rc;
	if ((rc = limit(RLIMIT_CORE, 0, "core dumps", e)) || (rc = limit(RLIMIT_NOFILE, FILES_MAX, "descriptors", e)) ||
	    (own_user && (rc = limit(RLIMIT_NPROC, PROCESSES_MAX, "threads", e))))
		return rc;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return err_sys(e, errno, "give up gaining privileges");
	capng_clear(CAPNG_SELECT_BOUNDS);
	if (geteuid() == 0 && capng_apply(CAPNG_SELECT_BOUNDS))
		return err_set(e, EPERM, "the capability bounding set cannot be emptied");
	return 0;
}

int jail_enter(uid_t uid, gid_t gid, struct err *e)
{
	if (uid && (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid)))
		return err_sys(e, errno, "become user %u, group %u", uid, gid);
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_CAPS))
		return err_set(e, EPERM, "capabilities cannot be dropped");
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ? err_sys(e, errno, "forbid others to trace this process") : 0;
}
