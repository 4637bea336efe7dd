// SPDX-License-Identifier: Apache-2.0
// The image store; see image.h. A pull is two flights: one per reference (what does it mean now?) and one per manifest
// (bring it here), so that everyone who wants the same thing waits for one piece of work.
// A disk is complete before it gets its name in disks/, and named before it gets its record in index.json.
#include "image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "image_fetch.h"
#include "image_internal.h"

#define REGISTRIES_MAX (1u << 20)
#define PARTIAL_KEEP_S 3600   // how long the layers of a broken pull wait for the next attempt

void image_free(struct image *img)
{
	if (!img)
		return;
	free(img->id);
	free(img->ref);
	free(img->repo_digest);
	free(img->disk_path);
	json_decref(img->config);
	free(img);
}

/* Empty tmp/. Programs of a killed predecessor may write into it for another moment: move it away under them, and try
 * again when a folder is found not empty. */
static int clear_tmp(const struct image_store *s, struct err *e)
{
	own_free char *old = NULL;
	if (asprintf(&old, "%s.old", s->tmp) < 0)
		return err_sys(e, ENOMEM, "open the image store");
	int rc = -ENOTEMPTY;
	for (int try = 0; rc == -ENOTEMPTY && try < 20; try++) {
		if (try)
			nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
		rc = dir_remove(old, e);
	}
	if (rc || access(s->tmp, F_OK))
		return rc;
	if (rename(s->tmp, old))
		return err_sys(e, errno, "move %s away", s->tmp);
	return clear_tmp(s, e);
}

static int make_folders(const struct image_store *s, struct err *e)
{
	static const char *const kinds[] = {"disks", "configs", "tmp"};
	int rc = clear_tmp(s, e);
	for (size_t i = 0; !rc && i < sizeof(kinds) / sizeof(*kinds); i++) {
		own_free char *path = NULL;
		if (asprintf(&path, "%s/%s", s->dir, kinds[i]) < 0)
			return err_sys(e, ENOMEM, "open the image store");
		rc = dir_make(path, 0700, e);
	}
	return rc;
}

