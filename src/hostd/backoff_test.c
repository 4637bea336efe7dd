// SPDX-License-Identifier: Apache-2.0
// The steps of the back-off, when they are forgotten, and clocks that lie.
#include "backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"

#define START (1800000000 * NS_PER_S)

static const uint64_t steps_s[] = {10, 20, 40, 80, 160, 300, 300, 300};
#define STEPS (sizeof(steps_s) / sizeof(steps_s[0]))

static void doubles(void **state)
{
	(void)state;
	struct backoff b = {0};
	uint64_t now = START;
	assert_int_equal(backoff_wait_ns(&b, now, now), 0);   // the first time at once
	for (size_t i = 0; i < STEPS; i++) {
		backoff_step(&b, now, now);
		now += NS_PER_S;
		assert_int_equal(backoff_wait_ns(&b, now, now), steps_s[i] * NS_PER_S);
		assert_int_equal(backoff_wait_ns(&b, now, now + steps_s[i] * NS_PER_S - 1), 1);
		assert_int_equal(backoff_wait_ns(&b, now, now + steps_s[i] * NS_PER_S), 0);
		now += steps_s[i] * NS_PER_S;
	}
}

static void forgets(void **state)
{
	(void)state;
	struct backoff b = {.delay_ns = 160 * NS_PER_S, .since_ns = START}, again = b;
	uint64_t end = START + 600 * NS_PER_S;
	assert_int_equal(backoff_wait_ns(&b, end, end), 160 * NS_PER_S);   // ten minutes are not longer than ten minutes
	assert_int_equal(backoff_wait_ns(&b, end + 1, end + 1), 0);
	backoff_step(&b, end, end);
	assert_int_equal(b.delay_ns, 300 * NS_PER_S);
	backoff_step(&again, end + 1, end + 1);
	assert_int_equal(again.delay_ns, 10 * NS_PER_S);
}

/* An end of tomorrow, of the year 1970 or 2500; a host whose clock was set back. */
static void clocks_that_lie(void **state)
{
	(void)state;
	struct backoff b = {.delay_ns = 40 * NS_PER_S, .since_ns = START};
	uint64_t now = START + NS_PER_S;
	assert_int_equal(backoff_wait_ns(&b, now + 86400 * NS_PER_S, now), 40 * NS_PER_S);
	assert_int_equal(backoff_wait_ns(&b, UINT64_MAX, now), 40 * NS_PER_S);
	assert_int_equal(backoff_wait_ns(&b, 0, now), 0);
	assert_int_equal(backoff_wait_ns(&b, now, START - 3600 * NS_PER_S), 40 * NS_PER_S);
	backoff_step(&b, UINT64_MAX, now);                    // no ten good minutes by saying so
	assert_int_equal(b.delay_ns, 80 * NS_PER_S);
	b.delay_ns = UINT64_MAX;                              // a state file that somebody wrote
	backoff_step(&b, now, now);
	assert_int_equal(b.delay_ns, 300 * NS_PER_S);
}

static void written(void **state)
{
	(void)state;
	static const struct { uint64_t s; const char *text; } all[] = {{10, "10s"}, {40, "40s"}, {60, "1m0s"}, {80, "1m20s"}, {160, "2m40s"}, {300, "5m0s"}};
	char text[BACKOFF_TEXT_MAX];
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		assert_string_equal(backoff_text(all[i].s * NS_PER_S, text), all[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(doubles), cmocka_unit_test(forgets), cmocka_unit_test(clocks_that_lie),
					   cmocka_unit_test(written)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
