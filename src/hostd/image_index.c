// SPDX-License-Identifier: Apache-2.0
// The index of images; see image_index.h.
// index.json: {"version": 1, "images": {ID: {"sizeBytes", "created", "lastUsed", "refs": [], "repoDigests": []}}}
// Invariants: names holds every ref and repository digest of every record and nothing else; a ref is in one record.
#include "image_index.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"

#define INDEX_MAX (64u << 20)
#define CONFIG_MAX (8u << 20)

struct image_index {
	char *dir;
	pthread_mutex_t *lock;   // of the readers
	json_t *images;    // id -> record
	json_t *names;     // reference or repository digest -> id
	json_t *configs;   // id -> image configuration
};

static char *file_of(const struct image_index *x, const char *kind, const char *id, const char *end)
{
	char *path;
	return asprintf(&path, "%s/%s/%s%s", x->dir, kind, image_digest_hex(id), end) < 0 ? NULL : path;
}

char *image_index_disk(const struct image_index *x, const char *id)
{
	return file_of(x, "disks", id, ".erofs");
}

static json_t *record(const struct image_index *x, const char *id)
{
	return json_object_get(x->images, id);
}

static int save(const struct image_index *x, struct err *e)
{
	own_free char *path = NULL;
	own_json json_t *root = json_pack("{s:i, s:O}", "version", 1, "images", x->images);
	own_free char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
	if (!text || asprintf(&path, "%s/index.json", x->dir) < 0)
		return err_sys(e, ENOMEM, "save the image index");
	return file_write_atomic(path, text, strlen(text), 0600, e);
}

static int names_add(struct image_index *x, const char *id, const json_t *list)
{
	size_t i;
	json_t *name;
	json_array_foreach(list, i, name)
		if (json_object_set_new(x->names, json_string_value(name), json_string(id)))
			return -ENOMEM;
	return 0;
}

static int names_rebuild(struct image_index *x)
{
	const char *id;
	json_t *r;
	json_object_clear(x->names);
	json_object_foreach(x->images, id, r)
		if (names_add(x, id, json_object_get(r, "refs")) || names_add(x, id, json_object_get(r, "repoDigests")))
			return -ENOMEM;
	return 0;
}

struct edit {
	const char *id, *ref, *repo_digest;
	json_t *config;
};

/* Edit a copy of the records, save it, then show it to the readers. */
static int change(struct image_index *x, int (*edit)(struct image_index *, const struct edit *), const struct edit *what,
		  struct err *e)
{
	struct image_index new = *x;
	pthread_mutex_lock(x->lock);
	own_json json_t *images = new.images = json_deep_copy(x->images);
	pthread_mutex_unlock(x->lock);
	own_json json_t *names = new.names = json_object();
	int rc = images && names ? edit(&new, what) : -ENOMEM;
	if (!rc)
		rc = names_rebuild(&new);
	if (rc)
		return err_sys(e, -rc, "change the image index");
	rc = save(&new, e);
	if (rc)
		return rc;
	pthread_mutex_lock(x->lock);
	images = x->images, names = x->names;   // the old ones go
	x->images = new.images, x->names = new.names;
	pthread_mutex_unlock(x->lock);
	return 0;
}

static bool list_of_strings(const json_t *list)
{
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v)
		if (!json_is_string(v))
			return false;
	return json_is_array(list);
}

static json_t *config_load(const struct image_index *x, const char *id)
{
	own_free char *path = file_of(x, "configs", id, ".json");
	own_buf struct buf text = BUF_INIT;
	if (!path || file_read(path, CONFIG_MAX, &text, NULL))
		return NULL;
	return json_loadb(text.data ? text.data : "", text.len, 0, NULL);
}

/* Is this record whole: well-formed, with its disk and its configuration? Keeps the configuration in memory. */
static bool record_usable(struct image_index *x, const char *id, const json_t *r)
{
	struct stat st;
	if (!image_digest_valid(id) || !list_of_strings(json_object_get(r, "refs")) ||
	    !list_of_strings(json_object_get(r, "repoDigests")))
		return false;
	own_free char *disk = image_index_disk(x, id);
	if (!disk || stat(disk, &st) || (json_int_t)st.st_size != jpath_int(r, "sizeBytes", -1))
		return false;
	json_t *config = config_load(x, id);
	return config && !json_object_set_new(x->configs, id, config);
}

static int load(struct image_index *x, struct err *e)
{
	own_free char *path = NULL;
	own_buf struct buf text = BUF_INIT;
	if (asprintf(&path, "%s/index.json", x->dir) < 0)
		return err_sys(e, ENOMEM, "read the image index");
	int rc = file_read(path, INDEX_MAX, &text, e);
	if (rc == -ENOENT)
		return 0;
	if (rc)
		return rc;
	json_error_t why;
	own_json json_t *root = json_loadb(text.data ? text.data : "", text.len, 0, &why);
	if (jpath_int(root, "version", 0) != 1 || !json_is_object(json_object_get(root, "images")))
		return err_set(e, EINVAL, "%s is no image index of version 1; move it away and pull the images again", path);
	const char *id;
	json_t *r;
	void *next;
	json_decref(x->images);
	x->images = json_incref(json_object_get(root, "images"));
	json_object_foreach_safe(x->images, next, id, r)
		if (!record_usable(x, id, r)) {
			log_warn("image", "image %s is not complete on disk: forgotten", id);
			json_object_del(x->images, id);
		}
	return names_rebuild(x) ? err_sys(e, ENOMEM, "read the image index") : 0;
}