int image_store_open(const char *root, struct image_store **out, struct err *e)
{
	struct image_store *s = calloc(1, sizeof(*s));
	if (!s)
		return err_sys(e, ENOMEM, "open the image store");
	pthread_mutex_init(&s->writer, NULL);
	pthread_mutex_init(&s->lock, NULL);
	s->holds = json_object();
	s->flights = flights_new();
	s->root = strdup(root);
	int rc = 0;
	if (!s->root || !s->holds || !s->flights || asprintf(&s->dir, "%s/images", root) < 0 || asprintf(&s->tmp, "%s/tmp", s->dir) < 0)
		rc = err_sys(e, ENOMEM, "open the image store");
	if (!rc)
		rc = make_folders(s, e);
	if (!rc)
		rc = image_index_open(s->dir, &s->lock, &s->index, e);
	if (rc) {
		image_store_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void image_store_close(struct image_store *s)
{
	if (!s)
		return;
	image_index_free(s->index);
	flights_free(s->flights);
	json_decref(s->holds);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->writer);
	free(s->root);
	free(s->dir);
	free(s->tmp);
	free(s);
}

/* The record of id as the caller gets it. Under the lock. */
static struct image *image_new(struct image_store *s, const char *id, const char *ref)
{
	struct image *img = calloc(1, sizeof(*img));
	if (!img)
		return NULL;
	img->id = strdup(id);
	img->ref = strdup(ref);
	img->repo_digest = strdup(image_index_repo_digest(s->index, id, ref));
	img->disk_path = image_index_disk(s->index, id);
	img->config = json_incref(image_index_config(s->index, id));
	img->size_bytes = image_index_size(s->index, id);
	if (img->id && img->ref && img->repo_digest && img->disk_path)
		return img;
	image_free(img);
	return NULL;
}

int image_find(struct image_store *s, const char *ref, struct image **out, struct err *e)
{
	char key[IMAGE_REF_MAX] = "";
	pthread_mutex_lock(&s->lock);
	const char *id = image_index_find(s->index, ref, key);
	bool by_id = id && !strcmp(key, id);
	struct image *img = id ? image_new(s, id, by_id ? image_index_any_ref(s->index, id) : key) : NULL;
	if (img)
		image_index_touch(s->index, id);
	pthread_mutex_unlock(&s->lock);
	if (!id)
		return err_set(e, ENOENT, "image \"%s\" is not present on this host", ref);
	if (!img)
		return err_sys(e, ENOMEM, "look up image \"%s\"", ref);
	*out = img;
	return 0;
}

bool image_store_has(struct image_store *s, const char *id)
{
	pthread_mutex_lock(&s->lock);
	bool has = image_index_has(s->index, id);
	pthread_mutex_unlock(&s->lock);
	return has;
}

int image_store_name(struct image_store *s, const char *id, const char *ref, const char *repo_digest, struct err *e)
{
	pthread_mutex_lock(&s->writer);
	int rc = image_index_name(s->index, id, ref, repo_digest, e);
	pthread_mutex_unlock(&s->writer);
	return rc;
}

/* Put the finished disk and its configuration in place, then record them. */
static int publish(struct image_store *s, const struct image_build *b, const char *ref, const char *repo_digest, struct err *e)
{
	own_free char *made = NULL, *config = NULL, *disk = image_index_disk(s->index, b->id);
	if (!disk || asprintf(&made, "%s/disk.erofs", b->work) < 0 ||
	    asprintf(&config, "%s/configs/%s.json", s->dir, image_digest_hex(b->id)) < 0)
		return err_sys(e, ENOMEM, "store the image");
	pthread_mutex_lock(&s->writer);
	int rc = 0;
	if (!image_store_has(s, b->id)) {
		rc = file_write_atomic(config, b->config_text, strlen(b->config_text), 0600, e);
		if (!rc && (chmod(made, 0444) || rename(made, disk)))
			rc = err_sys(e, errno, "store %s", disk);
		if (!rc)
			rc = image_index_add(s->index, b->id, (json_t *)b->config, e);
		if (rc) {
			unlink(disk);
			unlink(config);
		}
	}
	if (!rc)
		rc = image_index_name(s->index, b->id, ref, repo_digest, e);
	pthread_mutex_unlock(&s->writer);
	return rc;
}

int image_store_make(struct image_store *s, const struct image_build *b, const char *ref, const char *repo_digest,
		     struct err *e)
{
	int rc = image_store_has(s, b->id) ? 0 : image_disk_build(b, e);
	return rc ? rc : publish(s, b, ref, repo_digest, e);
}

/* One pull, as both of its flights see it. */
struct pull {
	struct image_store *s;
	const struct image_pull_opts *o;
	struct image_ref ref;
	char ref_text[IMAGE_REF_MAX];
	char repo_digest[IMAGE_REF_MAX];
	struct image_fetch fetch;
};

static int unpack_error(int rc, struct err *e)
{
	if (rc == -ECANCELED)
		return rc;
	err_wrap(e, "failed to unpack image");
	return rc;
}

/* Flight of the manifest: layers, disk, record. */
static int bring(void *ctx, struct flight *flight, struct err *e)
{
	struct pull *p = ctx;
	struct image_fetch *f = &p->fetch;
	own_free char *work = NULL;
	if (image_store_has(p->s, f->manifest.config_digest))   // someone was faster
		return image_store_name(p->s, f->manifest.config_digest, p->ref_text, p->repo_digest, e);
	if (asprintf(&work, "%s/pull-%s", p->s->tmp, image_digest_hex(f->instance)) < 0)
		return err_sys(e, ENOMEM, "pull");
	f->flight = flight;
	int rc = image_work_make(work, e);
	if (!rc)
		rc = image_fetch_layers(f, work, e);
	own_json json_t *config = rc ? NULL : image_config_parse(f->config_text, strlen(f->config_text), image_arch(),
								 f->manifest.layers_count, e);
	if (!rc && !config)
		rc = -(e->code = e->code == EINVAL ? EBADMSG : e->code);
	if (!rc) {
		struct image_build b = {.work = work, .manifest = &f->manifest, .id = f->manifest.config_digest, .config = config,
					.config_text = f->config_text, .cancel = p->o->cancel, .flight = flight};
		rc = image_store_make(p->s, &b, p->ref_text, p->repo_digest, e);
		if (rc)
			rc = unpack_error(rc, e);
	}
	bool resumable = rc == -EHOSTUNREACH || rc == -EIO || rc == -ECANCELED;   // the layers that came are good
	if (!resumable && dir_remove(work, NULL))
		log_warn("image", "cannot remove %s; the next start will", work);
	return rc;
}

/* Folders of broken pulls that nobody continued. */
static void drop_old_partials(const struct image_store *s)
{
	own_dir DIR *d = opendir(s->tmp);
	struct stat st;
	for (struct dirent *f; d && (f = readdir(d)); ) {
		own_free char *path = NULL;
		if (strncmp(f->d_name, "pull-", 5) || fstatat(dirfd(d), f->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
		    st.st_mtime + PARTIAL_KEEP_S > time(NULL) || asprintf(&path, "%s/%s", s->tmp, f->d_name) < 0)
			continue;
		dir_remove(path, NULL);
	}
}

static int write_auth(struct pull *p, char *path, size_t size, struct err *e)
{
	own_free char *text = image_auth_file(p->o->auth_json, e);
	if (!text)
		return -e->code;
	snprintf(path, size, "%s/auth.XXXXXX", p->s->tmp);
	own_fd int fd = mkostemp(path, O_CLOEXEC);   // mode 0600
	if (fd < 0)
		return err_sys(e, errno, "write %s", path);
	int rc = fd_write_all(fd, text, strlen(text));
	if (rc)
		unlink(path);
	return rc ? err_sys(e, -rc, "write %s", path) : 0;
}

static int pull_from_registry(struct pull *p, struct flight *flight, struct err *e)
{
	struct image_fetch *f = &p->fetch;
	char repository[IMAGE_REF_MAX];
	f->ref = &p->ref, f->flight = flight, f->cancel = p->o->cancel;
	int rc = image_fetch_resolve(f, e);
	if (rc)
		return rc;
	snprintf(p->repo_digest, sizeof(p->repo_digest), "%s@%s", image_ref_repository(&p->ref, repository), f->digest);
	if (image_store_has(p->s, f->manifest.config_digest) &&
	    !image_store_name(p->s, f->manifest.config_digest, p->ref_text, p->repo_digest, NULL))
		return 0;
	char key[IMAGE_DIGEST_MAX + 16];
	snprintf(key, sizeof(key), "manifest %s", f->instance);
	struct flight_job job = {.key = key, .work = bring, .ctx = p, .progress = p->o->progress, .user = p->o->user, .cancel = p->o->cancel};
	rc = flight_run(p->s->flights, &job, e);
	/* It may have been brought under another reference. */
	return rc ? rc : image_store_name(p->s, f->manifest.config_digest, p->ref_text, p->repo_digest, e);
}

/* Flight of the reference. */
static int pull(void *ctx, struct flight *flight, struct err *e)
{
	struct pull *p = ctx;
	own_buf struct buf config = BUF_INIT;
	own_free char *path = NULL;
	char auth[PATH_MAX] = "";
	if (asprintf(&path, "%s/registries.json", p->s->root) < 0)
		return err_sys(e, ENOMEM, "pull");
	int rc = file_read(path, REGISTRIES_MAX, &config, e);
	if (rc && rc != -ENOENT)
		return rc;
	p->fetch.config = rc ? NULL : config.data ? config.data : "";
	drop_old_partials(p->s);
	rc = write_auth(p, auth, sizeof(auth), e);
	if (rc)
		return rc;
	p->fetch.auth_path = auth;
	rc = pull_from_registry(p, flight, e);
	unlink(auth);
	image_fetch_fini(&p->fetch);
	return rc;
}

int image_pull(struct image_store *s, const char *ref, const struct image_pull_opts *o, struct image **out, struct err *e)
{
	static const struct image_pull_opts none;
	struct err why = ERR_INIT;
	struct pull p = {.s = s, .o = o ? o : &none};
	own_free char *key = NULL;
	int rc = image_ref_parse(ref, &p.ref, e);
	if (rc)
		return rc;
	image_ref_text(&p.ref, p.ref_text);
	if (asprintf(&key, "pull %s %s", p.ref_text, p.o->auth_json ? p.o->auth_json : "") < 0)
		return err_sys(e, ENOMEM, "pull image \"%s\"", ref);
	struct flight_job job = {.key = key, .work = pull, .ctx = &p, .progress = p.o->progress, .user = p.o->user, .cancel = p.o->cancel};
	rc = flight_run(s->flights, &job, &why);
	if (rc == -ECANCELED)
		return err_set(e, ECANCELED, "pull of image \"%s\" was cancelled", p.ref_text);
	if (rc)
		return err_set(e, -rc, "failed to pull and unpack image \"%s\": %s", p.ref_text, why.text);
	return image_find(s, p.ref_text, out, e);
}

json_t *image_list(struct image_store *s)
{
	pthread_mutex_lock(&s->lock);
	json_t *list = image_index_list(s->index), *entry;
	size_t i;
	json_array_foreach(list, i, entry)
		json_object_set_new(entry, "pinned", json_boolean(json_object_get(s->holds, jpath_str(entry, "id", ""))));
	pthread_mutex_unlock(&s->lock);
	return list;
}

/* What image_remove has to do, looked up under the lock. */
enum removal { REMOVE_NOTHING, REMOVE_NAME, REMOVE_IMAGE, REMOVE_BUSY };

static enum removal plan_removal(struct image_store *s, const char *ref, char key[IMAGE_REF_MAX], char id[IMAGE_DIGEST_MAX])
{
	enum removal what = REMOVE_IMAGE;
	pthread_mutex_lock(&s->lock);
	const char *found = image_index_find(s->index, ref, key);
	if (!found)
		what = REMOVE_NOTHING;
	else if (image_index_is_ref(s->index, key) && image_index_ref_count(s->index, found) > 1)
		what = REMOVE_NAME;
	else if (json_object_get(s->holds, found))
		what = REMOVE_BUSY;
	if (found)
		snprintf(id, IMAGE_DIGEST_MAX, "%s", found);
	pthread_mutex_unlock(&s->lock);
	return what;
}

int image_remove(struct image_store *s, const char *ref, struct err *e)
{
	char key[IMAGE_REF_MAX] = "", id[IMAGE_DIGEST_MAX] = "";
	int rc;
	pthread_mutex_lock(&s->writer);
	switch (plan_removal(s, ref, key, id)) {
	case REMOVE_NAME:
		rc = image_index_unname(s->index, key, e);
		break;
	case REMOVE_IMAGE:
		rc = image_index_drop(s->index, id, e);
		break;
	case REMOVE_BUSY:
		rc = err_set(e, EBUSY, "image \"%s\" is used by a pod; delete the pod first", ref);
		break;
	default:
		rc = err_set(e, ENOENT, "image \"%s\" is not present on this host", ref);
	}
	pthread_mutex_unlock(&s->writer);
	return rc;
}

/* Takes the writer's lock too: an image that is being removed cannot be held. */
int image_hold(struct image_store *s, const char *id)
{
	pthread_mutex_lock(&s->writer);
	pthread_mutex_lock(&s->lock);
	int rc = image_index_has(s->index, id) ? 0 : -ENOENT;
	json_int_t n = json_integer_value(json_object_get(s->holds, id));
	if (!rc && json_object_set_new(s->holds, id, json_integer(n + 1)))
		rc = -ENOMEM;
	if (!rc)
		image_index_touch(s->index, id);
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_unlock(&s->writer);
	return rc;
}

void image_release(struct image_store *s, const char *id)
{
	pthread_mutex_lock(&s->lock);
	json_t *n = json_object_get(s->holds, id);
	if (n && json_integer_value(n) > 1)
		json_integer_set(n, json_integer_value(n) - 1);
	else
		json_object_del(s->holds, id);
	image_index_touch(s->index, id);
	pthread_mutex_unlock(&s->lock);
}

static bool is_held(void *holds, const char *id)
{
	return json_object_get(holds, id);
}

uint64_t image_gc(struct image_store *s, uint64_t want_bytes)
{
	uint64_t freed = 0;
	pthread_mutex_lock(&s->writer);
	while (freed < want_bytes) {
		struct err e = ERR_INIT;
		pthread_mutex_lock(&s->lock);
		own_free char *id = image_index_oldest(s->index, is_held, s->holds);
		uint64_t size = id ? image_index_size(s->index, id) : 0;
		pthread_mutex_unlock(&s->lock);
		if (!id)
			break;
		if (image_index_drop(s->index, id, &e)) {
			log_error("image", "garbage collection stopped: %s", e.text);
			break;
		}
		log_info("image", "garbage collection removed %s, %llu bytes", id, (unsigned long long)size);
		freed += size;
	}
	pthread_mutex_unlock(&s->writer);
	return freed;
}
