// SPDX-License-Identifier: Apache-2.0
#include "spin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

struct looks { unsigned n, from; long rest_ns; };

/* True from the given look on; resting stands for another thread that has the processor. */
static bool look(void *arg)
{
	struct looks *l = arg;
	struct timespec t = {.tv_nsec = l->rest_ns};
	if (l->rest_ns)
		nanosleep(&t, NULL);
	return ++l->n >= l->from;
}

static void test_found(void **state)
{
	(void)state;
	struct spin s = {0};
	for (int i = 0; i < 3; i++) {
		struct looks l = {.from = 3};
		assert_true(spin_for(&s, 1000000000, look, &l));
		assert_int_equal(l.n, 3);
	}
}

/* Each miss in a row halves how often it is tried; one hit makes it as often as at first. */
static void test_less_and_less(void **state)
{
	(void)state;
	struct spin s = {0};
	unsigned tried = 0;
	for (unsigned i = 0; i < 8 + 255 + 256 * 3; i++) {
		struct looks l = {.from = UINT32_MAX};
		assert_false(spin_for(&s, 1, look, &l));
		tried += l.n > 0;
	}
	assert_in_range(tried, 10, 12);
	struct looks l = {.from = 1};
	unsigned waits = 0;
	for (; !spin_for(&s, 1000000000, look, &l); waits++)
		assert_in_range(waits, 0, 256);
	l = (struct looks){.from = 1};
	assert_true(spin_for(&s, 1000000000, look, &l));
}

static void test_others_want_the_processor(void **state)
{
	(void)state;
	struct spin s = {0};
	struct looks l = {.from = UINT32_MAX, .rest_ns = 200000};
	assert_false(spin_for(&s, 1000000000, look, &l));
	assert_int_equal(l.n, 2);
	for (int i = 0; i < 255; i++)
		assert_false(spin_for(&s, 1000000000, look, &l));
	assert_int_equal(l.n, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found), cmocka_unit_test(test_less_and_less), cmocka_unit_test(test_others_want_the_processor),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
