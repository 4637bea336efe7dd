// SPDX-License-Identifier: Apache-2.0
// What names and labels of metrics look like; checked when they are made, and again when they are read, because other
// processes wrote them.
#ifndef BH_METRICS_NAME_H
#define BH_METRICS_NAME_H

#include <stdbool.h>
#include <stdint.h>

bool metrics_name_good(const char *name);       // [a-zA-Z_:][a-zA-Z0-9_:]*

/* "" or key="value",...; in values \\, \" and \n, no control characters; no key twice, nor those that readers add. */
bool metrics_labels_good(const char *labels);

/* Who counts, as the name of the link says it. */
struct metrics_source {
	char program[32];
	char vm[160];                           // "namespace/pod", or ""
	uint32_t pid;
};
#define METRICS_FILE_MAX 224

/* The name of the link; -EINVAL when program or vm cannot be in one. */
int metrics_source_write(const struct metrics_source *s, char file[METRICS_FILE_MAX]);
bool metrics_source_read(const char *file, struct metrics_source *s);

#endif
