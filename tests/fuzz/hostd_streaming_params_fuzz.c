// SPDX-License-Identifier: Apache-2.0
// Query parameters: NAME NUL VALUE NUL NAME ...
#include <stdlib.h>
#include <string.h>

#include "hostd/streaming_params.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct streaming_params p;
	struct err e = ERR_INIT;
	char *text = malloc(size + 2);
	memcpy(text, data, size);
	text[size] = text[size + 1] = '\0';
	streaming_params_init(&p);
	for (char *name = text; name < text + size;) {
		char *value = name + strlen(name) + 1;
		if (value > text + size)
			break;
		streaming_params_add(&p, name, value, &e);
		name = value + strlen(value) + 1;
	}
	streaming_params_check_exec(&p, &e);
	streaming_params_check_log(&p, &e);
	streaming_params_fini(&p);
	free(text);
	return 0;
}
