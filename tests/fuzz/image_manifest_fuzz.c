// SPDX-License-Identifier: Apache-2.0
// Manifests, image configurations and references as a registry or an archive could give them.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hostd/image_fetch.h"
#include "hostd/image_manifest.h"
#include "hostd/image_ref.h"
#include "hostd/image_registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	own_manifest struct image_manifest m = {0};
	char child[IMAGE_DIGEST_MAX], reason[64], text[IMAGE_REF_MAX];
	char *s = strndup((const char *)data, size);
	if (!s)
		return 0;
	image_manifest_parse((const char *)data, size, "amd64", &m, child, &e);
	json_decref(image_config_parse((const char *)data, size, "amd64", 1, &e));
	struct image_ref r, again;
	if (!image_ref_parse(s, &r, &e) && image_ref_parse(image_ref_text(&r, text), &again, &e))
		abort();   // a normalised reference must be readable
	struct image_endpoint places[IMAGE_ENDPOINTS_MAX];
	if (!image_ref_parse("docker.io/library/x", &r, &e))
		image_endpoints(s, &r, places, &e);
	image_fetch_reason(s, reason, sizeof(reason));
	free(image_auth_file(s, &e));
	free(s);
	return 0;
}
