// SPDX-License-Identifier: Apache-2.0
// The body of a request: JSON, YAML or protobuf, and which fields it has twice. The first byte chooses the type.
#include <stdint.h>
#include <stdlib.h>

#include "server/negotiate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const types[] = { NULL, "application/json; charset=utf-8", "application/yaml", "application/vnd.kubernetes.protobuf",
					     "application/merge-patch+json", "application/json-patch+json", "text/plain", "" };
	const char *type, *body = (const char *)data + 1;
	json_t *parsed = NULL, *status, *notes = NULL;

	if (!size)
		return 0;
	type = types[data[0] % 8];
	status = body_parse(type, body, size - 1, &parsed, &notes);
	if (!status == !parsed)
		abort();   // one or the other
	if (notes && (status || !json_array_size(notes)))
		abort();
	json_decref(notes);
	json_decref(status);
	json_decref(parsed);
	return 0;
}
