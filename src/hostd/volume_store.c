// SPDX-License-Identifier: Apache-2.0
// Disks of persistent volumes; see volume_store.h.
#include "volume_store.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "base/proc.h"
#include "bulkhead/disk.h"
#include "volume_store_internal.h"

#define FS_MIN_BYTES (16 * MIB)
#define DESCRIPTOR_MAX (1u << 20)

static const char *const suffixes[] = {"volume.json", "snapshot.json"};

static int record_path(const struct volume_store *s, enum record r, const char *id, char out[PATH_LEN], struct err *e)
{
	size_t n = strlen(id);
	if (!n || n > 128 || *id == '.')
		return err_set(e, EINVAL, "'%s' is not the id of a volume", id);
	for (const char *c = id; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
			return err_set(e, EINVAL, "'%s' is not the id of a volume", id);
	return snprintf(out, PATH_LEN, "%s/%s.%s", s->dir, id, suffixes[r]) >= PATH_LEN ? err_sys(e, ENAMETOOLONG, "volume %s", id) : 0;
}

static json_t *read_json(const char *path, struct err *e)
{
	own_buf struct buf text = BUF_INIT;
	json_error_t je;
	int rc = file_read(path, DESCRIPTOR_MAX, &text, e);
	json_t *j = rc ? NULL : json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &je);
	if (!rc && !j)
		err_set(e, EBADMSG, "%s is not JSON: line %d: %s", path, je.line, je.text);
	return j;
}

int volume_json_write(const char *path, const json_t *j, struct err *e)
{
	own_free char *text = json_dumps(j, JSON_INDENT(2));
	return text ? file_write_atomic(path, text, strlen(text), 0600, e) : err_sys(e, ENOMEM, "write %s", path);
}

int volume_record_read(const struct volume_store *s, enum record r, const char *id, json_t **out, struct err *e)
{
	char path[PATH_LEN];
	int rc = record_path(s, r, id, path, e);
	if (rc)
		return rc;
	*out = read_json(path, e);
	return *out ? 0 : e && e->code ? -e->code : -ENOENT;
}

int volume_record_write(const struct volume_store *s, enum record r, const char *id, const json_t *j, struct err *e)
{
	char path[PATH_LEN];
	int rc = record_path(s, r, id, path, e);
	return rc ? rc : volume_json_write(path, j, e);
}

void volume_disk_path(const struct volume_store *s, const char *name, const char *suffix, char out[PATH_LEN])
{
	snprintf(out, PATH_LEN, "%s/disks/%.64s%s", s->dir, name, suffix);
}

