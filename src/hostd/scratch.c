// SPDX-License-Identifier: Apache-2.0
// Scratch disks; see scratch.h.
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/own.h"
#include "base/proc.h"

#define GIB (1ull << 30)

static pthread_mutex_t format_lock = PTHREAD_MUTEX_INITIALIZER;   // one mkfs at a time

/* The formatted file of this size, made when missing. */
static int formatted(const char *root, uint64_t size_bytes, char *path, size_t path_len, struct err *e)
{
	char dir[4096], tmp[4200], size[32];
	if (snprintf(dir, sizeof(dir), "%s/scratch", root) >= (int)sizeof(dir) ||
	    snprintf(path, path_len, "%s/ext4-%llug.raw", dir, (unsigned long long)(size_bytes / GIB)) >= (int)path_len)
		return err_sys(e, ENAMETOOLONG, "scratch disk");
	if (!access(path, F_OK))
		return 0;
	int rc = dir_make(dir, 0700, e);
	if (rc)
		return rc;
	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	snprintf(size, sizeof(size), "%lluK", (unsigned long long)(size_bytes >> 10));
	unlink(tmp);
	/* No journal: the disk lives no longer than its pod. */
	const char *argv[] = {"mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal,^resize_inode", "-E",
			      "lazy_itable_init=1,nodiscard,root_owner=0:0", "-U", "clear", "-L", "scratch", tmp, size, NULL};
	rc = proc_check(argv, NULL, NULL, e);
	if (!rc && rename(tmp, path))
		rc = err_sys(e, errno, "make %s", path);
	if (rc)
		unlink(tmp);
	return rc;
}

/* Copy only what is written in a sparse file. */
static int copy_sparse(int from, int to, uint64_t size)
{
	if (ftruncate(to, (off_t)size))
		return -errno;
	for (off_t at = 0;;) {
		off_t data = lseek(from, at, SEEK_DATA);
		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		off_t end = lseek(from, data, SEEK_HOLE);
		if (end < 0)
			return -errno;
		off_t in = data, out = data;
		while (in < end) {
			ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(end - in), 0);
			if (n <= 0)
				return n ? -errno : -EIO;
		}
		at = end;
	}
}

int scratch_make(const char *root, const char *path, uint64_t size_bytes, struct err *e)
{
	char base[4096];
	size_bytes = (size_bytes + GIB - 1) / GIB * GIB;
	if (!access(path, F_OK))
		return 0;
	pthread_mutex_lock(&format_lock);
	int rc = formatted(root, size_bytes, base, sizeof(base), e);
	pthread_mutex_unlock(&format_lock);
	if (rc)
		return rc;
	char tmp[4200];
	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	own_fd int from = open(base, O_RDONLY | O_CLOEXEC);
	own_fd int to = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (from < 0 || to < 0)
		return err_sys(e, errno, "make scratch disk %s", path);
	rc = copy_sparse(from, to, size_bytes);
	if (!rc && rename(tmp, path))
		rc = -errno;
	if (rc)
		unlink(tmp);
	return rc ? err_sys(e, -rc, "make scratch disk %s", path) : 0;
}
