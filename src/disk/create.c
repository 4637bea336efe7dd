// SPDX-License-Identifier: Apache-2.0
// Making and removing disks. The descriptor is written last and removed first: what a crash leaves behind is an empty
// data file, which the next attempt takes over.
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/jpath.h"
#include "base/own.h"
#include "disk/admin.h"
#include "disk/disk.h"
#include "disk/map.h"
#include "disk/registry.h"
#include "disk/sidefile.h"

static void own_desc_(struct descriptor **d) { descriptor_free(*d); }
#define own_desc __attribute__((cleanup(own_desc_)))

/* The place of a filter of this class: below everything that belongs above it. */
static unsigned place(const struct descriptor *d, const struct iof_filter *f)
{
	unsigned at = 0;

	if (f->order == IOF_CLASS_ANY) return 0;
	for (unsigned i = 0; i < d->nfilters; i++) {
		const struct iof_filter *g;

		if (registry_find(d->filters[i].type, &g, NULL) == 0 && g->order != IOF_CLASS_ANY && g->order <= f->order) at = i + 1;
	}
	return at;
}

int admin_filter_add(struct descriptor *d, const char *type, const char *name, const json_t *settings, int at, struct err *e)
{
	const struct iof_filter *f;
	const struct iof_settings given = { .json = (json_t *)settings };
	int rc = registry_find(type, &f, e);

	if (rc == 0 && settings) rc = chain_settings_known(f, &given, e);
	if (rc < 0) return err_wrap(e, "filter '%s'", type);
	if (at < 0) at = (int)place(d, f);
	rc = descriptor_filter_add(d, (unsigned)at, name ? name : type, type, settings, e);
	if (rc == 0 && f->attach) rc = f->attach(&d->filters[at].settings, d->path, e);
	return rc < 0 ? err_wrap(e, "filter '%s'", name ? name : type) : at;
}

static int filters_add(struct descriptor *d, const char *text, struct err *e)
{
	json_error_t je;
	own_json json_t *list = text ? json_loads(text, JSON_REJECT_DUPLICATES, &je) : json_array();
	size_t i;
	json_t *f;
	int rc;

	if (!json_is_array(list)) return err_set(e, EINVAL, "the list of filters is not a JSON list");
	json_array_foreach(list, i, f) {
		const char *type = jpath_str(f, "type", NULL);

		if (!type) return err_set(e, EINVAL, "filter %zu has no 'type'", i);
		rc = admin_filter_add(d, type, jpath_str(f, "name", NULL), json_object_get(f, "settings"), -1, e);
		if (rc < 0) return rc;
	}
	return chain_check_order(d, e);
}

/* Path of the parent as the clone's descriptor has it: relative if both lie in one folder. */
static char *parent_path(const char *parent, const char *clone)
{
	own_free char *full = realpath(parent, NULL), *dir = strdup(clone), *full_dir = NULL;
	const char *slash = full ? strrchr(full, '/') : NULL;
	char *s = dir ? strrchr(dir, '/') : NULL;

	if (!slash || !dir) return take(full);
	if (s) *s = 0;
	full_dir = realpath(s ? (s == dir ? "/" : dir) : ".", NULL);
	if (full_dir && strlen(full_dir) == (size_t)(slash - full) && !strncmp(full, full_dir, strlen(full_dir))) return strdup(slash + 1);
	return take(full);
}

/* What the clone must know of its parent. *fd: parent's data file, locked shared. */
int admin_parent(const char *parent, struct descriptor *d, uint64_t *size, uint32_t *block, int *fd, struct err *e)
{
	own_desc struct descriptor *p = NULL;
	own_free char *data = NULL;
	own_fd int pfd = -1;
	struct stat st;
	int rc = descriptor_is(parent) ? descriptor_read(parent, &p, e) : 0;

	if (rc < 0) return rc;
	data = p ? descriptor_file(p, p->data) : strdup(parent);
	if (!data) return err_set(e, ENOMEM, "no memory for a clone");
	rc = disk_lock(data, false, &pfd, e);
	if (rc < 0) return err_wrap(e, "parent '%s'", parent);
	if (fstat(pfd, &st) < 0) return err_sys(e, errno, "cannot look at '%s'", data);
	if (p) rc = disk_length_check(p, pfd, data, e);
	if (rc < 0) return err_wrap(e, "parent '%s'", parent);
	free(d->parent.path);
	d->parent.path = parent_path(parent, d->path);
	if (!d->parent.path) return err_set(e, ENOMEM, "no memory for a clone");
	d->has_parent = true;
	d->parent.mtime_ns = S_ISREG(st.st_mode) ? (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec : 0;
	strcpy(d->parent.id, p ? p->id : "");
	d->parent.generation = p ? p->generation : 0;
	*size = p ? p->size : ((uint64_t)st.st_size + 511) / 512 * 512;
	*block = p ? p->block : DISK_BLOCK_MIN;
	if (!p && !S_ISREG(st.st_mode)) return err_set(e, ENOTSUP, "parent '%s' is a block device: wrap it in a descriptor first", parent);
	if (p && !p->has_children) {
		p->has_children = true;
		rc = descriptor_write(p, e);
		if (rc < 0) return err_wrap(e, "cannot mark the parent as having clones");
	}
	*fd = take_fd(pfd);
	return 0;
}

static int data_create(const struct descriptor *d, int *out, struct err *e)
{
	own_free char *data = descriptor_file(d, d->data);
	own_fd int fd = -1;
	struct stat st;
	int rc;

	if (!data) return err_set(e, ENOMEM, "no memory for a disk");
	fd = open(data, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0) return err_sys(e, errno, "cannot make '%s'", data);
	close(take_fd(fd));
	rc = disk_lock(data, true, &fd, e);
	if (rc < 0) return rc;
	if (fstat(fd, &st) < 0 || st.st_blocks) return err_set(e, EEXIST, "'%s' exists and is not empty", data);
	if (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)((d->size + d->block - 1) / d->block * d->block)) < 0)
		return err_sys(e, errno, "cannot give '%s' its size", data);
	if (fdatasync(fd) < 0) return err_sys(e, errno, "cannot sync '%s'", data);   // the descriptor, which comes next, promises that size
	*out = take_fd(fd);
	return 0;
}

