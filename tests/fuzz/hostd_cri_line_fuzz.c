// SPDX-License-Identifier: Apache-2.0
// Lines of a CRI log.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "hostd/cri_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cri_line l;
	char *line = malloc(size ? size : 1);
	memcpy(line, data, size);
	if (!cri_line_parse(line, size, &l)) {
		assert(l.text >= line && l.text + l.text_len == line + size);
		assert(l.stream == CRI_STDOUT || l.stream == CRI_STDERR);
	}
	free(line);
	return 0;
}
