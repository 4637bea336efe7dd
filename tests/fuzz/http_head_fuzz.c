// SPDX-License-Identifier: Apache-2.0
// The head of a node's answer.
#include <stdint.h>
#include <stdlib.h>

#include "server/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_head h;
	ssize_t n = http_head_parse((const char *)data, size, &h);

	if (n > 0) {
		if ((size_t)n > size || h.code < 100 || h.code > 999)
			abort();
		http_head_get(&h, "Upgrade");
		http_head_fini(&h);
	}
	return 0;
}
