// SPDX-License-Identifier: Apache-2.0
// Changes of an open disk: filters come, go and get new settings, the size changes. Requests of the user wait in their
// queues meanwhile. What filters do on their own account (rw_below) goes through the helper queue, whose lock is held
// for the moment of rewiring.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/jpath.h"
#include "base/own.h"
#include "disk/admin.h"
#include "disk/disk.h"
#include "disk/registry.h"

/* The uppermost layer of a filter: its align layer if it has one. */
static struct iof_layer *top_of(struct bh_disk *d, const char *name)
{
	struct iof_layer *l = d->top;

	while (l != &d->data && strcmp(l->name, name)) l = l->next;
	return l;
}

static struct iof_layer **link_to(struct bh_disk *d, const struct iof_layer *l)
{
	struct iof_layer **p = &d->top;

	while (*p != l) p = &(*p)->next;
	return p;
}

static void rewire(struct bh_disk *d, struct iof_layer **at, struct iof_layer *to)
{
	queue_helpers_lock(d->root);
	pthread_rwlock_wrlock(&d->root->chain_lock);
	*at = to;
	chain_wire(d);
	pthread_rwlock_unlock(&d->root->chain_lock);
	queue_helpers_unlock(d->root);
}

static int has_data(const struct bh_disk *d)
{
	struct stat st;

	return fstat(d->data_fd, &st) < 0 || st.st_blocks;
}

static json_t *settings_json(const char *text, struct err *e)
{
	json_error_t je;
	json_t *j = text ? json_loads(text, JSON_REJECT_DUPLICATES, &je) : json_object();

	if (json_is_object(j)) return j;
	json_decref(j);
	err_set(e, EINVAL, "the settings are not a JSON object");
	return NULL;
}

/* Close [from, until): layers that are out of the chain. */
static int close_out(struct iof_layer *from, const struct iof_layer *until, struct err *e)
{
	int rc = 0;

	while (from != until) {
		struct iof_layer *next = from->next;
		int rc2 = chain_layer_close(from, rc == 0 ? e : NULL);

		if (rc == 0) rc = rc2;
		from = next;
	}
	return rc;
}

static int add_paused(struct bh_disk *d, unsigned i, struct err *e)
{
	struct iof_layer *next = i + 1 < d->desc->nfilters ? top_of(d, d->desc->filters[i + 1].name) : &d->data, *top = NULL;
	struct iof_layer **at = link_to(d, next);
	int rc = chain_layer_open(d, &d->desc->filters[i], next, &top, e);

	if (rc < 0) return rc;
	rewire(d, at, top);
	rc = descriptor_write(d->desc, e);
	if (rc < 0) {
		rewire(d, at, next);
		close_out(top, next, NULL);
	}
	return rc;
}

int bh_disk_filter_add(struct bh_disk *d, const char *type, const char *name, const char *settings, int at, bool force, struct err *e)
{
	own_json json_t *set = settings_json(settings, e);
	const struct iof_filter *f;
	int i = 0, rc;

	if (!d->desc) return err_set(e, EINVAL, "a raw disk has no filters");
	if (!set) return -EINVAL;
	rc = registry_find(type, &f, e);
	if (rc < 0) return rc;
	if (f->order == IOF_CLASS_LINK) return err_set(e, EINVAL, "a link comes with 'clone' only");
	pthread_mutex_lock(&d->admin);
	if (f->flags & IOF_CHANGES_DATA && has_data(d))
		rc = err_set(e, ENOTEMPTY, "filter '%s' changes what is stored, and the disk holds data already; attach it to an empty disk or to a clone", type);
	else rc = i = admin_filter_add(d->desc, type, name, set, at, e);
	if (rc >= 0) {
		rc = force ? 0 : chain_check_order(d->desc, e);
		if (rc == 0) {
			queue_pause(d);
			rc = add_paused(d, (unsigned)i, e);
			queue_resume(d);
		}
		if (rc < 0) descriptor_filter_remove(d->desc, (unsigned)i);
	}
	pthread_mutex_unlock(&d->admin);
	return rc;
}

