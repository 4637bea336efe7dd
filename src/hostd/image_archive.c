// SPDX-License-Identifier: Apache-2.0
// Reading archives of images; see image_archive.h. Docker's manifest.json names tar files; they become blobs under the
// digest of their bytes, so that both forms look the same afterwards.
#include "image_archive.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "image_disk.h"

#define INDEX_DEPTH_MAX 4

void archive_image_fini(struct archive_image *a)
{
	free(a->config_text);
	json_decref(a->config);
	image_manifest_fini(&a->manifest);
	*a = (struct archive_image){0};
}

/* Open a plain file inside the folder, whatever symlinks the archive holds. Returns a descriptor or -errno. */
static int open_inside(int dir_fd, const char *path, struct stat *st, struct err *e)
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	own_fd int fd = (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
	if (fd < 0)
		return err_sys(e, errno, "archive: open %.200s", path);
	if (fstat(fd, st) || !S_ISREG(st->st_mode))
		return err_set(e, EINVAL, "archive: %.200s is no plain file", path);
	return take_fd(fd);
}

static int read_inside(int dir_fd, const char *path, struct buf *out, struct err *e)
{
	struct stat st;
	own_fd int fd = open_inside(dir_fd, path, &st, e);
	if (fd < 0)
		return fd;
	if (st.st_size > IMAGE_MANIFEST_MAX)
		return err_set(e, EINVAL, "archive: %.200s is larger than %u bytes", path, IMAGE_MANIFEST_MAX);
	if (buf_reserve(out, (size_t)st.st_size + 1))
		return err_sys(e, ENOMEM, "archive");
	int rc = fd_read_all(fd, out->data, (size_t)st.st_size);
	if (rc && st.st_size)
		return err_sys(e, -rc, "archive: read %.200s", path);
	out->len = (size_t)st.st_size;
	out->data[out->len] = '\0';
	return 0;
}

static void blob_path(const char *digest, char path[100])
{
	snprintf(path, 100, "blobs/sha256/%s", image_digest_hex(digest));
}

/* Read a small blob and check it. */
static int read_blob(int dir_fd, const char *digest, struct buf *out, struct err *e)
{
	char path[100], real[IMAGE_DIGEST_MAX];
	blob_path(digest, path);
	int rc = read_inside(dir_fd, path, out, e);
	if (rc)
		return rc;
	image_digest_of(out->data, out->len, real);
	return strcmp(real, digest) ? err_set(e, EBADMSG, "archive: digest mismatch: %s holds bytes of %s", path, real) : 0;
}

/* Copy a file into the work folder's blobs. want: its digest, or NULL: take the digest of its bytes. */
static int copy_blob(int dir_fd, const char *path, const char *work, const char *want, struct image_layer *l, struct err *e)
{
	struct stat st;
	unsigned char magic[4] = {0};
	own_fd int in = open_inside(dir_fd, path, &st, e);
	if (in < 0)
		return in;
	int rc = want ? 0 : image_digest_fd(in, l->digest);
	if (rc)
		return err_sys(e, -rc, "archive: read %.200s", path);
	if (want)
		memcpy(l->digest, want, IMAGE_DIGEST_MAX);
	if (pread(in, magic, 4, 0) < 0 || lseek(in, 0, SEEK_SET) < 0)
		return err_sys(e, errno, "archive: read %.200s", path);
	own_free char *to = image_work_blob(work, l->digest);
	own_fd int out = to ? open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
	if (out < 0)
		return err_sys(e, errno, "write a layer");
	for (off_t left = st.st_size; left; ) {
		ssize_t n = sendfile(out, in, NULL, (size_t)left);   // also from one file system to another
		if (n <= 0)
			return err_sys(e, n ? errno : EIO, "archive: copy %.200s", path);
		left -= n;
	}
	l->size_bytes = (uint64_t)st.st_size;
	if (!want)
		l->packing = magic[0] == 0x1f && magic[1] == 0x8b ? PACKING_GZIP :
			     !memcmp(magic, "\x28\xb5\x2f\xfd", 4) ? PACKING_ZSTD : PACKING_TAR;
	return 0;
}

/* --- OCI layout --- */

static int list_oci(const json_t *manifests, json_t *list)
{
	size_t i;
	json_t *m;
	json_array_foreach(manifests, i, m) {
		const json_t *notes = json_object_get(m, "annotations");
		const char *full = json_string_value(json_object_get(notes, "io.containerd.image.name"));
		const char *tag = json_string_value(json_object_get(notes, "org.opencontainers.image.ref.name"));
		const char *digest = jpath_str(m, "digest", "");
		/* A bare tag names nothing; a reference does. */
		const char *name = full ? full : tag && strpbrk(tag, "/:") ? tag : "";
		if (!image_digest_valid(digest))
			return -EINVAL;
		if (json_array_append_new(list, json_pack("{s:s, s:{s:s}}", "name", name, "entry", "digest", digest)))
			return -ENOMEM;
	}
	return 0;
}

