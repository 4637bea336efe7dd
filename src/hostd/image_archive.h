// SPDX-License-Identifier: Apache-2.0
// Images that lie in a folder: an OCI layout, or an unpacked "docker save". Bytes are hostile: every file is opened
// inside the folder and checked against its digest.
#ifndef BH_HOSTD_IMAGE_ARCHIVE_H
#define BH_HOSTD_IMAGE_ARCHIVE_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"
#include "image_manifest.h"

/* One image found in an archive, with its layers copied into a work folder. */
struct archive_image {
	char *config_text;
	json_t *config;
	struct image_manifest manifest;
	char manifest_digest[IMAGE_DIGEST_MAX];   // "" for docker archives
};
void archive_image_fini(struct archive_image *a);

/* What is in the folder: an array of {"name": reference or "", "entry": what archive_read takes}. New reference, NULL
 * with e: neither form of archive. */
json_t *archive_list(int dir_fd, struct err *e);

/* Read the image behind entry and put its layers into WORK/blobs/sha256. -EINVAL, -EBADMSG, -ENOENT (other platform),
 * -ENOSPC, -errno. */
int archive_read(int dir_fd, const json_t *entry, const char *work, struct archive_image *out, struct err *e);

#endif
