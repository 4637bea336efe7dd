// SPDX-License-Identifier: Apache-2.0
// Opening and closing a disk: descriptor, lock, parents, chain of filters.
#include "disk/disk.h"

#include <errno.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/own.h"
#include "disk/queue.h"
#include "disk/sidefile.h"
#include "disk/work.h"

static int raw_size(struct bh_disk *d, struct err *e)
{
	struct stat st;

	if (fstat(d->data_fd, &st) < 0) return err_sys(e, errno, "cannot look at '%s'", d->path);
	d->is_block_device = S_ISBLK(st.st_mode);
	if (!d->is_block_device) d->size = (uint64_t)st.st_size;
	else if (ioctl(d->data_fd, BLKGETSIZE64, &d->size) < 0) return err_sys(e, errno, "cannot ask the size of '%s'", d->path);
	d->size = (d->size + 511) / 512 * 512;
	d->block = DISK_BLOCK_MIN;
	return 0;
}

/* Resizing lengthens the file before the descriptor says so and cuts it afterwards, so that a shorter one has lost something. */
int disk_length_check(const struct descriptor *desc, int data_fd, const char *data, struct err *e)
{
	struct stat st;

	if (fstat(data_fd, &st) < 0) return err_sys(e, errno, "cannot look at '%s'", data);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size >= desc->size || chain_puts_elsewhere(desc)) return 0;
	return err_set(e, EIO, "its data file '%s' was cut short: %llu of %llu bytes; bring it back whole, or let 'disk check --repair' fill it with zeroes",
		       data, (unsigned long long)st.st_size, (unsigned long long)desc->size);
}

