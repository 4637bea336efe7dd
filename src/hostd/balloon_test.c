// SPDX-License-Identifier: Apache-2.0
// What guests are asked to do without, look by look.
#include "balloon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MIB (1ull << 20)

/* As often as it takes until nothing changes, with a guest that gives at most so much. Returns what it has given. */
static uint64_t settle(struct balloon_guest *g, bool pressed, uint64_t gives, int *looks)
{
	for (*looks = 0; *looks < 100; ++*looks) {
		uint64_t next = balloon_next(g, pressed), has = next < gives ? next : gives;
		if (next == g->asked_bytes && has == g->ballooned_bytes)
			break;
		g->asked_bytes = next;
		g->ballooned_bytes = has;
	}
	return g->ballooned_bytes;
}

static void by_shares_and_reservation(void **state)
{
	(void)state;
	int looks;
	struct balloon_guest best = {.memory_bytes = 608 * MIB, .shares = 50};
	struct balloon_guest burst = {.memory_bytes = 608 * MIB, .shares = 100, .reserve_bytes = 208 * MIB};
	struct balloon_guest sure = {.memory_bytes = 608 * MIB, .shares = 200, .reserve_bytes = 608 * MIB};
	assert_int_equal(settle(&best, true, UINT64_MAX, &looks), 228 * MIB);      // 3/8 of 608
	assert_in_range(looks, 5, 8);                                               // not all at once
	assert_int_equal(settle(&burst, true, UINT64_MAX, &looks), 75 * MIB);      // 3/16 of 400
	assert_int_equal(settle(&sure, true, UINT64_MAX, &looks), 0);
	best.reserve_bytes = 1000 * MIB;                                            // more than there is
	assert_int_equal(settle(&best, true, UINT64_MAX, &looks), 0);
}

static void given_back(void **state)
{
	(void)state;
	int looks;
	struct balloon_guest g = {.memory_bytes = 1024 * MIB, .shares = 50};
	settle(&g, true, UINT64_MAX, &looks);
	assert_int_equal(g.ballooned_bytes, 384 * MIB);
	assert_int_equal(settle(&g, false, UINT64_MAX, &looks), 0);
	assert_in_range(looks, 3, 5);
	/* Another hostd does not know what was asked for. */
	g.ballooned_bytes = 300 * MIB;
	assert_int_equal(balloon_next(&g, false), 172 * MIB);
	assert_int_equal(balloon_next(&g, true), 364 * MIB);
}

static void who_has_no_more_is_not_asked(void **state)
{
	(void)state;
	int looks;
	struct balloon_guest g = {.memory_bytes = 1024 * MIB, .shares = 50};
	settle(&g, true, 100 * MIB, &looks);
	assert_int_equal(g.ballooned_bytes, 100 * MIB);
	assert_true(g.asked_bytes <= (100 + 2 * 64) * MIB);
	assert_true(looks < 10);
	g = (struct balloon_guest){.memory_bytes = 1024 * MIB};                     // shares are never 0, but nothing divides by them
	assert_int_equal(balloon_next(&g, true), 0);
	g = (struct balloon_guest){.shares = 1};
	assert_int_equal(balloon_next(&g, true), 0);
	g = (struct balloon_guest){.memory_bytes = 1024 * MIB, .shares = 1};
	assert_int_equal(settle(&g, true, UINT64_MAX, &looks), 512 * MIB);          // vmx refuses more than three quarters
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_shares_and_reservation),
		cmocka_unit_test(given_back),
		cmocka_unit_test(who_has_no_more_is_not_asked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
