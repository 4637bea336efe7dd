// SPDX-License-Identifier: Apache-2.0
// One image from a registry into a work folder, by skopeo. Mirrors are asked first.
#ifndef BH_HOSTD_IMAGE_FETCH_H
#define BH_HOSTD_IMAGE_FETCH_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "image_flight.h"
#include "image_manifest.h"
#include "image_registry.h"

struct image_fetch {
	/* set by the caller, borrowed */
	const struct image_ref *ref;
	const char *config;               // text of registries.json or NULL
	const char *auth_path;            // file from image_auth_file
	const volatile int *cancel;       // may be NULL
	struct flight *flight;            // told of "resolve" and "copy"; may be NULL
	/* filled by image_fetch_resolve */
	struct image_endpoint endpoint;   // where it was found
	char digest[IMAGE_DIGEST_MAX];    // what the reference means: of the index or the manifest
	char instance[IMAGE_DIGEST_MAX];  // of the manifest for this machine
	struct image_manifest manifest;
	char *config_text;                // by image_fetch_layers: the image configuration, digest checked; heap
};
void image_fetch_fini(struct image_fetch *f);

/* Ask what the reference means now. Errors as image_pull, with a runtime's sentence. */
int image_fetch_resolve(struct image_fetch *f, struct err *e);

/* Bring the layers into WORK/blobs/sha256 (those already there are not fetched again) and the configuration into
 * config_text. */
int image_fetch_layers(struct image_fetch *f, const char *work, struct err *e);

/* What skopeo's output says: the reason in reason (the last fatal message, unquoted), and as errno value. Pure. */
int image_fetch_reason(const char *output, char *reason, size_t size);

#endif
