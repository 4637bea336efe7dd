// SPDX-License-Identifier: Apache-2.0
// Where to fetch a reference from: ROOT/registries.json (docs/images.md), mirrors first, and the credentials in the form
// that skopeo reads. Pure.
#ifndef BH_HOSTD_IMAGE_REGISTRY_H
#define BH_HOSTD_IMAGE_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "image_ref.h"

#define IMAGE_ENDPOINTS_MAX 9   // eight mirrors and the registry itself

struct image_endpoint {
	char repository[IMAGE_REF_MAX];   // "127.0.0.1:5000/library/nginx"
	bool insecure;                    // plain HTTP or a certificate nobody signed is accepted
};

/* Places to ask for r, in order; the registry itself last. config: text of registries.json, NULL when there is none.
 * Returns how many, or -EINVAL with what is wrong in the file. */
int image_endpoints(const char *config, const struct image_ref *r, struct image_endpoint out[IMAGE_ENDPOINTS_MAX],
		    struct err *e);

/* Turn a docker configuration ({"auths":...}, NULL: none) into the text of an authentication file for skopeo: keys
 * without scheme and API version, user and password joined. Heap; NULL with e on bad input. */
char *image_auth_file(const char *auth_json, struct err *e);

#endif
