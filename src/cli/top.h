// SPDX-License-Identifier: Apache-2.0
// What `bulkhead top` has read, and how it shows that.
#ifndef BH_CLI_TOP_H
#define BH_CLI_TOP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prda/metrics_view.h"

/* One metric of one process. */
struct top_row {
	struct metrics_source source;
	struct prda_variable v;    // strings made printable
	uint64_t value, before;    // of a histogram: how many values
	uint64_t sum;              // of a histogram: of its values
	double rate;               // per second
	bool known;                // it was there the last time: before and rate are right
};

struct top_table {
	struct top_row *row;
	size_t n, cap;
	size_t regions, refused;
	const char *refusal;
	double seconds;            // since the last time; 0: this is the first
};

enum top_sort { TOP_BY_RATE, TOP_BY_NAME, TOP_BY_TOTAL };

void top_sort(struct top_table *t, enum top_sort by);
void top_print(const struct top_table *t, bool all);               // a line per metric; all: those that are 0, too
json_t *top_json(const struct top_table *t);                       // new reference
void top_draw(const struct top_table *t, const char *root, int lines, int columns);   // a screen: VMs, then metrics

#endif
