// SPDX-License-Identifier: Apache-2.0
// The files of a disk: opening them, and naming them for a process that may open none; see files.h and bulkhead/disk.h.
#include "disk/files.h"

#include <bulkhead/disk.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"
#include "disk/descriptor.h"
#include "disk/disk_internal.h"

static struct { bh_disk_opener_fn *fn; void *user; } opener;

void bh_disk_set_opener(bh_disk_opener_fn *fn, void *user)
{
	opener.fn = fn;
	opener.user = user;
}

int files_open(const char *path, bool writable, bool create)
{
	int fd;

	if (opener.fn) {
		fd = opener.fn(opener.user, path, writable);
		if (fd >= 0) lseek(fd, 0, SEEK_SET);
		return fd;
	}
	fd = open(path, (writable ? O_RDWR : O_RDONLY) | (writable && create ? O_CREAT : 0) | O_CLOEXEC | O_NOCTTY, 0640);
	return fd < 0 ? -errno : fd;
}

/* Whether a filter of this type has files, and which; NULL: only the filter knows. */
static const char *side_file(const char *type)
{
	static const struct { const char *type, *suffix; } known[] = {{"link", "map"}, {"stats", ""}, {"throttle", ""}, {"delay", ""}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(known[i].type, type)) return known[i].suffix;
	return NULL;
}

static int files_of(const char *path, bool read_only, unsigned depth, bh_disk_file_fn *each, void *user, struct err *e);

static int name_file(char *path, enum bh_disk_file what, bool writable, bh_disk_file_fn *each, void *user, struct err *e)
{
	own_free char *owned = path;

	return owned ? each(user, owned, what, writable, e) : err_set(e, ENOMEM, "no memory to name a disk's files");
}

static int files_of_descriptor(const struct descriptor *d, bool read_only, unsigned depth, bh_disk_file_fn *each, void *user, struct err *e)
{
	own_free char *parent = d->has_parent ? descriptor_file(d, d->parent.path) : NULL;
	int rc = name_file(descriptor_file(d, d->data), BH_DISK_FILE_DATA, !read_only, each, user, e);

	if (rc == 0) rc = each(user, d->path, BH_DISK_FILE_DESCRIPTOR, false, e);
	for (unsigned i = 0; i < d->nfilters && rc == 0; i++) {
		const char *suffix = side_file(d->filters[i].type);

		if (!suffix) return err_set(e, ENOTSUP, "disk '%s': only its filter '%s' knows which files it opens", d->path, d->filters[i].name);
		if (*suffix) rc = name_file(descriptor_side(d->path, suffix), BH_DISK_FILE_SIDE, !read_only, each, user, e);
	}
	if (rc || !d->has_parent) return rc;
	return parent ? files_of(parent, true, depth + 1, each, user, e) : err_set(e, ENOMEM, "no memory to name a disk's files");
}

static int files_of(const char *path, bool read_only, unsigned depth, bh_disk_file_fn *each, void *user, struct err *e)
{
	struct descriptor *d = NULL;
	int rc;

	if (depth > DISK_DEPTH_MAX) return err_set(e, ELOOP, "more than %d disks stand one on another", DISK_DEPTH_MAX);
	if (!descriptor_is(path)) return each(user, path, BH_DISK_FILE_DATA, !read_only, e);
	rc = descriptor_read(path, &d, e);
	if (rc == 0) rc = files_of_descriptor(d, read_only, depth, each, user, e);
	descriptor_free(d);
	return rc;
}

int bh_disk_files(const char *path, bool read_only, bh_disk_file_fn *each, void *user, struct err *e)
{
	return files_of(path, read_only, 1, each, user, e);
}
