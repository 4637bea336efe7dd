// SPDX-License-Identifier: Apache-2.0
// A set of counters per thread, linked for readers. A thread's set outlives it: sums never go down.
#include "disk/counters.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct set {
	struct set *next;
	_Atomic uint64_t ops[BH_DISK_OPS], bytes[BH_DISK_OPS], errors;
};

static _Atomic(struct set *) sets;
static __thread struct set *mine;

static struct set *set_new(void)
{
	struct set *s = calloc(1, sizeof(*s));

	if (!s) return NULL;
	s->next = atomic_load(&sets);
	while (!atomic_compare_exchange_weak(&sets, &s->next, s)) continue;
	return mine = s;
}

static void add(_Atomic uint64_t *c, uint64_t n)   // only this thread writes
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

void counters_done(const struct bh_disk_io *io, int result)
{
	struct set *s = mine ? mine : set_new();

	if (!s || io->op >= BH_DISK_OPS) return;
	add(&s->ops[io->op], 1);
	add(&s->bytes[io->op], io->len);
	if (result < 0) add(&s->errors, 1);
}

void bh_disk_counters(struct bh_disk_counters *out)
{
	*out = (struct bh_disk_counters){ .errors = 0 };
	for (struct set *s = atomic_load(&sets); s; s = s->next) {
		for (int op = 0; op < BH_DISK_OPS; op++) {
			out->ops[op] += atomic_load_explicit(&s->ops[op], memory_order_relaxed);
			out->bytes[op] += atomic_load_explicit(&s->bytes[op], memory_order_relaxed);
		}
		out->errors += atomic_load_explicit(&s->errors, memory_order_relaxed);
	}
}
