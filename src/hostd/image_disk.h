// SPDX-License-Identifier: Apache-2.0
// From layers to a disk: a work folder (an OCI layout below ROOT/images/tmp) is unpacked by umoci and packed into an
// EROFS image by mkfs.erofs. The same image gives the same bytes on the same host.
#ifndef BH_HOSTD_IMAGE_DISK_H
#define BH_HOSTD_IMAGE_DISK_H

#include "base/err.h"
#include "image_flight.h"
#include "image_manifest.h"

struct image_build {
	const char *work;                        // the work folder; its layers are in blobs/sha256/
	const struct image_manifest *manifest;
	const char *id;                          // digest of the configuration
	const char *config_text;                 // its bytes, digest checked by the caller
	const json_t *config;                    // the same, parsed and checked
	const volatile int *cancel;              // may be NULL
	struct flight *flight;                   // told of the stages "unpack" and "disk"; may be NULL
};

/* Make the folders of a work folder; existing ones stay. */
int image_work_make(const char *work, struct err *e);

/* "WORK/blobs/sha256/HEX" of a blob; heap, NULL: no memory. */
char *image_work_blob(const char *work, const char *digest);

/* Write WORK/disk.erofs, on stable storage. -EBADMSG: a blob is missing or its bytes are not what its digest says;
 * -ENOSPC; -ECANCELED; -EIO. */
int image_disk_build(const struct image_build *b, struct err *e);

/* What a helper program's failure means: -ENOSPC, -EBADMSG (wrong digest, broken archive) or rc itself. Sets e->code. */
int image_disk_error(int rc, struct err *e);

#endif
