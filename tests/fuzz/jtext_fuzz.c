// SPDX-License-Identifier: Apache-2.0
// Values inside JSON text: any bytes are looked through safely; in what a JSON library wrote, what is found is what the
// library finds; and what is written of a value is what the library writes.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/jtext.h"
#include "base/jwrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const paths[] = { "a", "a.b", "spec.nodeName", "metadata.labels", "" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *whole = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	char *text = whole ? json_dumps(whole, JSON_COMPACT) : NULL;
	struct buf written = BUF_INIT;

	if (whole && (jwrite(&written, whole) || strcmp(written.data, text)))
		abort();
	buf_fini(&written);
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		const char *value;
		size_t len;
		if (jtext_find((const char *)data, size, paths[i], &value, &len) &&
		    (value < (const char *)data || value + len > (const char *)data + size))
			abort();
		if (!text || !*paths[i])
			continue;
		json_t *found = jtext_get(text, strlen(text), paths[i]);
		if (!json_is_null(found) && (found ? !json_equal(found, jpath_get(whole, paths[i])) : !!jpath_get(whole, paths[i])))
			abort();
		json_decref(found);
	}
	free(text);
	json_decref(whole);
	return 0;
}
