// SPDX-License-Identifier: Apache-2.0
// The sandbox of vmx and of the QEMU under it; see jail.h. What stays allowed, and why:
//   open descriptors   the VM's own disks, sockets, TAP and memory; nothing else was handed in
//   fork and exec      once, for QEMU; programs and libraries are why with that engine the root folder is not empty
// What each thread may still ask the kernel for is in callfilter.c.
#include "jail.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/host_pid.h"
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

// ---- root folders

#define SEALED (MS_NOSUID | MS_NODEV | MS_NOEXEC)

// /tmp is the new root until it is one, and what is made in it goes by relative names.
static int root_begin(const char *options, struct err *e)
{
	if (mount("none", "/tmp", "tmpfs", SEALED, options) || chdir("/tmp"))
		return err_sys(e, errno, "make a root folder");
	return 0;
}

static int root_end(struct err *e)
{
	if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/") ||
	    mount("none", "/", NULL, MS_REMOUNT | MS_RDONLY | SEALED, NULL))
		return err_sys(e, errno, "change the root folder");
	return 0;
}

// Nothing in it, not even a place to write.
static int empty_root(struct err *e)
{
	int rc = root_begin("size=4k,nr_inodes=2,mode=555", e);
	return rc ? rc : root_end(e);
}

// What QEMU is and needs. Absent is fine.
static const struct { const char *path; unsigned long flags; } shown[] = {
	{"/usr", MS_NOSUID | MS_NODEV}, {"/bin", MS_NOSUID | MS_NODEV}, {"/lib", MS_NOSUID | MS_NODEV}, {"/lib64", MS_NOSUID | MS_NODEV},
	{"/etc/ld.so.cache", SEALED}, {"/etc/alternatives", SEALED}, {"/dev/null", MS_NOSUID | MS_NOEXEC},
	{"/dev/urandom", MS_NOSUID | MS_NOEXEC},
};

static int show_mount(const char *from, const struct stat *st, unsigned long flags)
{
	int made = S_ISDIR(st->st_mode) ? mkdir(from + 1, 0755) : mknod(from + 1, S_IFREG | 0444, 0);
	struct mount_attr a = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | (flags & MS_NODEV ? MOUNT_ATTR_NODEV : 0) |
					   (flags & MS_NOEXEC ? MOUNT_ATTR_NOEXEC : 0)};
	if (made || mount(from, from + 1, NULL, MS_BIND | MS_REC, NULL))
		return -errno;
	return mount_setattr(AT_FDCWD, from + 1, AT_RECURSIVE, &a, sizeof(a)) ? -errno : 0;
}

static int show(const char *path, unsigned long flags)
{
	char target[256];
	struct stat st;
	if (lstat(path, &st))
		return 0;
	if (!S_ISLNK(st.st_mode))
		return show_mount(path, &st, flags);
	ssize_t n = readlink(path, target, sizeof(target) - 1);   // /bin is usr/bin
	if (n <= 0)
		return -EINVAL;
	target[n] = '\0';
	return symlink(target, path + 1) ? -errno : 0;
}

static int program_root(struct err *e)
{
	mode_t mask = umask(0);
	int rc = root_begin("size=64k,nr_inodes=32,mode=755", e);
	if (!rc && (mkdir("etc", 0755) || mkdir("dev", 0755) || mkdir("proc", 0555)))
		rc = err_sys(e, errno, "make a root folder");
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]) && !rc; i++) {
		int bad = show(shown[i].path, shown[i].flags);
		rc = bad ? err_sys(e, -bad, "show QEMU %s", shown[i].path) : 0;
	}
	umask(mask);
	host_pid_keep();
	// Without processes of our own there is no other /proc.
	if (!rc && (getpid() == 1 ? mount("proc", "proc", "proc", SEALED, NULL) : mount("/proc", "proc", NULL, MS_BIND | MS_REC, NULL)))
		rc = err_sys(e, errno, "mount /proc");
	return rc ? rc : root_end(e);
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

int jail_enter(uid_t uid, gid_t gid, bool no_program, struct err *e)
{
	int rc = !namespaces ? 0 : no_program ? empty_root(e) : program_root(e);
	if (rc)
		return rc;
	if (uid && (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid)))
		return err_sys(e, errno, "become user %u, group %u", uid, gid);
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_CAPS))
		return err_set(e, EPERM, "capabilities cannot be dropped");
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ? err_sys(e, errno, "forbid others to trace this process") : 0;
}
