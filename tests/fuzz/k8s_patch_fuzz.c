// SPDX-License-Identifier: Apache-2.0
// Patches: the first byte picks the type, then "document NUL patch". The originals must stay as they were.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "k8s/kind.h"
#include "k8s/patch.h"
#include "k8s/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int apply_twice(const struct k8s_kind *k, const json_t *doc, const json_t *patch, json_t **out)
{
	json_t *conflicts = NULL, *second = NULL;
	struct err e = ERR_INIT;
	struct k8s_apply how = {.manager = "kubectl", .force = true};
	int rc = k8s_patch_apply(k, doc, patch, &how, out, &conflicts, &e);
	json_decref(conflicts);
	conflicts = NULL;
	how.force = false;
	if (rc == 0 && k8s_patch_apply(k, *out, patch, &how, &second, &conflicts, &e) == 0 && !json_equal(*out, second))
		abort();   // applying the same again changes nothing
	json_decref(second);
	json_decref(conflicts);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct k8s_kind *k = k8s_kind_find("", "v1", "pods");
	const uint8_t *zero = size > 1 ? memchr(data + 1, 0, size - 1) : NULL;
	json_error_t where;
	struct err e = ERR_INIT;
	json_t *out = NULL;
	if (!zero)
		return 0;
	json_t *doc = json_loadb((const char *)data + 1, (size_t)(zero - data - 1), 0, &where);
	json_t *patch = json_loadb((const char *)zero + 1, (size_t)(data + size - zero - 1), JSON_DECODE_ANY, &where);
	if (doc && patch) {
		json_t *doc_before = json_deep_copy(doc), *patch_before = json_deep_copy(patch);
		switch (data[0] % 4) {
		case 0: k8s_patch_json(doc, patch, &out, &e); break;
		case 1: k8s_patch_merge(doc, patch, &out, &e); break;
		case 2: k8s_patch_strategic(k, doc, patch, &out, &e); break;
		default:
			if (k8s_decode(k, doc, NULL, &e) == 0 && k8s_decode(k, patch, NULL, &e) == 0) {
				json_decref(doc_before);
				json_decref(patch_before);
				doc_before = json_deep_copy(doc);
				patch_before = json_deep_copy(patch);
				apply_twice(k, doc, patch, &out);
			} else {
				json_decref(doc_before);
				json_decref(patch_before);
				doc_before = json_incref(doc);
				patch_before = json_incref(patch);
			}
		}
		if (!json_equal(doc, doc_before) || !json_equal(patch, patch_before))
			abort();
		json_decref(doc_before);
		json_decref(patch_before);
	}
	json_decref(out);
	json_decref(doc);
	json_decref(patch);
	return 0;
}
