// SPDX-License-Identifier: Apache-2.0
// Manifests; see image_manifest.h. Source: OCI image specification 1.0, Docker image manifest version 2 schema 2.
#include "image_manifest.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/jpath.h"

void image_manifest_fini(struct image_manifest *m)
{
	free(m->layers);
	*m = (struct image_manifest){0};
}

const char *image_arch(void)
{
	struct utsname u;
	if (uname(&u))
		return "amd64";
	return !strcmp(u.machine, "aarch64") ? "arm64" : "amd64";
}

static int packing_of(const char *type, enum image_packing *out)
{
	static const struct { const char *type; enum image_packing packing; } known[] = {
		{"application/vnd.oci.image.layer.v1.tar", PACKING_TAR},
		{"application/vnd.oci.image.layer.v1.tar+gzip", PACKING_GZIP},
		{"application/vnd.oci.image.layer.v1.tar+zstd", PACKING_ZSTD},
		{"application/vnd.oci.image.layer.nondistributable.v1.tar", PACKING_TAR},
		{"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", PACKING_GZIP},
		{"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", PACKING_ZSTD},
		{"application/vnd.docker.image.rootfs.diff.tar", PACKING_TAR},
		{"application/vnd.docker.image.rootfs.diff.tar.gzip", PACKING_GZIP},
		{"application/vnd.docker.image.rootfs.diff.tar.zstd", PACKING_ZSTD},
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(type, known[i].type)) {
			*out = known[i].packing;
			return 0;
		}
	return -ENOTSUP;
}

static int read_digest(const json_t *descriptor, char out[IMAGE_DIGEST_MAX])
{
	const char *d = jpath_str(descriptor, "digest", "");
	if (!image_digest_valid(d))
		return -EINVAL;
	memcpy(out, d, IMAGE_DIGEST_MAX);
	return 0;
}

static int read_layer(const json_t *j, size_t number, struct image_layer *l, struct err *e)
{
	const char *type = jpath_str(j, "mediaType", "");
	long long size = jpath_int(j, "size", -1);
	if (read_digest(j, l->digest) || size < 0)
		return err_set(e, EINVAL, "manifest: layer %zu has no valid digest and size", number);
	if (packing_of(type, &l->packing))
		return err_set(e, ENOTSUP, "manifest: layer %zu is of type \"%.100s\", which this host cannot unpack", number, type);
	l->size_bytes = (uint64_t)size;
	return 0;
}

/* Fills m->layers; on failure the caller finishes m. */
static int read_layers(const json_t *array, struct image_manifest *m, struct err *e)
{
	size_t n = json_array_size(array);
	if (n > IMAGE_LAYERS_MAX)
		return err_set(e, EINVAL, "manifest: %zu layers, at most %d are allowed", n, IMAGE_LAYERS_MAX);
	m->layers = calloc(n ? n : 1, sizeof(*m->layers));
	if (!m->layers)
		return err_sys(e, ENOMEM, "manifest");
	m->layers_count = n;
	int rc = 0;
	for (size_t i = 0; i < n && !rc; i++)
		rc = read_layer(json_array_get(array, i), i + 1, &m->layers[i], e);
	return rc;
}

/* The entry of an index that runs here. Among equals the first one counts, as for other runtimes. */
static int pick(const json_t *manifests, const char *arch, char child[IMAGE_DIGEST_MAX], struct err *e)
{
	size_t i;
	json_t *entry;
	json_array_foreach(manifests, i, entry) {
		const char *os = jpath_str(entry, "platform.os", ""), *a = jpath_str(entry, "platform.architecture", "");
		const char *variant = jpath_str(entry, "platform.variant", "");
		bool plain = !*variant || !strcmp(variant, "v1") || !strcmp(variant, "v8");
		if (strcmp(os, "linux") || strcmp(a, arch) || !plain)
			continue;
		if (read_digest(entry, child))
			return err_set(e, EINVAL, "image index: the entry for linux/%s has no valid digest", arch);
		return 1;
	}
	return err_set(e, ENOENT, "no match for platform linux/%s in manifest: not found", arch);
}

int image_manifest_parse(const char *data, size_t len, const char *arch, struct image_manifest *m,
			 char child[IMAGE_DIGEST_MAX], struct err *e)
{
	json_error_t why;
	own_json json_t *root = json_loadb(data, len, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return err_set(e, EINVAL, "manifest: not JSON: %.150s", why.text);
	if (jpath_int(root, "schemaVersion", 0) == 1)
		return err_set(e, ENOTSUP, "manifest: schema version 1 is too old; push the image again with a current tool");
	const json_t *manifests = json_object_get(root, "manifests"), *layers = json_object_get(root, "layers");
	if (json_is_array(manifests) && !layers)
		return pick(manifests, arch, child, e);
	own_manifest struct image_manifest r = {0};
	if (!json_is_array(layers) || manifests || read_digest(json_object_get(root, "config"), r.config_digest))
		return err_set(e, EINVAL, "manifest: neither an image (config and layers) nor an index (manifests)");
	int rc = read_layers(layers, &r, e);
	if (rc)
		return rc;
	*m = r;
	r = (struct image_manifest){0};
	return 0;
}

json_t *image_config_parse(const char *data, size_t len, const char *arch, size_t layers_count, struct err *e)
{
	json_error_t why;
	own_json json_t *root = json_loadb(data, len, 0, &why);
	if (!json_is_object(root)) {
		err_set(e, EINVAL, "image configuration: not a JSON object");
		return NULL;
	}
	const char *os = jpath_str(root, "os", "linux"), *a = jpath_str(root, "architecture", arch);
	if (strcmp(os, "linux") || strcmp(a, arch)) {
		err_set(e, ENOENT, "image is for %.30s/%.30s, this host runs linux/%s", os, a, arch);
		return NULL;
	}
	const json_t *ids = jpath_get(root, "rootfs.diff_ids");
	size_t i;
	json_t *id;
	json_array_foreach(ids, i, id)
		if (!json_is_string(id) || !image_digest_valid(json_string_value(id))) {
			err_set(e, EINVAL, "image configuration: rootfs.diff_ids[%zu] is no sha256 digest", i);
			return NULL;
		}
	if (json_array_size(ids) != layers_count) {
		err_set(e, EINVAL, "image configuration lists %zu layers, the manifest %zu", json_array_size(ids), layers_count);
		return NULL;
	}
	return json_incref(root);
}