static int data_open(struct bh_disk *d, const struct disk_open *o, struct err *e)
{
	own_free char *data = d->desc ? descriptor_file(d->desc, d->desc->data) : strdup(d->path);
	struct statfs fs;
	int rc;

	if (!data) return err_set(e, ENOMEM, "no memory to open a disk");
	rc = disk_lock(data, !o->read_only, &d->data_fd, e);
	if (rc < 0) return rc;
	d->in_memory = fstatfs(d->data_fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
	if (!d->desc) return raw_size(d, e);
	descriptor_free(take(d->desc));   // it may have changed while nobody held the lock
	rc = descriptor_read(d->path, &d->desc, e);
	if (rc < 0) return rc;
	rc = disk_length_check(d->desc, d->data_fd, data, o->short_data ? NULL : e);
	if (rc < 0 && !o->short_data) return rc;
	if (rc == 0 && !o->read_only && d->desc->has_children && !o->ignore_children)   // cut short, no clone of it can be opened either
		return err_set(e, EROFS, "it has clones, which a write would change; open it read-only or write to a clone");
	d->size = d->desc->size;
	d->block = d->desc->block;
	return 0;
}

static int loop_check(const struct bh_disk *d, const struct bh_disk *child, struct err *e)
{
	unsigned depth = 1;

	for (; child; child = child->child, depth++)
		if (d->desc && child->desc && !strcmp(child->desc->id, d->desc->id))
			return err_set(e, ELOOP, "it is its own ancestor");
	if (depth > DISK_DEPTH_MAX) return err_set(e, ELOOP, "more than %d disks stand one on another", DISK_DEPTH_MAX);
	return 0;
}

static void disk_free(struct bh_disk *d)
{
	if (d->root == d) {
		pthread_mutex_destroy(&d->admin);
		pthread_mutex_destroy(&d->front_lock);
		pthread_mutex_destroy(&d->helper_lock);
		pthread_rwlock_destroy(&d->chain_lock);
		pthread_mutex_destroy(&d->queues_lock);
		free(d->slot_layer);
	}
	if (d->data_fd >= 0) close(d->data_fd);
	descriptor_free(d->desc);
	free(d->path);
	free(d);
}

static void helpers_close(struct bh_disk *d)
{
	bh_disk_queue_close(d->front);
	bh_disk_queue_close(d->helper);
}

static int root_init(struct bh_disk *d, struct err *e)
{
	int rc = work_start(e);

	pthread_mutex_init(&d->admin, NULL);
	pthread_mutex_init(&d->front_lock, NULL);
	pthread_mutex_init(&d->helper_lock, NULL);
	pthread_rwlock_init(&d->chain_lock, NULL);
	pthread_mutex_init(&d->queues_lock, NULL);
	d->slot_layer = calloc(DISK_SLOTS_MAX, sizeof(*d->slot_layer));
	if (!d->slot_layer) return err_set(e, ENOMEM, "no memory to open a disk");
	if (rc == 0) rc = bh_disk_queue_open(d, 8, &d->helper, e);
	return rc < 0 ? rc : bh_disk_queue_open(d, 8, &d->front, e);
}

static int open_into(struct bh_disk *d, const struct disk_open *o, struct err *e)
{
	int rc = d->root == d ? root_init(d, e) : 0;

	if (rc == 0 && descriptor_is(d->path)) rc = descriptor_read(d->path, &d->desc, e);
	if (rc == 0) rc = data_open(d, o, e);
	if (rc == 0) rc = loop_check(d, o->child, e);
	if (rc == 0) rc = chain_build(d, o->at, e);
	return rc;
}

/* Of a long chain of parents the message names the disk asked for and the one at fault. */
static void name_failure(const struct bh_disk *d, struct err *e)
{
	char quoted[ERR_TEXT_MAX];

	snprintf(quoted, sizeof(quoted), "'%s'", d->path);
	if (!e || (d->root == d && strstr(e->text, quoted))) return;
	if (d->root == d) err_wrap(e, "disk '%s'", d->path);
	else if (strncmp(e->text, "parent", 6)) strstr(e->text, quoted) ? err_wrap(e, "parent") : err_wrap(e, "parent '%s'", d->path);
}

int disk_open(const char *path, const struct disk_open *o, struct bh_disk **out, struct err *e)
{
	struct bh_disk *d = calloc(1, sizeof(*d));
	int rc;

	if (d) d->path = strdup(path);
	if (!d || !d->path) {
		free(d);
		return err_set(e, ENOMEM, "no memory to open a disk");
	}
	d->data_fd = -1;
	d->child = o->child;
	d->root = o->child ? o->child->root : d;
	d->read_only = o->read_only;
	d->threads_only = o->threads_only;
	d->keep_descriptor = o->keep_descriptor;
	d->no_parent = o->no_parent;
	d->side_ops = &side_real;
	rc = open_into(d, o, e);
	if (rc < 0) {
		name_failure(d, e);
		if (d->root == d) helpers_close(d);
		disk_free(d);
		return rc;
	}
	*out = d;
	return 0;
}

int disk_close(struct bh_disk *d, struct err *e)
{
	int rc = 0, rc2;

	if (!d->read_only) rc = queue_rw(d->root, d->entry, IOF_FLUSH, 0, NULL, 0, 0, NULL);
	if (rc < 0) err_sys(e, -rc, "disk '%s': cannot flush", d->path);
	rc2 = chain_close(d, rc < 0 ? NULL : e);
	if (d->root == d) helpers_close(d);
	disk_free(d);
	return rc < 0 ? rc : rc2;
}

int bh_disk_open(const char *path, const struct bh_disk_attr *attr, struct bh_disk **d, struct err *e)
{
	static const struct bh_disk_attr defaults = { .mode = BH_DISK_RDWR };
	struct disk_open o = { .child = NULL };

	if (!attr) attr = &defaults;
	o.read_only = attr->mode == BH_DISK_RDONLY;
	o.threads_only = attr->no_io_uring;
	o.keep_descriptor = attr->keep_descriptor;
	o.at = attr->at;
	return disk_open(path, &o, d, e);
}

int bh_disk_close(struct bh_disk *d, struct err *e)
{
	return d ? disk_close(d, e) : 0;
}

void bh_disk_info(const struct bh_disk *d, struct bh_disk_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size_bytes = __atomic_load_n(&d->size, __ATOMIC_RELAXED);
	info->block_bytes = d->block;
	info->read_only = d->read_only;
	info->can_discard = !d->read_only;
	if (d->desc) strcpy(info->id, d->desc->id);
}
