// SPDX-License-Identifier: Apache-2.0
// The sections of another architecture, run by qemu's user mode, which has no rseq: first in locked form, as the library
// chooses there; then straight, with a CPU number written where the kernel would have put it. What cannot be tested so is
// being interrupted. Stands alone: no cmocka for that architecture.
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bulkhead/prda.h"

static int number;

static void check(bool good, const char *what)
{
	number++;
	if (good) {
		printf("ok %d - %s\n", number, what);
	} else {
		printf("not ok %d - %s\n", number, what);
		exit(1);
	}
}

static void words(struct prda_region *r)
{
	prda_u64 n;
	check(prda_alloc(r, &n, "n", NULL) == 0, "allocate");
	prda_add(n, 5);
	prda_add(n, -2);
	check(prda_sum(n) == 3 && prda_load(n) == 3, "add, load");
	prda_store(n, 1ull << 40);
	check(prda_exchange(n, 7) == 1ull << 40, "store, exchange");
	check(!prda_compare_store(n, 8, 9) && prda_load(n) == 7, "compare, different");
	check(prda_compare_store(n, 7, 9) && prda_load(n) == 9, "compare, store");
	uint64_t v;
	PRDA_SECTION(n,
		"ldr %[v], [%[t]]\n\t"
		"add %[v], %[v], %[v], lsl #1\n\t"
		"stlr %[v], [%[t]]",
		([v] "=&r"(v)), (), __atomic_store_n(here, *here * 3, __ATOMIC_RELEASE));
	check(prda_load(n) == 27, "own section");
	prda_free(n);
}

static void lists(struct prda_region *r)
{
	prda_list list;
	prda_ring ring;
	struct prda_node node[3];
	uint64_t v = 0;
	check(prda_alloc(r, &list, NULL, NULL) == 0 && prda_ring_alloc(r, &ring, 4, NULL, NULL) == 0, "allocate list, ring");
	check(prda_pop(list) == NULL, "pop, empty");
	for (int i = 0; i < 3; i++)
		prda_push(list, &node[i]);
	check(prda_pop(list) == &node[2] && prda_pop(list) == &node[1] && prda_pop_all(list) == &node[0], "pop");
	check(!prda_get(ring, &v), "ring empty");
	for (uint64_t i = 0; i < 40; i++)
		check(prda_put(ring, i) && prda_put(ring, i + 100) && prda_get(ring, &v) && v == i && prda_get(ring, &v)
			&& v == i + 100, "ring");
	for (uint64_t i = 0; i < 4; i++)
		check(prda_put(ring, i), "ring fills");
	check(!prda_put(ring, 4), "ring full");
}

static void arrays(struct prda_region *r)
{
	prda_buffer buffer;
	prda_cache cache;
	unsigned char in[300], out[1000];
	uint64_t items[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, got[8];
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char)(i * 7 + 1);
	check(prda_buffer_alloc(r, &buffer, 1000, NULL, NULL) == 0 && prda_cache_alloc(r, &cache, 6, NULL, NULL) == 0,
		"allocate buffer, cache");
	for (size_t len = 0; len <= sizeof(in); len++) {
		bool good = prda_append(buffer, in, len) && prda_append(buffer, in, 64);
		good = good && prda_flush(buffer, out, sizeof(out)) == (ssize_t)len + 64;
		check(good && !memcmp(out, in, len) && !memcmp(out + len, in, 64), "append and flush");
	}
	check(prda_append(buffer, out, 1000) && !prda_append(buffer, in, 1), "buffer full");
	check(prda_flush(buffer, out, 999) == -ENOSPC, "flush, too small");
	check(prda_give(cache, items, 8) == 6 && prda_take(cache, got, 2) == 2 && got[0] == 5 && got[1] == 6, "cache");
	check(prda_take(cache, got, 8) == 4 && !memcmp(got, items, 32) && prda_take(cache, got, 1) == 0, "cache empties");
}

int main(void)
{
	struct prda_region *locked, *straight;
	cpu_set_t here;
	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	sched_setaffinity(0, sizeof(here), &here);   // what one line appends, the next flushes: on one CPU
	check(!prda_have_rseq(), "no rseq here");
	check(prda_region_new(NULL, &locked, NULL) == 0, "region");
	words(locked);
	lists(locked);
	arrays(locked);
	struct prda_stats s;
	prda_region_stats(locked, &s);
	check(s.locked > 0, "locked form was used");

	((struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset))->cpu_id = 0;
	check(prda_have_rseq(), "rseq pretended");
	check(prda_region_new(NULL, &straight, NULL) == 0, "region");
	words(straight);
	lists(straight);
	arrays(straight);
	prda_region_stats(straight, &s);
	check(s.locked == 0 && s.restarts == 0, "sections were used");
	printf("1..%d\n", number);
	return 0;
}