static void remove_strays(const struct image_index *x, const char *kind, const char *end)
{
	own_free char *path = NULL;
	if (asprintf(&path, "%s/%s", x->dir, kind) < 0)
		return;
	own_dir DIR *d = opendir(path);
	for (struct dirent *f; d && (f = readdir(d)); ) {
		char id[IMAGE_DIGEST_MAX + 32] = "sha256:";
		size_t n = strlen(f->d_name), m = strlen(end);
		if (f->d_name[0] == '.')
			continue;
		if (n == 64 + m && !strcmp(f->d_name + 64, end)) {
			memcpy(id + 7, f->d_name, 64);
			if (record(x, id))
				continue;
		}
		unlinkat(dirfd(d), f->d_name, 0);
	}
}

int image_index_open(const char *dir, pthread_mutex_t *lock, struct image_index **x, struct err *e)
{
	struct image_index *n = calloc(1, sizeof(*n));
	if (!n)
		return err_sys(e, ENOMEM, "open the image index");
	n->lock = lock;
	n->dir = strdup(dir), n->images = json_object(), n->names = json_object(), n->configs = json_object();
	int rc = n->dir && n->images && n->names && n->configs ? load(n, e) : err_sys(e, ENOMEM, "open the image index");
	if (rc) {
		image_index_free(n);
		return rc;
	}
	remove_strays(n, "disks", ".erofs");
	remove_strays(n, "configs", ".json");
	*x = n;
	return 0;
}

void image_index_free(struct image_index *x)
{
	if (!x)
		return;
	json_decref(x->images);
	json_decref(x->names);
	json_decref(x->configs);
	free(x->dir);
	free(x);
}

const char *image_index_find(const struct image_index *x, const char *ref, char key[IMAGE_REF_MAX])
{
	char text[IMAGE_REF_MAX];
	struct image_ref r;
	bool bare = strlen(ref) == 64 && strspn(ref, "0123456789abcdef") == 64;
	if (bare || image_digest_valid(ref)) {
		snprintf(text, sizeof(text), "%s%s", bare ? "sha256:" : "", ref);
		const char *id = json_object_iter_key(json_object_iter_at(x->images, text));
		if (key)
			memcpy(key, text, sizeof(text));
		return id;
	}
	if (image_ref_parse(ref, &r, NULL))
		return NULL;
	image_ref_text(&r, text);
	if (key)
		memcpy(key, text, sizeof(text));
	return json_string_value(json_object_get(x->names, text));
}

bool image_index_has(const struct image_index *x, const char *id)
{
	return record(x, id);
}

json_t *image_index_config(const struct image_index *x, const char *id)
{
	return json_object_get(x->configs, id);
}

uint64_t image_index_size(const struct image_index *x, const char *id)
{
	return (uint64_t)jpath_int(record(x, id), "sizeBytes", 0);
}

size_t image_index_ref_count(const struct image_index *x, const char *id)
{
	return json_array_size(json_object_get(record(x, id), "refs"));
}

bool image_index_is_ref(const struct image_index *x, const char *name)
{
	const char *id = json_string_value(json_object_get(x->names, name));
	size_t i;
	json_t *ref;
	json_array_foreach(json_object_get(record(x, id ? id : ""), "refs"), i, ref)
		if (!strcmp(json_string_value(ref), name))
			return true;
	return false;
}

const char *image_index_any_ref(const struct image_index *x, const char *id)
{
	const char *ref = json_string_value(json_array_get(json_object_get(record(x, id), "refs"), 0));
	return ref ? ref : id;
}

/* The repository digest of the same repository as ref, else the first. */
const char *image_index_repo_digest(const struct image_index *x, const char *id, const char *ref)
{
	const json_t *list = json_object_get(record(x, id), "repoDigests");
	struct image_ref r;
	char repository[IMAGE_REF_MAX] = "";
	if (!image_ref_parse(ref, &r, NULL))
		image_ref_repository(&r, repository);
	size_t i, len = strlen(repository);
	json_t *v;
	json_array_foreach(list, i, v)
		if (!strncmp(json_string_value(v), repository, len) && json_string_value(v)[len] == '@')
			return json_string_value(v);
	const char *first = json_string_value(json_array_get(list, 0));
	return first ? first : "";
}

void image_index_touch(struct image_index *x, const char *id)
{
	json_t *r = record(x, id);
	if (r)
		json_object_set_new(r, "lastUsed", json_integer((json_int_t)clock_real_ns()));
}