static int read_oci(int dir_fd, const char *digest, const char *work, struct archive_image *a, struct err *e)
{
	char at[IMAGE_DIGEST_MAX], child[IMAGE_DIGEST_MAX];
	memcpy(at, digest, sizeof(at));
	memcpy(a->manifest_digest, digest, sizeof(at));
	int rc = 1;
	for (int depth = 0; rc == 1; depth++) {
		own_buf struct buf text = BUF_INIT;
		if (depth == INDEX_DEPTH_MAX)
			return err_set(e, EINVAL, "archive: indexes are nested more than %d deep", INDEX_DEPTH_MAX);
		if ((rc = read_blob(dir_fd, at, &text, e)))
			return rc;
		rc = image_manifest_parse(text.data, text.len, image_arch(), &a->manifest, child, e);
		memcpy(at, child, rc == 1 ? sizeof(at) : 0);
	}
	own_buf struct buf config = BUF_INIT;
	if (!rc)
		rc = read_blob(dir_fd, a->manifest.config_digest, &config, e);
	for (size_t i = 0; !rc && i < a->manifest.layers_count; i++) {
		char path[100];
		struct image_layer *l = &a->manifest.layers[i];
		blob_path(l->digest, path);
		char want[IMAGE_DIGEST_MAX];
		memcpy(want, l->digest, sizeof(want));
		rc = copy_blob(dir_fd, path, work, want, l, e);
	}
	a->config_text = rc ? NULL : buf_take(&config);
	return rc;
}

/* --- docker save --- */

static int list_docker(const json_t *images, json_t *list)
{
	size_t i, k;
	json_t *image, *tag;
	json_array_foreach(images, i, image) {
		const json_t *tags = json_object_get(image, "RepoTags");
		json_array_foreach(tags, k, tag)
			if (!json_is_string(tag) || json_array_append_new(list, json_pack("{s:O, s:O}", "name", tag, "entry", image)))
				return -EINVAL;
		if (!json_array_size(tags) && json_array_append_new(list, json_pack("{s:s, s:O}", "name", "", "entry", image)))
			return -ENOMEM;
	}
	return 0;
}

static int read_docker(int dir_fd, const json_t *entry, const char *work, struct archive_image *a, struct err *e)
{
	const char *config_path = jpath_str(entry, "Config", "");
	const json_t *layers = json_object_get(entry, "Layers");
	own_buf struct buf config = BUF_INIT;
	size_t n = json_array_size(layers);
	if (!*config_path || n > IMAGE_LAYERS_MAX)
		return err_set(e, EINVAL, "archive: manifest.json: an image needs Config and at most %d Layers", IMAGE_LAYERS_MAX);
	int rc = read_inside(dir_fd, config_path, &config, e);
	if (rc)
		return rc;
	image_digest_of(config.data, config.len, a->manifest.config_digest);
	a->manifest.layers = calloc(n ? n : 1, sizeof(*a->manifest.layers));
	if (!a->manifest.layers)
		return err_sys(e, ENOMEM, "archive");
	a->manifest.layers_count = n;
	for (size_t i = 0; !rc && i < n; i++) {
		const char *path = json_string_value(json_array_get(layers, i));
		rc = path ? copy_blob(dir_fd, path, work, NULL, &a->manifest.layers[i], e) :
			    err_set(e, EINVAL, "archive: manifest.json: a layer is no file name");
	}
	a->config_text = rc ? NULL : buf_take(&config);
	return rc;
}

json_t *archive_list(int dir_fd, struct err *e)
{
	own_json json_t *list = json_array();
	own_buf struct buf docker = BUF_INIT, oci = BUF_INIT;
	if (!list) {
		err_sys(e, ENOMEM, "archive");
		return NULL;
	}
	bool has_docker = !read_inside(dir_fd, "manifest.json", &docker, NULL);
	bool has_oci = !read_inside(dir_fd, "index.json", &oci, NULL);
	own_json json_t *images = has_docker ? json_loadb(docker.data, docker.len, JSON_REJECT_DUPLICATES, NULL) : NULL;
	own_json json_t *index = has_oci ? json_loadb(oci.data, oci.len, JSON_REJECT_DUPLICATES, NULL) : NULL;
	/* New versions of docker save write both; manifest.json has the tags. */
	if (json_is_array(images) ? list_docker(images, list) :
	    json_is_array(json_object_get(index, "manifests")) ? list_oci(json_object_get(index, "manifests"), list) : -EINVAL) {
		err_set(e, EINVAL, "expected an OCI layout (index.json) or the output of docker save (manifest.json)");
		return NULL;
	}
	return json_incref(list);
}

int archive_read(int dir_fd, const json_t *entry, const char *work, struct archive_image *out, struct err *e)
{
	struct archive_image a = {0};
	const char *digest = jpath_str(entry, "entry.digest", NULL);
	int rc = digest ? read_oci(dir_fd, digest, work, &a, e) : read_docker(dir_fd, json_object_get(entry, "entry"), work, &a, e);
	if (!rc && !a.config_text)
		rc = err_sys(e, ENOMEM, "archive");
	if (!rc) {
		a.config = image_config_parse(a.config_text, strlen(a.config_text), image_arch(), a.manifest.layers_count, e);
		rc = a.config ? 0 : -e->code;
	}
	if (rc) {
		archive_image_fini(&a);
		return rc;
	}
	*out = a;
	return 0;
}
