// SPDX-License-Identifier: Apache-2.0
// Rates from counters: which readings make one, and counters that go back or leap.
#include "cpu_rates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"

#define START (5000 * NS_PER_S)

static struct cpu_rates *rates;

static int fresh(void **state) { (void)state; rates = cpu_rates_new(); return !rates; }
static int done(void **state) { (void)state; cpu_rates_free(rates); return 0; }

/* The rate after a reading, -1: none. */
static int64_t at(const char *key, uint64_t ms, uint64_t usage_ns)
{
	int64_t n = -2;
	bool some = cpu_rates_add(rates, key, usage_ns, START + ms * NS_PER_MS, &n);
	assert_true(some ? n >= 0 : n == -2);                 // written only if there is one
	return some ? n : -1;
}

static void between_readings(void **state)
{
	(void)state;
	assert_int_equal(at("a", 0, 1000), -1);
	assert_int_equal(at("a", 2000, 1000 + NS_PER_S), 500000000);      // one second in two
	assert_int_equal(at("a", 2500, 1000 + 9 * NS_PER_S), 500000000);  // too soon for another
	assert_int_equal(at("a", 4000, 1000 + 9 * NS_PER_S), 4000000000); // since the second
	assert_int_equal(at("a", 5000, 1000 + 9 * NS_PER_S), 0);
	assert_int_equal(at("b", 5000, 7), -1);               // its own
	assert_int_equal(at("b", 5999, 7), -1);
}

static void gaps(void **state)
{
	(void)state;
	assert_int_equal(at("a", 0, 0), -1);
	assert_int_equal(at("a", 300000, 30 * NS_PER_S), 100000000);
	assert_int_equal(at("a", 600001, 60 * NS_PER_S), -1);             // nobody has asked for too long
	assert_int_equal(at("a", 600500, 60 * NS_PER_S), -1);
	assert_int_equal(at("a", 601001, 61 * NS_PER_S), 1000000000);
}

static void counters_that_lie(void **state)
{
	(void)state;
	assert_int_equal(at("a", 0, 1000), -1);
	assert_int_equal(at("a", 1000, 10), -1);              // it began anew
	assert_int_equal(at("a", 2000, UINT64_MAX), INT64_MAX);
	assert_int_equal(at("a", 3000, 0), -1);
}

static void forgotten(void **state)
{
	(void)state;
	char key[16];
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "c%d", i);
		assert_int_equal(at(key, 0, 0), -1);
	}
	assert_int_equal(at("c7", 200000, 0), 0);
	cpu_rates_forget(rates, START + 300001 * NS_PER_MS);
	assert_int_equal(at("c7", 300001, NS_PER_S), 9999900);            // it was read meanwhile
	assert_int_equal(at("c8", 1000, 0), -1);              // with it there would be one
}

static void no_memory(void **state)
{
	(void)state;
	int64_t n;
	assert_false(cpu_rates_add(NULL, "a", 0, START, &n));
	cpu_rates_forget(NULL, START);
	cpu_rates_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(between_readings, fresh, done), cmocka_unit_test_setup_teardown(gaps, fresh, done),
		cmocka_unit_test_setup_teardown(counters_that_lie, fresh, done), cmocka_unit_test_setup_teardown(forgotten, fresh, done),
		cmocka_unit_test(no_memory)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
