// SPDX-License-Identifier: Apache-2.0
// Whole files and folders; see file.h.
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "own.h"

int fd_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;
	while (len) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int fd_read_all(int fd, void *data, size_t len)
{
	char *p = data;
	size_t got = 0;
	while (got < len) {
		ssize_t n = read(fd, p + got, len - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return got ? -EPIPE : -ENODATA;
		got += (size_t)n;
	}
	return 0;
}

int fd_read(int fd, const char *name, size_t max, struct buf *out, struct err *e)
{
	size_t got = 0;
	for (;;) {
		if (buf_reserve(out, 16384))
			return err_sys(e, ENOMEM, "read %s", name);
		ssize_t n = read(fd, out->data + out->len, 16384);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "read %s", name);
		if (n == 0)
			return 0;
		got += (size_t)n;
		if (got > max)
			return err_set(e, EFBIG, "%s is larger than %zu bytes", name, max);
		out->len += (size_t)n;
		out->data[out->len] = '\0';
	}
}

int file_read(const char *path, size_t max, struct buf *out, struct err *e)
{
	own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "open %s", path) : fd_read(fd, path, max, out, e);
}

static int dir_sync(const char *file_path)
{
	char copy[PATH_MAX];
	if (snprintf(copy, sizeof(copy), "%s", file_path) >= (int)sizeof(copy))
		return -ENAMETOOLONG;
	own_fd int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fsync(fd) ? -errno : 0;
}

static int replace(const char *path, const void *data, size_t len, mode_t mode, bool durable, struct err *e)
{
	char tmp[PATH_MAX];
	if (snprintf(tmp, sizeof(tmp), "%s.XXXXXX", path) >= (int)sizeof(tmp))
		return err_sys(e, ENAMETOOLONG, "write %s", path);
	own_fd int fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "create %s", tmp);
	int rc = fchmod(fd, mode) ? -errno : fd_write_all(fd, data, len);
	if (!rc && durable && fsync(fd))
		rc = -errno;
	if (!rc && rename(tmp, path))
		rc = -errno;
	if (rc)
		unlink(tmp);
	else if (durable)
		rc = dir_sync(path);
	return rc ? err_sys(e, -rc, "write %s", path) : 0;
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
	return replace(path, data, len, mode, true, e);
}

int file_replace(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
	return replace(path, data, len, mode, false, e);
}

int dir_make(const char *path, mode_t mode, struct err *e)
{
	char copy[PATH_MAX];
	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return err_sys(e, ENAMETOOLONG, "create %s", path);
	for (char *p = copy + 1;; p++) {
		if (*p != '/' && *p != '\0')
			continue;
		char end = *p;
		*p = '\0';
		if (mkdir(copy, mode) && errno != EEXIST)
			return err_sys(e, errno, "create %s", copy);
		*p = end;
		if (!end)
			return 0;
	}
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
	(void)st, (void)kind, (void)walk;
	return remove(path) && errno != ENOENT ? -1 : 0;
}

int dir_remove(const char *path, struct err *e)
{
	if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) && errno != ENOENT)
		return err_sys(e, errno, "remove %s", path);
	return 0;
}