static int remove_paused(struct bh_disk *d, struct iof_layer *l, struct err *e)
{
	struct iof_layer *top = top_of(d, l->name), **at = link_to(d, top), *below = l->next;
	own_json json_t *settings = NULL;
	own_free char *name = strdup(l->name), *type = strdup(l->filter->name);
	int i = descriptor_filter_find(d->desc, l->name), rc = 0;

	if (!name || !type) return err_set(e, ENOMEM, "no memory");
	if (l->filter->detach) rc = l->filter->detach(l, e);
	if (rc < 0) return rc;
	settings = json_deep_copy(d->desc->filters[i].settings.json);
	rewire(d, at, below);
	descriptor_filter_remove(d->desc, (unsigned)i);
	rc = descriptor_write(d->desc, e);
	if (rc < 0) {
		descriptor_filter_add(d->desc, (unsigned)i, name, type, settings, NULL);
		rewire(d, at, top);
	}
	return rc;
}

int bh_disk_filter_remove(struct bh_disk *d, const char *name, struct err *e)
{
	struct iof_layer *l, *top, *below;
	int rc;

	pthread_mutex_lock(&d->admin);
	l = chain_find(d, name);
	if (!l) rc = err_set(e, ENOENT, "it has no filter '%s'", name);
	else if (l->filter->flags & IOF_CHANGES_DATA && !l->filter->detach)
		rc = err_set(e, EINVAL, "without filter '%s' what is stored cannot be read; copy the disk to one that does not have it", name);
	else {
		top = top_of(d, name);
		below = l->next;
		queue_pause(d);
		rc = remove_paused(d, l, e);
		queue_resume(d);
		if (rc == 0) rc = close_out(top, below, e);
	}
	pthread_mutex_unlock(&d->admin);
	return rc;
}

/* No request is on its way while it happens, of the helper neither. */
static int quietly(struct bh_disk *d, struct iof_layer *l, const struct iof_settings *s, struct err *e)
{
	int rc;

	queue_pause(d);
	queue_helpers_lock(d->root);
	rc = l->filter->reconfigure(l, s, e);
	queue_helpers_unlock(d->root);
	queue_resume(d);
	return rc;
}

static int reconfigure(struct bh_disk *d, struct iof_layer *l, const struct iof_settings *s, struct err *e)
{
	return l->filter->flags & IOF_QUIET_SET ? quietly(d, l, s, e) : l->filter->reconfigure(l, s, e);
}

static int set_locked(struct bh_disk *d, struct iof_layer *l, json_t *changes, struct err *e)
{
	struct descriptor_filter *df = &d->desc->filters[descriptor_filter_find(d->desc, l->name)];
	struct iof_settings s = { .json = json_deep_copy(df->settings.json) }, old;
	const char *key;
	json_t *v;
	int rc = 0;

	json_object_foreach(changes, key, v) {
		if (json_is_null(v)) json_object_del(s.json, key);
		else if (json_is_string(v) || json_is_integer(v) || json_is_boolean(v)) json_object_set(s.json, key, v);
		else rc = err_set(e, EINVAL, "setting '%s' is neither text, number, true nor false", key);
	}
	if (rc == 0 && !l->filter->reconfigure) rc = err_set(e, EINVAL, "filter '%s' has no setting that can be changed", l->name);
	if (rc == 0) rc = chain_settings_known(l->filter, &s, e);
	if (rc == 0 && l->filter->attach) rc = l->filter->attach(&s, d->path, e);
	if (rc == 0) {
		old = df->settings;
		df->settings = s;   // written first: a filter may not be able to take a change back
		rc = descriptor_write(d->desc, e);
		if (rc == 0 && (rc = reconfigure(d, l, &s, e)) < 0) {
			df->settings = old;
			descriptor_write(d->desc, NULL);
		} else if (rc < 0) {
			df->settings = old;
		} else {
			s = old;
		}
	}
	json_decref(s.json);
	return rc;
}

