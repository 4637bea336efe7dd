// SPDX-License-Identifier: Apache-2.0
// Bodies: YAML or JSON text through everything a server does with it: duplicates, decode, defaults, validation, table. The
// first byte picks the kind.
#include <stdint.h>
#include <stdlib.h>

#include "k8s/kind.h"
#include "k8s/schema.h"
#include "k8s/yaml_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n;
	const struct k8s_kind *rows = k8s_kinds(&n);
	struct err e = ERR_INIT;
	json_t *obj = NULL, *notes = json_array();
	if (size < 1) {
		json_decref(notes);
		return 0;
	}
	const struct k8s_kind *k = &rows[data[0] % n];
	k8s_json_duplicates((const char *)data + 1, size - 1, notes);
	if (k8s_yaml_parse((const char *)data + 1, size - 1, &obj, &e) == 0 && k8s_decode(k, obj, notes, &e) == 0) {
		struct k8s_errors *errors = k8s_errors_new();
		json_t *list = json_array();
		const struct k8s_kind *stored = k8s_kind_stored(k);
		k8s_kind_convert(k, stored, obj);
		if (stored->set_defaults)
			stored->set_defaults(obj);
		if (stored->prepare_create)
			stored->prepare_create(obj);
		k8s_validate(stored, obj, NULL, errors);
		k8s_validate(stored, obj, obj, errors);
		json_decref(k8s_errors_status(errors, stored, "x"));
		json_array_append(list, obj);
		json_decref(k8s_table(stored, list, NULL, NULL, NULL));
		json_decref(list);
		k8s_errors_free(errors);
	}
	json_decref(obj);
	json_decref(notes);
	return 0;
}
