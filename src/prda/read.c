// SPDX-License-Identifier: Apache-2.0
// Reading variables from any CPU, through their plain addresses.
#include "region.h"

uint64_t prda_sum_(uintptr_t a)
{
	uint64_t sum = 0;
	prda_for_each_slot(slot, prda_region_of(a))
		sum += __atomic_load_n((uint64_t *)prda_at_(a, slot), __ATOMIC_ACQUIRE);
	return sum;
}

bool prda_drain(prda_ring ring, uint32_t slot, uint64_t *v)
{
	struct prda_ring_ *p = prda_at(ring, slot);
	uint64_t head = p->head;
	if (__atomic_load_n(&p->tail, __ATOMIC_ACQUIRE) == head)
		return false;
	*v = p->slot[head & p->mask];
	__atomic_store_n(&p->head, head + 1, __ATOMIC_RELEASE);
	PRDA_TSAN_OUT_(ring.alias_);
	return true;
}

size_t prda_peek(prda_buffer buffer, uint32_t slot, const void **data)
{
	struct prda_buffer_ *p = prda_at(buffer, slot);
	*data = p->data;
	return __atomic_load_n(&p->used, __ATOMIC_ACQUIRE);
}

void prda_slot_stats(const struct prda_region *r, uint32_t slot, struct prda_stats *s)
{
	const struct prda_area *area = prda_area(r, slot);
	*s = (struct prda_stats){
		.restarts = __atomic_load_n(&area->restarts, __ATOMIC_RELAXED),
		.locked = __atomic_load_n(&area->locked, __ATOMIC_RELAXED),
		.takeovers = __atomic_load_n(&area->takeovers, __ATOMIC_RELAXED),
		.delayed = __atomic_load_n(&area->delayed, __ATOMIC_RELAXED),
		.yields = __atomic_load_n(&area->yields, __ATOMIC_RELAXED),
	};
}

void prda_region_stats(const struct prda_region *r, struct prda_stats *s)
{
	struct prda_stats all = { 0 };
	prda_for_each_slot(slot, r) {
		struct prda_stats one;
		prda_slot_stats(r, slot, &one);
		all.restarts += one.restarts;
		all.locked += one.locked;
		all.takeovers += one.takeovers;
		all.delayed += one.delayed;
		all.yields += one.yields;
	}
	*s = all;
}