int bh_disk_filter_set(struct bh_disk *d, const char *name, const char *settings, struct err *e)
{
	own_json json_t *changes = settings_json(settings, e);
	struct iof_layer *l;
	int rc;

	if (!changes) return -EINVAL;
	pthread_mutex_lock(&d->admin);
	l = chain_find(d, name);
	rc = l ? set_locked(d, l, changes, e) : err_set(e, ENOENT, "it has no filter '%s'", name);
	pthread_mutex_unlock(&d->admin);
	return rc < 0 ? err_wrap(e, "filter '%s'", name) : 0;
}

/* ---- size ---- */

static int raw_size_now(struct bh_disk *d, uint64_t *size, struct err *e)
{
	struct stat st;

	if (fstat(d->data_fd, &st) < 0) return err_sys(e, errno, "cannot look at '%s'", d->path);
	if (!d->is_block_device) *size = (uint64_t)st.st_size / 512 * 512;
	else if (ioctl(d->data_fd, BLKGETSIZE64, size) < 0) return err_sys(e, errno, "cannot ask the size of '%s'", d->path);
	return 0;
}

/* The data file may be longer than the disk: a filter puts blocks elsewhere in it, or the disk did not grow in the end. */
static int lengthen(struct bh_disk *d, uint64_t bytes, struct err *e)
{
	struct stat st;

	if (d->is_block_device || d->read_only) return 0;
	if (fstat(d->data_fd, &st) < 0) return err_sys(e, errno, "cannot look at the data file");
	if ((uint64_t)st.st_size < bytes && ftruncate(d->data_fd, (off_t)bytes) < 0) return err_sys(e, errno, "cannot make the data file longer");
	return 0;
}

static int resized(struct bh_disk *d, struct err *e)
{
	int rc = 0;

	for (struct iof_layer *l = d->top; l != &d->data && rc == 0; l = l->next)
		if (l->filter->resized) rc = l->filter->resized(l, e);
	return rc;
}

static int resize_paused(struct bh_disk *d, uint64_t size, uint64_t rounded, struct err *e)
{
	uint64_t old = d->size;
	int rc = size > old && chain_puts_elsewhere(d->desc) ? lengthen(d, rounded, e) : 0;   // a filter makes it longer, too: not beside it

	if (rc < 0) return rc;
	queue_helpers_lock(d->root);   // filters move what the helper's requests look at
	__atomic_store_n(&d->size, size, __ATOMIC_RELAXED);
	rc = resized(d, e);
	queue_helpers_unlock(d->root);
	if (rc == 0 && d->desc) {
		d->desc->size = size;
		if (d->desc->has_parent && d->desc->parent.limit > size) d->desc->parent.limit = size;
		if (!d->keep_descriptor) rc = descriptor_write(d->desc, e);
	}
	if (rc < 0) {
		__atomic_store_n(&d->size, old, __ATOMIC_RELAXED);
		if (d->desc) d->desc->size = old;
		return rc;
	}
	if (size < old && !d->is_block_device && !chain_puts_elsewhere(d->desc) && ftruncate(d->data_fd, (off_t)rounded) < 0)
		return err_sys(e, errno, "cannot cut the data file");
	return 0;
}

static uint64_t end_of_last_block(const struct bh_disk *d)
{
	return (d->size + d->block - 1) / d->block * d->block;
}

