// SPDX-License-Identifier: Apache-2.0
// The VM's kernel as the agent's machine; see machine.h.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/own.h"
#include "boot.h"
#include "machine.h"
#include "netlink.h"
#include "quota.h"

static int guest_set_names(const char *hostname, const char *domainname, struct err *e)
{
	if (sethostname(hostname, strlen(hostname)))
		return err_sys(e, errno, "set the host name '%s'", hostname);
	if (*domainname && setdomainname(domainname, strlen(domainname)))
		return err_sys(e, errno, "set the domain name '%s'", domainname);
	return 0;
}

static int guest_set_clock(uint64_t real_ns, struct err *e)
{
	struct timespec t = {.tv_sec = (time_t)(real_ns / 1000000000u), .tv_nsec = (long)(real_ns % 1000000000u)};
	return clock_settime(CLOCK_REALTIME, &t) ? err_sys(e, errno, "set the clock") : 0;
}

static int guest_add_entropy(const void *data, size_t len, struct err *e)
{
	own_free struct rand_pool_info *pool = malloc(sizeof(*pool) + len);
	own_fd int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	if (!pool || fd < 0)
		return err_sys(e, pool ? errno : ENOMEM, "add entropy");
	pool->entropy_count = (int)len * 8;
	pool->buf_size = (int)len;
	memcpy(pool->buf, data, len);
	if (ioctl(fd, RNDADDENTROPY, pool) || ioctl(fd, RNDRESEEDCRNG))
		return err_sys(e, errno, "add entropy");
	explicit_bzero(pool->buf, len);
	return 0;
}

static int guest_set_sysctl(const char *name, const char *value, struct err *e)
{
	char path[PATH_MAX];
	if (snprintf(path, sizeof(path), "/proc/sys/%s", name) >= (int)sizeof(path))
		return err_set(e, EINVAL, "sysctl name is too long");
	own_fd int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	int rc = fd < 0 ? -errno : fd_write_all(fd, value, strlen(value));
	return rc ? err_sys(e, -rc, "set sysctl %s to '%s'", name, value) : 0;
}

static int guest_find_disk(const struct machine_ops *m, const char *serial, char path[MACHINE_DISK_PATH_MAX], struct err *e)
{
	(void)m;
	own_dir DIR *d = opendir("/sys/block");
	if (!d)
		return err_sys(e, errno, "read /sys/block");
	struct dirent *de;
	while ((de = readdir(d))) {
		char file[PATH_MAX];
		own_buf struct buf text = BUF_INIT;
		if (de->d_name[0] != 'v')
			continue;
		snprintf(file, sizeof(file), "/sys/block/%s/serial", de->d_name);
		if (file_read(file, 64, &text, NULL) || !text.data)
			continue;
		text.data[strcspn(text.data, "\n")] = '\0';
		if (!strcmp(text.data, serial)) {
			snprintf(path, MACHINE_DISK_PATH_MAX, "/dev/%.32s", de->d_name);
			return 0;
		}
	}
	return err_set(e, ENODEV, "no disk has the serial number '%s'", serial);
}

static int guest_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *options,
		       struct err *e)
{
	if (mount(source, target, type, flags, options))
		return err_sys(e, errno, "mount %s (%s) at %s", source, type ? type : "bind", target);
	return 0;
}

static int guest_bind(int fd, const char *target, struct err *e)
{
	own_fd int tree = (int)syscall(SYS_open_tree, fd, "", AT_EMPTY_PATH | AT_RECURSIVE | 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC);
	if (tree < 0 || syscall(SYS_move_mount, tree, "", AT_FDCWD, target, 4 /* MOVE_MOUNT_F_EMPTY_PATH */))
		return err_sys(e, errno, "bind to %s", target);
	return 0;
}

/* A group of peers has a mount to itself: a folder becomes one. */
static int guest_share_mounts(const char *dir, struct err *e)
{
	struct statx st;
	if (statx(AT_FDCWD, dir, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st))
		return err_sys(e, errno, "look at %s", dir);
	if (!(st.stx_attributes & STATX_ATTR_MOUNT_ROOT) && mount(dir, dir, NULL, MS_BIND, NULL))
		return err_sys(e, errno, "bind %s", dir);
	return mount(NULL, dir, NULL, MS_SHARED, NULL) ? err_sys(e, errno, "share the mounts of %s", dir) : 0;
}

static int guest_unmount(const char *target)
{
	if (!umount2(target, UMOUNT_NOFOLLOW) || errno == EINVAL || errno == ENOENT)
		return 0;
	return umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) ? -errno : 0;
}

static void guest_power_off(void) { boot_power_off(); }

const struct machine_ops machine_guest = {
	.set_names = guest_set_names,
	.set_clock = guest_set_clock,
	.add_entropy = guest_add_entropy,
	.set_interface = netlink_set_interface,
	.set_sysctl = guest_set_sysctl,
	.find_disk = guest_find_disk,
	.mount = guest_mount,
	.bind = guest_bind,
	.share_mounts = guest_share_mounts,
	.unmount = guest_unmount,
	.limit_space = quota_limit_dir,
	.used_space = quota_used,
	.load_module = boot_load_module,
	.power_off = guest_power_off,
};
