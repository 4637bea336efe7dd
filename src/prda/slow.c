// SPDX-License-Identifier: Apache-2.0
// Operations away from the straight path. In PRDA_DELAY regions: the same sections, with preemption held back. Else, and when sections cannot run at all: in C, under the lock of a slot. Like the sections, each ends in one store that
// publishes it (release: readers on other CPUs, and whoever takes the lock over, see what it publishes).
#include <string.h>

#include "delay.h"
#include "region.h"

#define GIVE_UP 1000   // restarts in a row

bool prda_have_rseq(void)
{
	const struct rseq *rs = (const struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
	return (int32_t)__atomic_load_n(&rs->cpu_id, __ATOMIC_RELAXED) >= 0;
}

void prda_count_at(uintptr_t a)
{
	while (prda_cs_add_(a, 1) == PRDA_AGAIN_)
		;
}

unsigned prda_restarted_(uintptr_t a, unsigned tries)
{
	prda_count(prda_region_of(a), restarts);
	return tries < GIVE_UP ? tries + 1 : 0;
}

bool prda_delayed_(uintptr_t a)
{
	return prda_region_of(a)->form == PRDA_DELAY && prda_have_rseq() && prda_delay_begin();
}

void prda_delayed_end_(uintptr_t a)
{
	struct prda_region *r = prda_region_of(a);
	prda_count(r, delayed);
	if (prda_delay_end())
		prda_count(r, yields);
}

/* alias: with its tag. section: uses a. locked: uses p, the plain address. */
#define SLOW(type, section, locked) do { \
		const uintptr_t a = alias & ~PRDA_TAG_; \
		const bool delayed = alias & PRDA_TAG_ && prda_delayed_(a); \
		enum prda_result_ result = why; \
		if (delayed || why == PRDA_AGAIN_) { \
			for (unsigned tries = 1; tries && result != PRDA_DONE_; ) { \
				if (result == PRDA_AGAIN_) \
					tries = prda_restarted_(a, tries); \
				result = (section); \
				if (result == PRDA_SLOW_) \
					break; \
			} \
			if (delayed) \
				prda_delayed_end_(a); \
			if (result == PRDA_DONE_) \
				break; \
		} \
		struct prda_hold_ hold; \
		type *p = prda_hold_take_(&hold, a); \
		locked; \
		prda_hold_drop_(&hold); \
	} while (0)

#ifdef PRDA_TEST_HOOKS
volatile int prda_hook[8];
static void point(int n)
{
	int v = __atomic_load_n(&prda_hook[n], __ATOMIC_RELAXED);
	for (volatile int i = 0; i < v; i++)
		;
	if (v < 0)
		sched_yield();
}
#else
#define point(n) ((void)0)
#endif

static void publish(uint64_t *where, uint64_t v)
{
	point(3);
	__atomic_store_n(where, v, __ATOMIC_RELEASE);
}

void prda_slow_add_(uintptr_t alias, uint64_t v, enum prda_result_ why)
{
	SLOW(uint64_t, prda_cs_add_(a, v), publish(p, *p + v));
}

uint64_t prda_slow_load_(uintptr_t alias, enum prda_result_ why)
{
	uint64_t v = 0;
	SLOW(uint64_t, prda_cs_load_(a, &v), v = *p);
	return v;
}

void prda_slow_store_(uintptr_t alias, uint64_t v, enum prda_result_ why)
{
	SLOW(uint64_t, prda_cs_store_(a, v), publish(p, v));
}

uint64_t prda_slow_exchange_(uintptr_t alias, uint64_t v, enum prda_result_ why)
{
	uint64_t old = 0;
	SLOW(uint64_t, prda_cs_exchange_(a, v, &old), old = *p; publish(p, v));
	return old;
}

uint64_t prda_slow_compare_store_(uintptr_t alias, uint64_t expected, uint64_t v, enum prda_result_ why)
{
	uint64_t old = 0;
	SLOW(uint64_t, prda_cs_compare_store_(a, expected, v, &old),
		old = *p; if (old == expected) publish(p, v));
	return old;
}

void prda_slow_push_(uintptr_t alias, struct prda_node *node, enum prda_result_ why)
{
	SLOW(struct prda_list_, prda_cs_push_(a, node),
		node->next = p->head; point(2); publish((uint64_t *)&p->head, (uintptr_t)node));
}

struct prda_node *prda_slow_pop_(uintptr_t alias, enum prda_result_ why)
{
	struct prda_node *node = NULL;
	SLOW(struct prda_list_, prda_cs_pop_(a, &node),
		node = p->head; point(2); if (node) publish((uint64_t *)&p->head, (uintptr_t)node->next));
	return node;
}

bool prda_slow_put_(uintptr_t alias, uint64_t v, enum prda_result_ why)
{
	uint64_t room = 0;
	SLOW(struct prda_ring_, prda_cs_put_(a, v, &room),
		room = p->mask + 1 - (p->tail - __atomic_load_n(&p->head, __ATOMIC_ACQUIRE));
		if (room) {
			p->slot[p->tail & p->mask] = v;
			point(2);
			publish(&p->tail, p->tail + 1);
		});
	return room != 0;
}

bool prda_slow_get_(uintptr_t alias, uint64_t *v, enum prda_result_ why)
{
	uint64_t used = 0;
	SLOW(struct prda_ring_, prda_cs_get_(a, v, &used),
		used = p->tail - p->head;
		if (used) {
			*v = p->slot[p->head & p->mask];
			point(2);
			publish(&p->head, p->head + 1);
		});
	return used != 0;
}

bool prda_slow_append_(uintptr_t alias, const void *record, size_t len, enum prda_result_ why)
{
	bool fits = false;
	SLOW(struct prda_buffer_, prda_cs_append_(a, record, len, &fits),
		fits = len <= p->size - p->used;
		if (fits) {
			memcpy(p->data + p->used, record, len);
			point(2);
			publish(&p->used, p->used + len);
		});
	return fits;
}

size_t prda_slow_flush_(uintptr_t alias, void *out, size_t cap, enum prda_result_ why)
{
	size_t got = SIZE_MAX;
	SLOW(struct prda_buffer_, prda_cs_flush_(a, out, cap, &got),
		got = SIZE_MAX;
		if (p->used <= cap) {
			got = p->used;
			memcpy(out, p->data, got);
			point(2);
			publish(&p->used, 0);
		});
	return got;
}

size_t prda_slow_take_(uintptr_t alias, uint64_t *out, size_t n, enum prda_result_ why)
{
	size_t got = 0;
	SLOW(struct prda_cache_, prda_cs_take_(a, out, n, &got),
		got = n < p->count ? n : p->count;
		if (got) {
			memcpy(out, p->item + p->count - got, got * sizeof(*out));
			point(2);
			publish(&p->count, p->count - got);
		});
	return got;
}

size_t prda_slow_give_(uintptr_t alias, const uint64_t *in, size_t n, enum prda_result_ why)
{
	size_t put = 0;
	SLOW(struct prda_cache_, prda_cs_give_(a, in, n, &put),
		put = n < p->size - p->count ? n : p->size - p->count;
		if (put) {
			memcpy(p->item + p->count, in, put * sizeof(*in));
			point(2);
			publish(&p->count, p->count + put);
		});
	return put;
}
