// SPDX-License-Identifier: Apache-2.0
// image_load: images from an OCI layout folder or an archive file into the store.
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "base/proc.h"
#include "image_archive.h"
#include "image_internal.h"

/* One load, also the context of its flight per image. */
struct load {
	struct image_store *s;
	const struct image_pull_opts *o;
	int dir_fd;                      // the archive as a folder
	const char *work;
	const json_t *entry;
	char ref[IMAGE_REF_MAX];
	struct archive_image image;
};

static int make(void *ctx, struct flight *flight, struct err *e)
{
	struct load *l = ctx;
	struct image_build b = {.work = l->work, .manifest = &l->image.manifest, .id = l->image.manifest.config_digest,
				.config = l->image.config, .config_text = l->image.config_text, .cancel = l->o->cancel, .flight = flight};
	return image_store_make(l->s, &b, l->ref, "", e);
}

/* The reference an entry gets: its own, else the caller's, else its digest's repository "loaded". */
static int name_entry(struct load *l, const char *name, struct err *e)
{
	struct image_ref r;
	const char *own = jpath_str(l->entry, "name", "");
	if (!*own && !name)
		return err_set(e, EINVAL, "the archive gives its image no name: say which reference it shall have");
	int rc = image_ref_parse(name ? name : own, &r, e);
	if (!rc)
		image_ref_text(&r, l->ref);
	return rc;
}

static int load_entry(struct load *l, const char *name, struct err *e)
{
	char key[IMAGE_DIGEST_MAX + 16];
	int rc = name_entry(l, name, e);
	if (!rc)
		rc = dir_remove(l->work, e);
	if (!rc)
		rc = image_work_make(l->work, e);
	if (!rc)
		rc = archive_read(l->dir_fd, l->entry, l->work, &l->image, e);
	if (rc)
		return rc;
	snprintf(key, sizeof(key), "image %s", l->image.manifest.config_digest);
	struct flight_job job = {.key = key, .work = make, .ctx = l, .progress = l->o->progress, .user = l->o->user, .cancel = l->o->cancel};
	rc = flight_run(l->s->flights, &job, e);
	if (!rc)   // another load may have done it, under its own name
		rc = image_store_name(l->s, l->image.manifest.config_digest, l->ref, "", e);
	archive_image_fini(&l->image);
	return rc;
}

/* The archive as a folder: itself, or unpacked into scratch. Returns a descriptor or -errno. */
static int open_archive(struct load *l, const char *path, const char *scratch, struct err *e)
{
	struct stat st;
	if (stat(path, &st))
		return err_sys(e, errno, "load %s", path);
	if (S_ISREG(st.st_mode)) {
		int rc = dir_make(scratch, 0700, e);
		struct proc_opts o = {.cancel = l->o->cancel};
		if (!rc)
			rc = proc_check((const char *[]){"tar", "-x", "--no-same-owner", "--no-same-permissions", "-f", path, "-C", scratch, NULL},
					&o, NULL, e);
		if (rc)
			return image_disk_error(rc, e);
		path = scratch;
	} else if (!S_ISDIR(st.st_mode)) {
		return err_set(e, EINVAL, "load %s: neither a folder nor a file", path);
	}
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "load %s", path) : fd;
}

static int load_all(struct load *l, const char *path, const char *scratch, const char *name, json_t *refs, struct err *e)
{
	l->dir_fd = open_archive(l, path, scratch, e);
	own_fd int dir_fd = l->dir_fd;
	if (dir_fd < 0)
		return dir_fd;
	own_json json_t *list = archive_list(dir_fd, e);
	if (!list)
		return -e->code;
	size_t i;
	int rc = json_array_size(list) ? 0 : err_set(e, ENOENT, "the archive holds no image");
	bool several = json_array_size(list) > 1;
	for (i = 0; !rc && i < json_array_size(list); i++) {
		l->entry = json_array_get(list, i);
		rc = load_entry(l, several ? NULL : name, e);
		if (!rc && json_array_append_new(refs, json_string(l->ref)))
			rc = err_sys(e, ENOMEM, "load");
	}
	return rc;
}

int image_load(struct image_store *s, const char *path, const char *name, const struct image_pull_opts *o,
	       json_t **refs, struct err *e)
{
	static const struct image_pull_opts none;
	struct err why = ERR_INIT;
	own_free char *top = NULL, *work = NULL, *scratch = NULL;
	own_json json_t *loaded = json_array();
	if (!loaded || asprintf(&top, "%s/load.XXXXXX", s->tmp) < 0)
		return err_sys(e, ENOMEM, "load image");
	if (!mkdtemp(top))
		return err_sys(e, errno, "create %s", top);
	struct load l = {.s = s, .o = o ? o : &none};
	int rc = -ENOMEM;
	if (asprintf(&work, "%s/work", top) >= 0 && asprintf(&scratch, "%s/archive", top) >= 0) {
		l.work = work;
		rc = load_all(&l, path, scratch, name, loaded, &why);
	}
	if (dir_remove(top, NULL))
		log_warn("image", "cannot remove %s; the next start will", top);
	if (rc)
		return err_set(e, -rc, "failed to load image from %s: %s", path, *why.text ? why.text : strerror(-rc));
	*refs = json_incref(loaded);
	return 0;
}
