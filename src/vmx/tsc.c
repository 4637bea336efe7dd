// SPDX-License-Identifier: Apache-2.0
// The frequency of the time stamp counter; see tsc.h.
#include "tsc.h"

#include <time.h>

#include "base/clock.h"

#define WINDOW_NS (3 * NS_PER_MS)

static uint64_t raw_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

#ifdef __x86_64__
static uint64_t counter(void) { return __builtin_ia32_rdtsc(); }
#else
static uint64_t counter(void) { return 0; }
#endif

// The reading that took least time between two looks at the counter was not interrupted.
void tsc_mark(struct tsc_mark *m)
{
	uint64_t best = UINT64_MAX;
	for (int i = 0; i < 8; i++) {
		uint64_t before = counter(), ns = raw_ns(), after = counter();
		if (after - before >= best)
			continue;
		best = after - before;
		*m = (struct tsc_mark){.tsc = before + best / 2, .ns = ns};
	}
}

uint64_t tsc_khz_since(const struct tsc_mark *m)
{
	struct tsc_mark now;
	uint64_t age = raw_ns() - m->ns;
	if (age < WINDOW_NS) {
		struct timespec t = {.tv_nsec = (long)(WINDOW_NS - age)};
		nanosleep(&t, NULL);
	}
	tsc_mark(&now);
	return (uint64_t)((__uint128_t)(now.tsc - m->tsc) * 1000000 / (now.ns - m->ns));
}
