// SPDX-License-Identifier: Apache-2.0
#include "server/metrics_memory.h"

#include <stdio.h>

#include "base/jpath.h"

static const struct { const char *said, *annotation; } kinds[METRICS_MEMORY_KINDS] = {
	{ "bulkheadMemory.residentBytes", "bulkhead.dev/resident" },
	{ "bulkheadMemory.sharedBytes", "bulkhead.dev/shared" },
	{ "bulkheadMemory.compressedBytes", "bulkhead.dev/compressed" },
	{ "bulkheadMemory.balloonedBytes", "bulkhead.dev/ballooned" },
};

void metrics_memory_add(struct metrics_memory *m, const json_t *pod)
{
	if (!jpath_get(pod, "bulkheadMemory"))
		return;
	m->said = true;
	for (size_t i = 0; i < METRICS_MEMORY_KINDS; i++) {
		long long bytes = jpath_int(pod, kinds[i].said, 0);
		if (bytes > 0 && bytes < 1ll << 50)
			m->bytes[i] += bytes;
	}
}

json_t *metrics_memory_annotations(const struct metrics_memory *m)
{
	json_t *out = m->said ? json_object() : NULL;

	for (size_t i = 0; out && i < METRICS_MEMORY_KINDS; i++) {
		char text[32];
		snprintf(text, sizeof text, "%lldKi", m->bytes[i] >> 10);
		json_object_set_new(out, kinds[i].annotation, json_string(text));
	}
	return out;
}
