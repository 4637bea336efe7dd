// SPDX-License-Identifier: Apache-2.0
// How many pages the guests together have too many, and whether this host is short of memory.
#ifndef BH_PAGERD_PRESSURE_H
#define BH_PAGERD_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

struct pressure {
	uint64_t max_pages;          // 0: what the host has
	uint64_t last_ns;            // monotonic: when there were too many the last time, 0: never. Relaxed atomic
};

/* resident: pages of all guests. Returns how many of them should go; some more than must, so that it is not asked again
 * for each page. Notes the moment when there are any. */
uint64_t pressure_excess(struct pressure *p, uint64_t resident);

/* Memory was short a moment ago. Any thread. */
bool pressure_now(const struct pressure *p);

#endif