static int new_name(char out[33], struct err *e)
{
	unsigned char bytes[16];
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return err_sys(e, EIO, "name a disk");
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

/* --- what nobody needs --- */

static bool in_list(const json_t *list, const char *name)
{
	size_t i;
	json_t *v;
	json_array_foreach((json_t *)list, i, v)
		if (!strcmp(json_string_value(v), name))
			return true;
	return false;
}

static void each_file(const char *dir, const char *suffix, void (*fn)(const char *dir, const char *name, size_t stem, json_t *list), json_t *list)
{
	own_dir DIR *d = opendir(dir);
	struct dirent *de;
	while (d && (de = readdir(d))) {
		size_t n = strlen(de->d_name), m = strlen(suffix);
		if (n > m && !strcmp(de->d_name + n - m, suffix))
			fn(dir, de->d_name, n - m, list);
	}
}

/* What a record or a descriptor needs: names of disks, file names of bases. */
static void note_needs(const char *dir, const char *name, size_t stem, json_t *needed)
{
	char path[PATH_LEN];
	(void)stem;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	own_json json_t *j = read_json(path, NULL);
	const char *parent = jpath_str(j, "parent.path", ""), *slash = strrchr(parent, '/');
	json_array_append_new(needed, json_string(jpath_str(j, "disk", "")));
	parent = slash ? slash + 1 : parent;
	json_array_append_new(needed, json_stringn(parent, strcspn(parent, ".")));
}

static void note_name(const char *dir, const char *name, size_t stem, json_t *found)
{
	(void)dir;
	json_array_append_new(found, json_stringn(name, stem));
}

static bool sweep_once(const struct volume_store *s)
{
	char dir[PATH_LEN], path[PATH_LEN];
	own_json json_t *needed = json_array(), *disks = json_array(), *bases = json_array();
	bool removed = false;
	size_t i;
	json_t *v;
	snprintf(dir, sizeof(dir), "%s/disks", s->dir);
	each_file(s->dir, ".json", note_needs, needed);
	each_file(dir, ".bhd", note_needs, needed);
	each_file(dir, ".bhd", note_name, disks);
	snprintf(dir, sizeof(dir), "%s/base", s->dir);
	each_file(dir, ".raw", note_name, bases);
	json_array_foreach(disks, i, v) {
		struct err e = ERR_INIT;
		if (in_list(needed, json_string_value(v)))
			continue;
		volume_disk_path(s, json_string_value(v), ".bhd", path);
		int rc = bh_disk_remove(path, &e);
		if (rc && rc != -ENOENT)
			log_warn("volumes", "%s", e.text);
		removed |= !rc;
	}
	json_array_foreach(bases, i, v) {
		if (in_list(needed, json_string_value(v)))
			continue;
		snprintf(path, sizeof(path), "%s/base/%.64s.raw", s->dir, json_string_value(v));
		removed |= !unlink(path);
	}
	return removed;
}

/* A disk that goes may have been the last that needed its parent. */
static void sweep(const struct volume_store *s)
{
	while (sweep_once(s))
		;
}

/* --- making disks --- */

int volume_room_for(const struct volume_store *s, uint64_t bytes, struct err *e)
{
	struct statvfs fs;
	if (statvfs(s->dir, &fs))
		return err_sys(e, errno, "look at %s", s->dir);
	uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (bytes > room)
		return err_set(e, ENOSPC, "the node has room for %llu MiB, not for the %llu MiB that are asked for", (unsigned long long)(room / MIB),
			       (unsigned long long)(bytes / MIB));
	return 0;
}

/* An empty ext4 of this size, made when missing. resize_inode lets it grow while it is mounted. */
static int base_ensure(const struct volume_store *s, uint64_t size, char path[PATH_LEN], struct err *e)
{
	char tmp[PATH_LEN + 8], blocks[32];
	snprintf(path, PATH_LEN, "%s/base/ext4-%llum.raw", s->dir, (unsigned long long)(size / MIB));
	if (!access(path, F_OK))
		return 0;
	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	snprintf(blocks, sizeof(blocks), "%lluK", (unsigned long long)(size >> 10));
	unlink(tmp);
	const char *argv[] = {"mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", "-O", "resize_inode", "-E",
			      "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0", "-U", "clear", tmp, blocks, NULL};
	int rc = proc_check(argv, NULL, NULL, e);
	if (!rc && rename(tmp, path))
		rc = err_sys(e, errno, "make %s", path);
	if (rc)
		unlink(tmp);
	return rc;
}

/* A new disk, a clone of parent if that is not NULL. */
static int disk_make(const struct volume_store *s, const char *parent, uint64_t size, const char *filters, char name[33], struct err *e)
{
	char path[PATH_LEN];
	struct bh_disk_new n = {.size_bytes = size, .parent = parent, .filters = filters};
	int rc = new_name(name, e);
	volume_disk_path(s, name, ".bhd", path);
	return rc ? rc : bh_disk_create(path, &n, e);
}

json_t *volume_descriptor(const struct volume_store *s, const char *disk, struct err *e)
{
	char path[PATH_LEN];
	volume_disk_path(s, disk, ".bhd", path);
	return read_json(path, e);
}

/* --- snapshots and copies --- */

/* Is the disk written to right now? */
static bool is_written(const struct volume_store *s, const char *disk)
{
	struct bh_disk_attr attr = {.mode = BH_DISK_RDONLY};
	struct bh_disk *d = NULL;
	char path[PATH_LEN];
	volume_disk_path(s, disk, ".bhd", path);
	int rc = bh_disk_open(path, &attr, &d, NULL);
	if (!rc)
		bh_disk_close(d, NULL);
	return rc == -EBUSY;
}

/* Files that hold data elsewhere than in the disk's own files cannot be copied beside a running VM. */
static int check_copyable(const json_t *desc, struct err *e)
{
	static const char *const no[] = {"cache", "replicate"};
	size_t i;
	json_t *f;
	json_array_foreach(json_object_get(desc, "filters"), i, f)
		for (size_t k = 0; k < sizeof(no) / sizeof(no[0]); k++)
			if (!strcmp(jpath_str(f, "type", ""), no[k]))
				return err_set(e, EBUSY, "the volume is in use, and its filter '%s' keeps data that a copy would miss: it can be "
							 "copied when no pod uses it", no[k]);
	return 0;
}

/* DISK.data, DISK.map... under another name. The descriptor last: without it there is no disk. */
static int copy_files(const struct volume_store *s, const char *from, const char *to, json_t *desc, struct err *e)
{
	char dir[PATH_LEN], path[PATH_LEN], source[PATH_LEN + 256], target[PATH_LEN + 256];
	size_t n = strlen(from);
	int rc = 0;
	snprintf(dir, sizeof(dir), "%s/disks", s->dir);
	own_dir DIR *d = opendir(dir);
	struct dirent *de;
	while (!rc && d && (de = readdir(d))) {
		const char *rest = de->d_name + n;
		if (strncmp(de->d_name, from, n) || *rest != '.' || !strcmp(rest, ".bhd") || !strcmp(rest, ".ctl"))
			continue;
		snprintf(source, sizeof(source), "%s/%s", dir, de->d_name);
		snprintf(target, sizeof(target), "%s/%s%s", dir, to, rest);
		const char *argv[] = {"cp", "--reflink=auto", "--sparse=always", "--", source, target, NULL};
		rc = proc_check(argv, NULL, NULL, e);
	}
	if (rc)
		return rc;
	snprintf(target, sizeof(target), "%s.data", to);
	json_object_set_new(desc, "data", json_string(target));
	volume_disk_path(s, to, ".bhd", path);
	return volume_json_write(path, desc, e);
}

static int copy_frozen(const struct volume_store *s, const char *disk, char name[33], struct err *e)
{
	own_json json_t *desc = volume_descriptor(s, disk, e);
	int rc = !desc ? -e->code : check_copyable(desc, e);
	if (!rc)
		rc = new_name(name, e);
	return rc ? rc : copy_files(s, disk, name, desc, e);
}

static void fill_info(const struct volume_store *s, const json_t *rec, struct volume_info *v)
{
	volume_disk_path(s, jpath_str(rec, "disk", ""), ".bhd", v->path);
	v->size_bytes = (uint64_t)jpath_int(rec, "size", 0);
	v->block = jpath_bool(rec, "block", false);
}

/* True: something was made from it, so it must stay as it is. */
static bool is_settled(const struct volume_store *s, const char *disk)
{
	own_json json_t *desc = volume_descriptor(s, disk, NULL);
	char path[PATH_LEN];
	bool settled = jpath_bool(desc, "has_children", false);
	own_dir DIR *d = settled ? NULL : opendir(s->dir);
	struct dirent *de;
	while (d && (de = readdir(d)) && !settled) {
		if (!strstr(de->d_name, ".snapshot.json"))
			continue;
		snprintf(path, sizeof(path), "%s/%s", s->dir, de->d_name);
		own_json json_t *rec = read_json(path, NULL);
		settled = !strcmp(jpath_str(rec, "disk", ""), disk);
	}
	return settled;
}

/* --- the calls --- */

static json_t *make_record(const char *disk, uint64_t size, bool block, const char *filters)
{
	return json_pack("{s:i, s:s, s:I, s:b, s:s*}", "version", 1, "disk", disk, "size", (json_int_t)size, "block", block, "filters",
			 filters);
}

static int create_copy(struct volume_store *s, const struct volume_new *n, uint64_t size, char name[33], struct err *e)
{
	own_json json_t *from = NULL;
	char parent[PATH_LEN];
	const char *id = n->from_volume ? n->from_volume : n->from_snapshot;
	int rc = volume_record_read(s, n->from_volume ? VOLUME : SNAPSHOT, id, &from, e);
	if (rc)
		return err_wrap(e, "source %s", id);
	if (jpath_bool(from, "block", false) != n->block)
		return err_set(e, EINVAL, "source %s is of volumeMode %s, the copy cannot be of another", id, n->block ? "Filesystem" : "Block");
	if (size < (uint64_t)jpath_int(from, "size", 0))
		return err_set(e, EINVAL, "source %s has %lld MiB: a copy cannot be smaller", id, jpath_int(from, "size", 0) / (long long)MIB);
	if (is_written(s, jpath_str(from, "disk", "")))
		return err_set(e, EBUSY, "source %s is in use", id);
	volume_disk_path(s, jpath_str(from, "disk", ""), ".bhd", parent);
	return disk_make(s, parent, size, n->filters, name, e);
}

static int create(struct volume_store *s, const struct volume_new *n, struct err *e)
{
	char name[33], base[PATH_LEN];
	uint64_t size = (n->size_bytes + MIB - 1) / MIB * MIB;
	if (!n->block && size < FS_MIN_BYTES)
		size = FS_MIN_BYTES;
	int rc = volume_room_for(s, size, e);
	if (!rc && (n->from_volume || n->from_snapshot)) {
		rc = create_copy(s, n, size, name, e);
	} else if (!rc) {
		rc = n->block ? 0 : base_ensure(s, size, base, e);
		if (!rc)
			rc = disk_make(s, n->block ? NULL : base, size, n->filters, name, e);
	}
	if (rc)
		return rc;
	own_json json_t *rec = make_record(name, size, n->block, n->filters);
	return volume_record_write(s, VOLUME, n->id, rec, e);
}

int volume_create(struct volume_store *s, const struct volume_new *n, struct err *e)
{
	own_json json_t *there = NULL;
	pthread_mutex_lock(&s->lock);
	int rc = volume_record_read(s, VOLUME, n->id, &there, e);
	if (rc == -ENOENT) {
		if (e)
			*e = (struct err)ERR_INIT;
		rc = create(s, n, e);
		if (rc)
			sweep(s);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static int remove_record(struct volume_store *s, enum record r, const char *id, struct err *e)
{
	own_json json_t *rec = NULL;
	char path[PATH_LEN];
	pthread_mutex_lock(&s->lock);
	int rc = volume_record_read(s, r, id, &rec, e);
	if (!rc && r == VOLUME && is_written(s, jpath_str(rec, "disk", "")))
		rc = err_set(e, EBUSY, "volume %s is in use by a VM", id);
	if (!rc && !(rc = record_path(s, r, id, path, e)) && unlink(path))
		rc = err_sys(e, errno, "remove %s", path);
	if (!rc)
		sweep(s);
	pthread_mutex_unlock(&s->lock);
	return rc == -ENOENT ? 0 : rc;
}

int volume_remove(struct volume_store *s, const char *id, struct err *e) { return remove_record(s, VOLUME, id, e); }
int volume_snapshot_remove(struct volume_store *s, const char *id, struct err *e) { return remove_record(s, SNAPSHOT, id, e); }

static int get(struct volume_store *s, enum record r, const char *id, struct volume_info *v, struct err *e)
{
	own_json json_t *rec = NULL;
	int rc = volume_record_read(s, r, id, &rec, e);
	if (!rc)
		fill_info(s, rec, v);
	return rc;
}

int volume_get(struct volume_store *s, const char *id, struct volume_info *v, struct err *e) { return get(s, VOLUME, id, v, e); }

int volume_snapshot_get(struct volume_store *s, const char *id, struct volume_info *v, struct err *e) { return get(s, SNAPSHOT, id, v, e); }

/* The volume's disk, one that may be written. */
int volume_writable(struct volume_store *s, const char *id, json_t *rec, struct err *e)
{
	const char *disk = jpath_str(rec, "disk", "");
	char parent[PATH_LEN], name[33];
	if (!is_settled(s, disk))
		return 0;
	volume_disk_path(s, disk, ".bhd", parent);
	int rc = disk_make(s, parent, (uint64_t)jpath_int(rec, "size", 0), jpath_str(rec, "filters", NULL), name, e);
	if (rc)
		return rc;
	json_object_set_new(rec, "disk", json_string(name));
	return volume_record_write(s, VOLUME, id, rec, e);
}

int volume_open(struct volume_store *s, const char *id, struct volume_info *v, struct err *e)
{
	own_json json_t *rec = NULL;
	pthread_mutex_lock(&s->lock);
	int rc = volume_record_read(s, VOLUME, id, &rec, e);
	if (!rc)
		rc = volume_writable(s, id, rec, e);
	if (!rc)
		fill_info(s, rec, v);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static int snapshot(struct volume_store *s, const char *id, const char *volume, bool frozen, struct err *e)
{
	own_json json_t *rec = NULL;
	char name[33];
	int rc = volume_record_read(s, VOLUME, volume, &rec, e);
	if (rc)
		return rc;
	const char *disk = jpath_str(rec, "disk", "");
	bool written = is_written(s, disk);
	if (written && !frozen)
		return err_set(e, EBUSY, "volume %s is in use", volume);
	if (written && (rc = copy_frozen(s, disk, name, e)))
		return rc;
	own_json json_t *snap = make_record(written ? name : disk, (uint64_t)jpath_int(rec, "size", 0), jpath_bool(rec, "block", false), NULL);
	return volume_record_write(s, SNAPSHOT, id, snap, e);
}

int volume_snapshot(struct volume_store *s, const char *id, const char *volume, bool frozen, struct err *e)
{
	own_json json_t *there = NULL;
	pthread_mutex_lock(&s->lock);
	int rc = volume_record_read(s, SNAPSHOT, id, &there, NULL);
	if (rc) {
		rc = snapshot(s, id, volume, frozen, e);
		if (rc)
			sweep(s);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int volume_store_open(const char *root, struct volume_store **out, struct err *e)
{
	char dir[PATH_LEN];
	struct volume_store *s = calloc(1, sizeof(*s));
	if (!s || asprintf(&s->dir, "%s/volumes", root) < 0) {
		free(s);
		return err_sys(e, ENOMEM, "open volumes");
	}
	pthread_mutex_init(&s->lock, NULL);
	snprintf(dir, sizeof(dir), "%s/disks", s->dir);
	int rc = dir_make(dir, 0700, e);
	snprintf(dir, sizeof(dir), "%s/base", s->dir);
	if (!rc)
		rc = dir_make(dir, 0700, e);
	if (rc) {
		volume_store_close(s);
		return rc;
	}
	sweep(s);
	*out = s;
	return 0;
}

void volume_store_close(struct volume_store *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->lock);
	free(s->dir);
	free(s);
}
