// SPDX-License-Identifier: Apache-2.0
// Descriptors: any bytes give a descriptor or a sentence; what is accepted survives being written and read again.
#include <stdlib.h>
#include <string.h>

#include "disk/descriptor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct descriptor *d, *again;
	struct err e = ERR_INIT;
	char *text;

	if (descriptor_parse((const char *)data, size, "/x/fuzz.bhd", &d, &e) < 0) {
		if (!e.text[0]) abort();
		return 0;
	}
	text = descriptor_text(d);
	if (!text || descriptor_parse(text, strlen(text), "/x/fuzz.bhd", &again, &e) < 0) abort();
	if (again->size != d->size || again->nfilters != d->nfilters || strcmp(again->id, d->id)) abort();
	free(text);
	descriptor_free(again);
	descriptor_free(d);
	return 0;
}
