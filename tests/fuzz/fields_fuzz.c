// SPDX-License-Identifier: Apache-2.0
// managedFields as a client sends them: sets of field paths of any form, in an object that is then written and applied to.
// The input: an object's fieldsV1, a NUL, another's.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "k8s/fieldset.h"
#include "k8s/kind.h"
#include "k8s/managed_fields.h"
#include "k8s/patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *pod(const char *name, json_t *first, json_t *second)
{
	return json_pack("{s:s,s:s,s:{s:s,s:{s:s},s:[{s:s,s:s,s:s,s:s,s:O},{s:s,s:s,s:s,s:s,s:O}]},s:{s:[{s:s,s:s}]}}", "apiVersion", "v1", "kind",
			 "Pod", "metadata", "name", name, "labels", "a", name, "managedFields", "manager", "one", "operation", "Apply", "apiVersion",
			 "v1", "fieldsType", "FieldsV1", "fieldsV1", first, "manager", "two", "operation", "Update", "apiVersion", "v1", "fieldsType",
			 "FieldsV1", "fieldsV1", second, "spec", "containers", "name", "c", "image", name);
}

static void ignore(void *user, const char *path)
{
	*(size_t *)user += strlen(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct k8s_kind *k = k8s_kind_find("", "v1", "pods");
	const uint8_t *zero = memchr(data, 0, size);
	json_t *first = zero ? json_loadb((const char *)data, zero - data, JSON_DECODE_ANY, NULL) : NULL;
	json_t *second = zero ? json_loadb((const char *)zero + 1, data + size - zero - 1, JSON_DECODE_ANY, NULL) : NULL;
	json_t *live, *next, *out = NULL, *conflicts = NULL, *both;
	struct err e = ERR_INIT;
	size_t n = 0;

	if (first && second) {
		live = pod("a", first, second);
		next = pod("b", second, first);
		k8s_managed_fields_update(k, live, next, "three", NULL, &e);
		k8s_patch_apply(k, live, next, &(struct k8s_apply){.manager = "one", .force = data[0] & 1}, &out, &conflicts, &e);
		both = json_deep_copy(first);
		k8s_fieldset_each(first, ignore, &n);
		k8s_fieldset_add(both, second);
		k8s_fieldset_remove(both, first);
		json_decref(k8s_fieldset_intersect(first, second));
		json_decref(both);
		json_decref(out);
		json_decref(conflicts);
		json_decref(live);
		json_decref(next);
	}
	json_decref(first);
	json_decref(second);
	return 0;
}
