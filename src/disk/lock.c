// SPDX-License-Identifier: Apache-2.0
// One writer or many readers: flock on the data file. The kernel drops the lock of a process that dies, so none is
// stale for long: until the last request in its ring has ended. /proc/locks tells who holds it.
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
#include "disk/files.h"

#define LEAVING_TRIES 100    // for a holder that is dead or not to be found
#define LEAVING_US 20000

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

/* Not dead, nor dead and not waited for. */
static bool lives(int pid)
{
	char path[32], text[128] = "";
	const char *state;
	own_file FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f || !fgets(text, sizeof(text), f)) return false;
	state = strrchr(text, ')');
	return !state || !state[1] || !strchr("ZX", state[2]);
}

/* 0: locked. *pid: who has it; 0: not known. */
static int try_lock(int fd, bool exclusive, int *pid)
{
	for (int i = 0;; i++) {
		if (flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) return 0;
		if (errno != EWOULDBLOCK) return -errno;
		*pid = holder(fd);
		if (i == LEAVING_TRIES || (*pid && lives(*pid))) return -EBUSY;
		usleep(LEAVING_US);
	}
}

int disk_lock(const char *path, bool exclusive, int *out, struct err *e)
{
	own_fd int fd = files_open(path, exclusive, false);
	struct stat st;
	char who[64] = "another process";
	int pid = 0, rc;

	if (fd < 0) return err_sys(e, -fd, "cannot open '%s'", path);
	if (fstat(fd, &st) < 0) return err_sys(e, errno, "cannot look at '%s'", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) return err_set(e, EINVAL, "'%s' is neither a file nor a block device", path);
	rc = try_lock(fd, exclusive, &pid);
	if (rc == 0) {
		*out = take_fd(fd);
		return 0;
	}
	if (rc != -EBUSY) return err_sys(e, -rc, "cannot lock '%s'", path);
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