static int edit_add(struct image_index *x, const struct edit *what)
{
	struct stat st;
	own_free char *disk = image_index_disk(x, what->id);
	if (!disk || stat(disk, &st))
		return -errno;
	json_t *r = json_pack("{s:I, s:s, s:I, s:[], s:[]}", "sizeBytes", (json_int_t)st.st_size,
			      "created", jpath_str(what->config, "created", ""), "lastUsed", (json_int_t)clock_real_ns(),
			      "refs", "repoDigests");
	return json_object_set_new(x->images, what->id, r) ? -ENOMEM : 0;
}

int image_index_add(struct image_index *x, const char *id, json_t *config, struct err *e)
{
	pthread_mutex_lock(x->lock);
	int rc = json_object_set(x->configs, id, config);   // nobody looks for it before its record is there
	pthread_mutex_unlock(x->lock);
	if (rc)
		return err_sys(e, ENOMEM, "change the image index");
	return change(x, edit_add, &(struct edit){.id = id, .config = config}, e);
}

static void list_remove(json_t *list, const char *text)
{
	for (size_t i = json_array_size(list); i-- > 0; )
		if (!strcmp(json_string_value(json_array_get(list, i)), text))
			json_array_remove(list, i);
}

static int edit_name(struct image_index *x, const struct edit *what)
{
	json_t *r = record(x, what->id);
	const char *id;
	json_t *other;
	if (!r)
		return -ENOENT;
	json_object_foreach(x->images, id, other) {   // a tag that moved on
		list_remove(json_object_get(other, "refs"), what->ref);
		if (*what->repo_digest)
			list_remove(json_object_get(other, "repoDigests"), what->repo_digest);
	}
	image_index_touch(x, what->id);
	if (json_array_append_new(json_object_get(r, "refs"), json_string(what->ref)) ||
	    (*what->repo_digest && json_array_append_new(json_object_get(r, "repoDigests"), json_string(what->repo_digest))))
		return -ENOMEM;
	return 0;
}

static bool named(const struct image_index *x, const char *name, const char *id)
{
	const char *now = json_string_value(json_object_get(x->names, name));
	return now && !strcmp(now, id);
}

int image_index_name(struct image_index *x, const char *id, const char *ref, const char *repo_digest, struct err *e)
{
	pthread_mutex_lock(x->lock);
	bool done = image_index_is_ref(x, ref) && named(x, ref, id) && (!*repo_digest || named(x, repo_digest, id));
	if (done)
		image_index_touch(x, id);
	pthread_mutex_unlock(x->lock);
	if (done)
		return 0;   // nothing to write: the common case of a pull that finds everything here
	return change(x, edit_name, &(struct edit){.id = id, .ref = ref, .repo_digest = repo_digest}, e);
}

static int edit_unname(struct image_index *x, const struct edit *what)
{
	const char *id;
	json_t *r;
	bool found = false;
	json_object_foreach(x->images, id, r) {
		json_t *refs = json_object_get(r, "refs");
		size_t before = json_array_size(refs);
		list_remove(refs, what->ref);
		found |= json_array_size(refs) < before;
	}
	return found ? 0 : -ENOENT;
}

int image_index_unname(struct image_index *x, const char *ref, struct err *e)
{
	return change(x, edit_unname, &(struct edit){.ref = ref}, e);
}

static int edit_drop(struct image_index *x, const struct edit *what)
{
	return json_object_del(x->images, what->id) ? -ENOENT : 0;
}

/* The record goes first: a crash in between leaves strays, which the next open removes. */
int image_index_drop(struct image_index *x, const char *id, struct err *e)
{
	own_free char *disk = image_index_disk(x, id), *config = file_of(x, "configs", id, ".json"), *key = strdup(id);
	if (!disk || !config || !key)
		return err_sys(e, ENOMEM, "remove an image");
	int rc = change(x, edit_drop, &(struct edit){.id = key}, e);
	if (rc)
		return rc;
	pthread_mutex_lock(x->lock);
	json_object_del(x->configs, key);
	pthread_mutex_unlock(x->lock);
	unlink(disk);
	unlink(config);
	return 0;
}

json_t *image_index_list(const struct image_index *x)
{
	own_json json_t *list = json_array();
	const char *id;
	json_t *r;
	json_object_foreach(x->images, id, r) {
		json_t *copy = json_deep_copy(r);
		json_object_del(copy, "lastUsed");
		if (json_object_set_new(copy, "id", json_string(id)) || json_array_append(list, copy)) {
			json_decref(copy);
			return NULL;
		}
		json_decref(copy);
	}
	return list ? json_incref(list) : NULL;
}

char *image_index_oldest(const struct image_index *x, bool (*skip)(void *ctx, const char *id), void *ctx)
{
	const char *id, *best = NULL;
	json_t *r;
	long long best_time = 0;
	json_object_foreach(x->images, id, r) {
		long long used = jpath_int(r, "lastUsed", 0);
		if ((!best || used < best_time) && !skip(ctx, id))
			best = id, best_time = used;
	}
	return best ? strdup(best) : NULL;
}
