// SPDX-License-Identifier: Apache-2.0
// What guests are asked to do without while the host is short of memory: their own kernels choose what they miss least (free memory,
// then caches of files), before pagerd has to compress what it knows only from outside.
#ifndef BH_HOSTD_BALLOON_H
#define BH_HOSTD_BALLOON_H

#include <stdbool.h>
#include <stdint.h>

struct balloon_guest {
	uint64_t memory_bytes, reserve_bytes;      // all of it; what stays its own
	unsigned shares;
	uint64_t asked_bytes, ballooned_bytes;     // what it was last asked for, and has given
};

/* What to ask it for next. Pressed: a sixteenth of its memory more each time, as long as it follows, and at most three eighths of what is
 * not reserved for a guest of 50 shares; twice the shares give half as much. Not pressed: it gets an eighth back each time. */
uint64_t balloon_next(const struct balloon_guest *g, bool pressed);

#endif
