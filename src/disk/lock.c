// SPDX-License-Identifier: Apache-2.0
// One writer or many readers: flock on the data file. The kernel drops the lock of a process that dies, so none is
// ever stale; /proc/locks tells who holds it.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/own.h"
#include "disk/disk.h"

/* Pid of a process that holds a flock on fd's file; 0: not found (other namespace, no /proc). */
static int holder(int fd)
{
	own_file FILE *f = fopen("/proc/locks", "re");
	char line[256];
	struct stat st;

	if (!f || fstat(fd, &st) < 0) return 0;
	while (fgets(line, sizeof(line), f)) {
		unsigned major, minor;
		unsigned long long inode;
		int pid;

		if (sscanf(line, "%*d: FLOCK %*s %*s %d %x:%x:%llu", &pid, &major, &minor, &inode) == 4 && inode == st.st_ino &&
		    major == major(st.st_dev) && minor == minor(st.st_dev) && pid > 0)
			return pid;
	}
	return 0;
}

int disk_lock(const char *path, bool exclusive, int *out, struct err *e)
{
	own_fd int fd = open(path, (exclusive ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	char who[64] = "another process";
	int pid;

	if (fd < 0) return err_sys(e, errno, "cannot open '%s'", path);
	if (fstat(fd, &st) < 0) return err_sys(e, errno, "cannot look at '%s'", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) return err_set(e, EINVAL, "'%s' is neither a file nor a block device", path);
	if (flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) {
		*out = take_fd(fd);
		return 0;
	}
	if (errno != EWOULDBLOCK) return err_sys(e, errno, "cannot lock '%s'", path);
	pid = holder(fd);
	if (pid) snprintf(who, sizeof(who), pid == getpid() ? "this process (pid %d)" : "process %d", pid);
	return err_set(e, EBUSY, "'%s' is %s by %s", path, exclusive ? "in use" : "open for writing", who);
}

int disk_data_mtime(int fd, int64_t *ns)
{
	struct stat st;

	if (fstat(fd, &st) < 0) return -errno;
	*ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	return 0;
}
