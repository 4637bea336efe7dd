// SPDX-License-Identifier: Apache-2.0
// Start and end of the guest; see boot.h.
#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/own.h"

#define KILL_WAIT_MS 3000
#define SYSLOG_CONSOLE_LEVEL 8    // syslog(2)
#define CONSOLE_LEVEL 3           // critical and above: what containers cause (out of memory) does not fill the console

static const struct { const char *source, *target, *type; unsigned long flags; const char *options; mode_t mode; } mounts[] = {
	{"proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, 0555},
	{"sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, 0555},
	{"dev", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755", 0755},
	{"devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=0620,gid=5", 0755},
	{"shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=64m", 01777},
	{"run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755", 0755},
	{"cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, "nsdelegate,memory_recursiveprot", 0555},
};

/* The initramfs is the kernel's first mount, which pivot_root refuses to leave. A bind mount of it, moved over it, is
 * an ordinary one. */
static int move_root(struct err *e)
{
	if (mount("/", "/n", NULL, MS_BIND, NULL) || chdir("/n") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") ||
	    chdir("/"))
		return err_sys(e, errno, "move the root");
	return 0;
}

uint64_t boot_now_ns(void)
{
	struct timespec t = {0};
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static int insert(const char *name, struct err *e)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "/modules/%s.ko", name);
	own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "open %s", path);   // ENOENT: loaded and removed
	if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)
		return err_sys(e, errno, "load module %s", name);
	unlink(path);   // the initramfs is memory
	return 0;
}

/* The list names needed modules before those that need them. until: stop after it; NULL: all. */
static int insert_list(const char *list, const char *until, struct err *e)
{
	own_buf struct buf names = BUF_INIT;
	int rc = file_read(list, 65536, &names, e);
	char *save = NULL;
	for (char *name = rc ? NULL : strtok_r(names.data, "\n", &save); name; name = strtok_r(NULL, "\n", &save)) {
		rc = insert(name, e);
		if (rc || (until && !strcmp(name, until)))
			break;
	}
	return rc;
}

int boot_load_module(const char *name, struct err *e)
{
	return insert_list("/modules/later", name, e);
}

static int loopback_up(struct err *e)
{
	own_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr))
		return err_sys(e, errno, "bring up the loopback interface");
	return 0;
}

int boot_early(struct err *e)
{
	umask(0);
	klogctl(SYSLOG_CONSOLE_LEVEL, NULL, CONSOLE_LEVEL);
	int rc = move_root(e);
	for (size_t i = 0; !rc && i < sizeof(mounts) / sizeof(*mounts); i++) {
		mkdir(mounts[i].target, mounts[i].mode);
		if (mount(mounts[i].source, mounts[i].target, mounts[i].type, mounts[i].flags, mounts[i].options))
			rc = err_sys(e, errno, "mount %s", mounts[i].target);
	}
	if (!rc)
		rc = insert_list("/modules/boot", NULL, e);
	if (!rc)
		rc = loopback_up(e);
	umask(022);
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
	setenv("PATH", "/usr/bin:/bin", 1);
	return rc;
}

/* Every process but this one. They cannot be waited for when the kernel holds one in I/O: that is not waited for long. */
static void kill_all(void)
{
	kill(-1, SIGKILL);
	for (int i = 0; i < KILL_WAIT_MS; i++) {
		pid_t pid;
		while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) > 0)
			;
		if (pid < 0)
			return;
		poll(NULL, 0, 1);
	}
}

/* Disks and what lies on them, last mounted first: their file systems are clean afterwards. */
static void unmount_disks(void)
{
	own_buf struct buf text = BUF_INIT;
	if (file_read("/proc/self/mounts", 1u << 20, &text, NULL))
		return;
	while (text.len) {
		char source[64], target[PATH_MAX];
		text.data[--text.len] = '\0';
		char *line = strrchr(text.data, '\n');
		line = line ? line + 1 : text.data;
		text.len = (size_t)(line - text.data);
		if (sscanf(line, "%63s %4095s", source, target) != 2 ||
		    (strncmp(source, "/dev/", 5) && strcmp(source, "overlay")))
			continue;
		if (umount2(target, UMOUNT_NOFOLLOW))
			umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW);
	}
}

void boot_power_off(void)
{
	kill_all();
	unmount_disks();
	sync();
	/* A VM without firmware has nothing to power off with: it is reset, and its monitor takes that for the end. */
	reboot(RB_AUTOBOOT);
	_exit(1);
}
