// SPDX-License-Identifier: Apache-2.0
// A request's URL, and the Accept header (behind the first newline).
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/negotiate.h"
#include "server/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *header;
	struct route r;
	struct accept a;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	header = strchr(text, '\n');
	if (header)
		*header++ = '\0';
	if (!route_parse("GET", text, &r)) {
		if (r.is_resource && !*r.resource)
			abort();
		route_param(&r, "watch");
		route_fini(&r);
	}
	accept_parse(header, &a);
	accept_names(header, "application/json", "as=Table");
	free(text);
	return 0;
}