/* What is cut off must not come back when the disk grows again, not even from the rest of a cluster or from a cache. */
static int zero_tail(struct bh_disk *d, uint64_t from, struct err *e)
{
	struct bh_disk_extent x = { .len = 0 };
	uint64_t end = end_of_last_block(d);
	int rc = resized(d, e);   // does every filter allow it?

	if (rc < 0) return rc;
	for (uint64_t at = from; at < end && rc == 0; at += x.len) {
		rc = queue_rw(d, d->entry, IOF_EXTENTS, at, NULL, end - at, 0, &x);
		if (rc == 0 && x.depth == 0 && x.type == BH_DISK_DATA) rc = queue_rw(d, d->entry, IOF_WRITE_ZEROES, at, NULL, x.len, 0, NULL);
	}
	if (rc == 0) rc = queue_rw(d, d->entry, IOF_FLUSH, 0, NULL, 0, 0, NULL);
	return rc < 0 ? err_sys(e, -rc, "cannot clear what is cut off") : 0;
}

/* What shows when the disk grows must be zeroes, whatever lies in the rest of its last block. */
static int hide_tail(struct bh_disk *d, uint64_t size, struct err *e)
{
	uint64_t end = end_of_last_block(d);
	int rc = 0;

	if (!d->desc || d->size == end) return 0;
	if (end > size) end = size;
	rc = queue_rw(d, d->entry, IOF_WRITE_ZEROES, d->size, NULL, end - d->size, 0, NULL);
	if (rc == 0) rc = queue_rw(d, d->entry, IOF_FLUSH, 0, NULL, 0, 0, NULL);
	return rc < 0 ? err_sys(e, -rc, "cannot clear what lies behind the end of the disk") : 0;
}

int bh_disk_resize(struct bh_disk *d, uint64_t size, struct err *e)
{
	uint64_t rounded;
	int rc = 0;

	pthread_mutex_lock(&d->admin);
	if (!d->desc && !size) rc = raw_size_now(d, &size, e);
	if (rc == 0 && d->desc && d->read_only) rc = err_set(e, EROFS, "it is open read-only");
	if (rc == 0 && (size > DISK_SIZE_MAX || size % 512 || !size)) rc = err_set(e, EINVAL, "size %llu is not a multiple of 512 up to 64 TiB", (unsigned long long)size);
	if (rc == 0 && size < d->size && size % d->block) rc = err_set(e, EINVAL, "a disk shrinks to a multiple of %u bytes only", d->block);
	if (rc == 0 && size < d->size && d->queues != d->front) rc = err_set(e, EBUSY, "a disk in use cannot shrink");
	if (rc == 0 && size < d->size && d->desc) rc = zero_tail(d, size, e);
	rounded = (size + d->block - 1) / d->block * d->block;
	if (rc == 0 && size > d->size) rc = hide_tail(d, size, e);
	if (rc == 0 && size > d->size && !chain_puts_elsewhere(d->desc)) {   // not while requests wait: a sync may take seconds
		rc = lengthen(d, rounded, e);
		if (rc == 0 && !d->keep_descriptor && fsync(d->data_fd) < 0) rc = err_sys(e, errno, "cannot sync the data file");
	}
	if (rc == 0 && size != d->size) {
		queue_pause(d);
		rc = resize_paused(d, size, rounded, e);
		queue_resume(d);
	}
	pthread_mutex_unlock(&d->admin);
	return rc;
}

/* ---- stats ---- */

static void emit(void *user, const char *key, uint64_t value)
{
	json_object_set_new(user, key, json_integer((json_int_t)value));
}

char *bh_disk_stats(struct bh_disk *d)
{
	own_json json_t *root = json_object();
	json_t *list = json_array();

	pthread_mutex_lock(&d->admin);
	for (struct iof_layer *l = d->top; l != &d->data; l = l->next) {
		json_t *s;

		if (l->automatic) continue;
		s = json_object();
		if (l->filter->stats) l->filter->stats(l, emit, s);
		json_array_append_new(list, json_pack("{s:s,s:s,s:o}", "name", l->name, "type", l->filter->name, "stats", s));
	}
	pthread_mutex_unlock(&d->admin);
	json_object_set_new(root, "filters", list);
	return json_dumps(root, JSON_COMPACT);
}
