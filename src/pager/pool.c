// SPDX-License-Identifier: Apache-2.0
#include "pool.h"

#include <stdatomic.h>

#include "pager_internal.h"

#define LOCAL_ITEMS (4 * POOL_BATCH)

static _Atomic uint32_t *link_of(const struct pool *p, uint32_t item, uint32_t which)
{
	return (_Atomic uint32_t *)(void *)(p->base + (uint64_t)item * p->stride + p->link_at) + which;
}

int pool_init(struct pool *p, struct prda_region *r, struct err *e)
{
	if (pager_fails())
		return err_set(e, ENOMEM, "no memory for per-processor lists");
	p->local = (prda_cache){0};
	p->used = (prda_u64){0};
	int rc = prda_cache_alloc(r, &p->local, LOCAL_ITEMS, NULL, e);
	if (!rc && (rc = prda_alloc(r, &p->used, NULL, e)))
		prda_free(p->local);
	return rc;
}

void pool_fini(struct pool *p)
{
	prda_free(p->local);
	prda_free(p->used);
}

static void batch_push(struct pool *p, const uint64_t *item, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		atomic_store_explicit(link_of(p, (uint32_t)item[i], 0), i + 1 < n ? (uint32_t)item[i + 1] : 0, memory_order_relaxed);
	uint64_t old = atomic_load_explicit(&p->batches, memory_order_relaxed), new;
	do {
		atomic_store_explicit(link_of(p, (uint32_t)item[0], 1), (uint32_t)old, memory_order_relaxed);
		new = ((old >> 32) + 1) << 32 | (uint32_t)item[0];
	} while (!atomic_compare_exchange_weak_explicit(&p->batches, &old, new, memory_order_release, memory_order_relaxed));
}

static uint32_t batch_pop(struct pool *p, uint64_t *item)
{
	uint64_t old = atomic_load_explicit(&p->batches, memory_order_acquire), new;
	do {
		if ((uint32_t)old == 0)
			return 0;
		uint32_t next = atomic_load_explicit(link_of(p, (uint32_t)old, 1), memory_order_relaxed);
		new = ((old >> 32) + 1) << 32 | next;
	} while (!atomic_compare_exchange_weak_explicit(&p->batches, &old, new, memory_order_acquire, memory_order_acquire));
	uint32_t n = 0;
	for (uint32_t i = (uint32_t)old; i && n < POOL_BATCH; i = atomic_load_explicit(link_of(p, i, 0), memory_order_relaxed))
		item[n++] = i;
	return n;
}

/* Put some items on this processor's stack, the rest where everybody finds them. */
static void stock(struct pool *p, const uint64_t *item, uint32_t n)
{
	uint32_t kept = (uint32_t)prda_give(p->local, item, n);
	for (; kept < n; kept += n - kept < POOL_BATCH ? n - kept : POOL_BATCH)
		batch_push(p, item + kept, n - kept < POOL_BATCH ? n - kept : POOL_BATCH);
}

static bool refill(struct pool *p)
{
	uint64_t item[POOL_BATCH];
	uint32_t n = batch_pop(p, item), first;
	if (n) {
		stock(p, item, n);
		return true;
	}
	n = p->grow(p->user, &first);
	for (uint32_t done = 0, k; done < n; done += k) {
		for (k = 0; k < POOL_BATCH && done + k < n; k++)
			item[k] = first + (uint64_t)(done + k) * p->step;
		stock(p, item, k);
	}
	return n > 0;
}

uint32_t pool_take(struct pool *p, uint64_t *out, uint32_t n)
{
	uint32_t got = 0;
	if (pager_fails())
		return 0;
	while ((got += (uint32_t)prda_take(p->local, out + got, n - got)) < n)
		if (!refill(p))
			break;
	prda_add(p->used, got);
	return got;
}

void pool_give(struct pool *p, const uint64_t *in, uint32_t n)
{
	uint32_t done = 0;
	prda_add(p->used, -(uint64_t)n);
	while ((done += (uint32_t)prda_give(p->local, in + done, n - done)) < n) {
		uint64_t item[POOL_BATCH];
		uint32_t k = (uint32_t)prda_take(p->local, item, POOL_BATCH);
		if (k)
			batch_push(p, item, k);
	}
}

void pool_seed(struct pool *p, const uint64_t *in, uint32_t n)
{
	prda_add(p->used, n);
	pool_give(p, in, n);
}

uint64_t pool_used(const struct pool *p)
{
	return prda_sum(p->used);
}
