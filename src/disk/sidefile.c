// SPDX-License-Identifier: Apache-2.0
#include "disk/sidefile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "disk/disk_internal.h"
#include "disk/files.h"

struct iof_file { struct bh_disk *disk; void *handle; };

/* ---- real files; the handle is the descriptor + 1 ---- */

static int fd_of(void *h) { return (int)(intptr_t)h - 1; }

static int real_open(void *user, const char *path, int writable, void **handle, struct err *e)
{
	int fd = files_open(path, writable, true);

	(void)user;
	if (fd == -ENOENT && !writable && (fd = memfd_create("absent", MFD_CLOEXEC)) < 0) fd = -errno;   // never written yet: empty
	if (fd < 0) return err_sys(e, -fd, "cannot open '%s'", path);
	*handle = (void *)(intptr_t)(fd + 1);
	return 0;
}

static void real_close(void *user, void *h)
{
	(void)user;
	close(fd_of(h));
}

static int real_read(void *user, void *h, void *buf, size_t len, uint64_t off)
{
	char *p = buf;

	(void)user;
	while (len) {
		ssize_t n = pread(fd_of(h), p, len, (off_t)off);

		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return -errno;
		if (n == 0) {
			memset(p, 0, len);
			return 0;
		}
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int real_write(void *user, void *h, const void *buf, size_t len, uint64_t off)
{
	const char *p = buf;

	(void)user;
	while (len) {
		ssize_t n = pwrite(fd_of(h), p, len, (off_t)off);

		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return n < 0 ? -errno : -EIO;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int real_sync(void *user, void *h)
{
	(void)user;
	return fdatasync(fd_of(h)) < 0 ? -errno : 0;
}

static int real_discard(void *user, void *h, uint64_t off, uint64_t len)
{
	(void)user;
	if (fallocate(fd_of(h), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) == 0) return 0;
	if (errno != EOPNOTSUPP) return -errno;
	while (len) {
		static const char zeroes[4096];
		size_t n = len < sizeof(zeroes) ? (size_t)len : sizeof(zeroes);
		int rc = real_write(user, h, zeroes, n, off);

		if (rc < 0) return rc;
		off += n;
		len -= n;
	}
	return 0;
}

static int real_next(void *user, void *h, uint64_t off, uint64_t *data, uint64_t *end)
{
	off_t a = lseek(fd_of(h), (off_t)off, SEEK_DATA), b;

	(void)user;
	if (a < 0) return -errno;
	b = lseek(fd_of(h), a, SEEK_HOLE);
	if (b < 0) return -errno;
	*data = (uint64_t)a;
	*end = (uint64_t)b;
	return 0;
}

const struct side_ops side_real = {
	.open = real_open, .close = real_close, .read = real_read, .write = real_write, .sync = real_sync,
	.discard = real_discard, .next = real_next,
};

/* ---- through the disk's table ---- */

int side_open(struct bh_disk *d, const char *suffix, struct iof_file **out, struct err *e)
{
	own_free char *path = descriptor_side(d->path, suffix);

	return path ? side_open_path(d, path, out, e) : err_set(e, ENOMEM, "no memory for file '%s'", suffix);
}

int side_open_path(struct bh_disk *d, const char *path, struct iof_file **out, struct err *e)
{
	own_free struct iof_file *f = calloc(1, sizeof(*f));
	int rc;

	if (!f) return err_set(e, ENOMEM, "no memory for file '%s'", path);
	f->disk = d;
	rc = d->side_ops->open(d->side_user, path, !d->read_only, &f->handle, e);
	if (rc < 0) return rc;
	*out = take(f);
	return 0;
}

void side_close(struct iof_file *f)
{
	if (!f) return;
	f->disk->side_ops->close(f->disk->side_user, f->handle);
	free(f);
}

int side_read(struct iof_file *f, void *buf, size_t len, uint64_t off) { return f->disk->side_ops->read(f->disk->side_user, f->handle, buf, len, off); }
int side_write(struct iof_file *f, const void *buf, size_t len, uint64_t off) { return f->disk->side_ops->write(f->disk->side_user, f->handle, buf, len, off); }
int side_sync(struct iof_file *f) { return f->disk->side_ops->sync(f->disk->side_user, f->handle); }
int side_discard(struct iof_file *f, uint64_t off, uint64_t len) { return f->disk->side_ops->discard(f->disk->side_user, f->handle, off, len); }
int side_next(struct iof_file *f, uint64_t off, uint64_t *data, uint64_t *end) { return f->disk->side_ops->next(f->disk->side_user, f->handle, off, data, end); }
