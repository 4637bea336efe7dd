// SPDX-License-Identifier: Apache-2.0
// Manifests: OCI and Docker schema 2, single images and indexes of several platforms. Pure; bytes are hostile.
#ifndef BH_HOSTD_IMAGE_MANIFEST_H
#define BH_HOSTD_IMAGE_MANIFEST_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "image_ref.h"

#define IMAGE_LAYERS_MAX 512
#define IMAGE_MANIFEST_MAX (4u << 20)   // bytes; what registries accept

enum image_packing { PACKING_TAR, PACKING_GZIP, PACKING_ZSTD };

struct image_layer {
	char digest[IMAGE_DIGEST_MAX];   // of the blob as stored
	uint64_t size_bytes;
	enum image_packing packing;
};

struct image_manifest {
	char config_digest[IMAGE_DIGEST_MAX];
	struct image_layer *layers;   // bottom first
	size_t layers_count;
};
void image_manifest_fini(struct image_manifest *m);
#define own_manifest __attribute__((cleanup(image_manifest_fini)))

/* Read a manifest or an index. Returns 0 and m (caller's to fini); 1 and child, the digest of the manifest for
 * linux/arch, when data is an index; -EINVAL not a manifest; -ENOENT no image for this platform; -ENOTSUP (encrypted
 * or foreign layers, schema 1); -ENOMEM. */
int image_manifest_parse(const char *data, size_t len, const char *arch, struct image_manifest *m,
			 char child[IMAGE_DIGEST_MAX], struct err *e);

/* Check an image configuration against its manifest (platform, number of layers). New reference, or NULL with e. */
json_t *image_config_parse(const char *data, size_t len, const char *arch, size_t layers_count, struct err *e);

/* The architecture of this machine as images name it. */
const char *image_arch(void);

#endif
