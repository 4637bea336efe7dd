// SPDX-License-Identifier: Apache-2.0
// prda_append beside librseq's own way of appending a record (rseq_load_cbne_memcpy_store__ptr), in turns. librseq is no
// package of Debian's, so this is not part of the build: bench/prda-librseq DIR, with its sources in DIR.
#include <rseq/rseq.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bulkhead/prda.h"

enum { RECORD = 64, SIZE = 4096, ROUNDS = 200, TIMES = 20000 };

/* As in librseq's own tests: an offset, and what it is the end of. */
struct area { intptr_t used; char data[SIZE]; } __attribute__((aligned(128)));

static struct area *areas;
static prda_buffer ours;
static char record[RECORD] __attribute__((aligned(64)));

#define INLINE static inline __attribute__((always_inline))

INLINE void append_librseq(void)
{
	for (;;) {
		int cpu = (int)rseq_cpu_start();
		struct area *a = &areas[cpu];
		intptr_t used = a->used;
		if (used + RECORD > SIZE) {
			a->used = 0;
			continue;
		}
		if (!rseq_load_cbne_memcpy_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, &a->used, used, a->data + used, record, RECORD,
						      used + RECORD, cpu))
			return;
	}
}

INLINE void append_ours(void)
{
	if (!prda_append(ours, record, RECORD))
		prda_store(prda_member(prda_u64, ours, used), 0);
}

/* As in prda.c: four in a row, so that little depends on where the loop lies. */
#define LOOP(name, op) static __attribute__((noinline, aligned(64))) void name(void) \
	{ for (int i = 0; i < TIMES; i += 4) { op(); op(); op(); op(); } }
LOOP(many_librseq, append_librseq)
LOOP(many_ours, append_ours)

static double once(void (*many)(void))
{
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	many();
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / TIMES;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(void)
{
	static double theirs[ROUNDS], mine[ROUNDS];
	struct prda_region *region;

	areas = aligned_alloc(128, sizeof *areas * (size_t)rseq_get_max_nr_cpus());
	if (!areas || !rseq_available(RSEQ_AVAILABLE_QUERY_KERNEL) || prda_region_new(NULL, &region, NULL) ||
	    prda_buffer_alloc(region, &ours, SIZE, NULL, NULL)) {
		fprintf(stderr, "prda-librseq: no rseq, or no memory\n");
		return 1;
	}
	memset(areas, 0, sizeof *areas * (size_t)rseq_get_max_nr_cpus());
	for (int i = 0; i < ROUNDS; i++) {
		theirs[i] = once(many_librseq);
		mine[i] = once(many_ours);
	}
	qsort(theirs, ROUNDS, sizeof *theirs, by_value);
	qsort(mine, ROUNDS, sizeof *mine, by_value);
	printf("append of %d bytes, ns, lower decile of %d rounds: librseq %.2f, prda_append %.2f (%.1f times)\n", RECORD, ROUNDS,
	       theirs[ROUNDS / 10], mine[ROUNDS / 10], theirs[ROUNDS / 10] / mine[ROUNDS / 10]);
	return 0;
}
