// SPDX-License-Identifier: Apache-2.0
// The sandbox of vmx and of the QEMU under it; see jail.h. What stays allowed, and why:
//   open descriptors   the VM's own disks, sockets, TAP and memory; nothing else was handed in
//   fork and exec      once, for QEMU; its programs and libraries are why that engine keeps its root folder
// What each thread may still ask the kernel for is in callfilter.c.
#include "jail.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

#define FILES_MAX 4096       // connections, disks, eventfds of the devices
#define PROCESSES_MAX 256    // threads of vmx and QEMU; counted per user, so only with a user of its own

static bool namespaces;       // there are some of our own

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

// Mounts, network and System V IPC of its own: nothing to connect to, and what the host unmounts goes here as well.
static int own_namespaces(struct err *e)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC))
		return errno == EPERM ? (log_warn("vmx", "this host does not let vmx have namespaces of its own"), 0) :
		       err_sys(e, errno, "make namespaces");
	if (mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL))
		return err_sys(e, errno, "separate the mounts from the host's");
	namespaces = true;
	return 0;
}

// A root folder without anything, not even a place to write.
static int empty_root(struct err *e)
{
	if (mount("none", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,nr_inodes=2,mode=555") || chdir("/tmp") ||
	    syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/") ||
	    mount("none", "/", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		return err_sys(e, errno, "make an empty root folder");
	return 0;
}

int jail_begin(bool own_user, struct err *e)
{
	int rc;
	if ((rc = limit(RLIMIT_CORE, 0, "core dumps", e)) || (rc = limit(RLIMIT_NOFILE, FILES_MAX, "descriptors", e)) ||
	    (own_user && (rc = limit(RLIMIT_NPROC, PROCESSES_MAX, "threads", e))))
		return rc;
	if (own_user && geteuid() == 0 && (rc = own_namespaces(e)))
		return rc;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return err_sys(e, errno, "give up gaining privileges");
	capng_clear(CAPNG_SELECT_BOUNDS);
	if (geteuid() == 0 && capng_apply(CAPNG_SELECT_BOUNDS))
		return err_set(e, EPERM, "the capability bounding set cannot be emptied");
	return 0;
}

int jail_enter(uid_t uid, gid_t gid, bool no_files, struct err *e)
{
	int rc = namespaces && no_files ? empty_root(e) : 0;
	if (rc)
		return rc;
	if (uid && (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid)))
		return err_sys(e, errno, "become user %u, group %u", uid, gid);
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_CAPS))
		return err_set(e, EPERM, "capabilities cannot be dropped");
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ? err_sys(e, errno, "forbid others to trace this process") : 0;
}
