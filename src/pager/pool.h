// SPDX-License-Identifier: Apache-2.0
// A pool of numbered items (frame records, slots of the compressed store) that all processors take from and give to
// without a lock: a stack on each processor, and behind them a stack of batches of up to POOL_BATCH items.
// Item 0 does not exist. Items that are free hold two 32-bit links; their memory is never unmapped while the pool lives.
//
// The stack of batches is one word {tag, first item of the first batch}. A batch's items are chained by link 0; link 1
// of its first item is the next batch. Popping reads link 1 of an item that another processor may have popped already:
// the tag, changed by each push and pop, makes the compare-and-swap fail then.
#ifndef BH_PAGER_POOL_H
#define BH_PAGER_POOL_H

#include <stdint.h>

#include "bulkhead/prda.h"

#define POOL_BATCH 32u

struct pool {
	_Atomic uint64_t batches;
	unsigned char *base;         // item n's links are at base + n * stride + link_at
	uint32_t stride, link_at;
	uint32_t step;               // between the numbers of a run's items
	/* A run of items never used before: *first and how many, or 0: no more. Any thread. */
	uint32_t (*grow)(void *user, uint32_t *first);
	void *user;
	prda_cache local;
	prda_u64 used;               // taken minus given; sums to the number in use
};

int pool_init(struct pool *p, struct prda_region *r, struct err *e);   // the other members are set by the caller
void pool_fini(struct pool *p);

uint32_t pool_take(struct pool *p, uint64_t *out, uint32_t n);          // up to n; returns how many
void pool_give(struct pool *p, const uint64_t *in, uint32_t n);
void pool_seed(struct pool *p, const uint64_t *in, uint32_t n);         // give what was never taken
uint64_t pool_used(const struct pool *p);

#endif