static int map_file_create(const struct descriptor *d, struct err *e)
{
	own_free char *path = descriptor_side(d->path, "map");
	struct bh_disk fake = { .path = d->path, .side_ops = &side_real };
	struct iof_file *f;
	int rc;

	if (!path) return err_set(e, ENOMEM, "no memory for a clone");
	if (unlink(path) < 0 && errno != ENOENT) return err_sys(e, errno, "cannot replace '%s'", path);
	rc = side_open(&fake, "map", &f, e);
	if (rc < 0) return rc;
	rc = map_create(f, d->id, d->block, e);
	side_close(f);
	return rc;
}

static void undo(const struct descriptor *d)
{
	own_free char *data = descriptor_file(d, d->data), *map = descriptor_side(d->path, "map");

	unlink(d->path);   // it may have its name and not be sure to keep it
	if (data) unlink(data);
	if (map && d->has_parent) unlink(map);
}

static int fill(struct descriptor *d, const struct bh_disk_new *n, int *parent_fd, struct err *e)
{
	uint64_t size = 0;
	uint32_t block = 0;
	int rc;

	if (n->parent) {
		rc = admin_parent(n->parent, d, &size, &block, parent_fd, e);
		if (rc < 0) return rc;
		if (!n->size_bytes) d->size = size;
		if (!n->block_bytes) d->block = block;
		d->parent.limit = size < d->size ? size : d->size;
		rc = descriptor_filter_add(d, 0, "link", "link", NULL, e);
		if (rc < 0) return rc;
	}
	return filters_add(d, n->filters, e);
}

int bh_disk_create(const char *path, const struct bh_disk_new *n, struct err *e)
{
	own_desc struct descriptor *d = descriptor_new(path, n->size_bytes, n->block_bytes ? n->block_bytes : DISK_BLOCK_MIN, e);
	own_fd int parent_fd = -1, fd = -1;
	int rc;

	if (!d) return e && e->code ? -e->code : -EINVAL;
	if (!n->size_bytes && !n->parent) return err_set(e, EINVAL, "disk '%s': a size is needed", path);
	if (access(path, F_OK) == 0) return err_set(e, EEXIST, "disk '%s' exists already", path);
	rc = fill(d, n, &parent_fd, e);
	if (rc < 0) return err_wrap(e, "disk '%s'", path);
	rc = data_create(d, &fd, e);
	if (rc < 0) return err_wrap(e, "disk '%s'", path);
	if (d->has_parent) rc = map_file_create(d, e);
	if (rc == 0) rc = descriptor_write(d, e);
	if (rc == 0) return 0;
	undo(d);
	return err_wrap(e, "disk '%s'", path);
}

int bh_disk_clone(const char *parent, const char *path, struct err *e)
{
	struct bh_disk_new n = { .parent = parent };

	return bh_disk_create(path, &n, e);
}

int bh_disk_remove(const char *path, struct err *e)
{
	own_desc struct descriptor *d = NULL;
	own_free char *data = NULL, *prefix = NULL, *dir = strdup(path);
	own_dir DIR *dp = NULL;
	own_fd int fd = -1;
	struct dirent *de;
	char *slash;
	int rc = descriptor_read(path, &d, e);

	if (rc < 0) return rc;
	data = descriptor_file(d, d->data);
	prefix = descriptor_side(path, "");
	if (!data || !prefix || !dir) return err_set(e, ENOMEM, "no memory to remove a disk");
	rc = disk_lock(data, true, &fd, e);
	if (rc < 0) return err_wrap(e, "disk '%s'", path);
	slash = strrchr(dir, '/');
	if (slash) *slash = 0;
	dp = opendir(slash ? (slash == dir ? "/" : dir) : ".");
	if (!dp) return err_sys(e, errno, "cannot list the folder of '%s'", path);
	if (unlink(path) < 0) return err_sys(e, errno, "cannot remove '%s'", path);
	if (unlink(data) < 0 && errno != ENOENT) return err_sys(e, errno, "cannot remove '%s'", data);
	slash = strrchr(prefix, '/');
	while ((de = readdir(dp))) {   // NAME.map and what else its filters keep
		const char *base = slash ? slash + 1 : prefix;
		static const char *const ours[] = { "map", "compress", "checksum", "checksum-log", "cbt", "replicate", "writeback", NULL };
		const char *const *o = ours, *suffix;

		if (strncmp(de->d_name, base, strlen(base))) continue;
		suffix = de->d_name + strlen(base);
		while (*o && strcmp(suffix, *o)) o++;
		if (!*o && strncmp(suffix, "cbt-", 4)) continue;
		if (unlinkat(dirfd(dp), de->d_name, 0) < 0 && errno != ENOENT) return err_sys(e, errno, "cannot remove '%s'", de->d_name);
	}
	return 0;
}
