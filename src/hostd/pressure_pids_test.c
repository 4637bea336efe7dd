// SPDX-License-Identifier: Apache-2.0
// When the host is short of process numbers.
#include "pressure_pids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void parsed(void **state)
{
	(void)state;
	struct pressure_pids p = {0};
	assert_true(pressure_pids_parse("0.20 0.18 0.12 1/80 11206\n", "4194304\n", "31000\n", &p));
	assert_int_equal(p.used, 80);
	assert_int_equal(p.most, 31000);                      // whichever is reached first
	assert_true(pressure_pids_parse("9.00 8.00 7.00 12/30999 5\n", "32768\n", "192730\n", &p));
	assert_int_equal(p.used, 30999);
	assert_int_equal(p.most, 32768);
	assert_false(pressure_pids_parse("0.20 0.18", "32768", "192730", &p));
	assert_false(pressure_pids_parse("0.20 0.18 0.12 1/80 11206", "", "192730", &p));
	assert_false(pressure_pids_parse("0.20 0.18 0.12 1/80 11206", "32768", "many", &p));
	assert_int_equal(p.used, 30999);
}

static void low(void **state)
{
	(void)state;
	struct pressure_pids p = {.used = 949, .most = 1000};
	assert_false(pressure_pids_low(&p, 5));
	p.used = 950;
	assert_false(pressure_pids_low(&p, 5));               // just what shall be left
	p.used = 951;
	assert_true(pressure_pids_low(&p, 5));
	assert_false(pressure_pids_low(&p, 0));
	p.used = 1001;                                        // the kernel counts its own threads, too
	assert_true(pressure_pids_low(&p, 5));
	assert_false(pressure_pids_low(&p, 0));
	p.used = 1;
	assert_true(pressure_pids_low(&p, 100));
}

static void shown_for_a_while(void **state)
{
	(void)state;
	uint64_t last = 0;
	assert_false(pressure_pids_shown(&last, false, 1, 300));
	assert_true(pressure_pids_shown(&last, true, 1000, 300));
	assert_true(pressure_pids_shown(&last, true, 1100, 300));
	assert_true(pressure_pids_shown(&last, false, 1399, 300));
	assert_false(pressure_pids_shown(&last, false, 1399, 200));   // the setting may change meanwhile
	assert_false(pressure_pids_shown(&last, false, 1399, 300));   // over is over
	assert_true(pressure_pids_shown(&last, true, 2000, 300));
	assert_false(pressure_pids_shown(&last, false, 2300, 300));
	assert_true(pressure_pids_shown(&last, true, 3000, 0));
}

static void read_from_here(void **state)
{
	(void)state;
	struct pressure_pids p = {0};
	assert_true(pressure_pids_read(&p));
	assert_true(p.used > 0 && p.most > p.used);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(parsed), cmocka_unit_test(low), cmocka_unit_test(shown_for_a_while), cmocka_unit_test(read_from_here)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
