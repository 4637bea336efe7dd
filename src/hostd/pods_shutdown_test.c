// SPDX-License-Identifier: Apache-2.0
// Groups of priorities: what --shutdown-grace says, and which pod belongs where.
#include "pods_shutdown.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_groups(void **state)
{
	(void)state;
	struct shutdown_plan p;
	assert_int_equal(shutdown_plan_parse("2000000000=10,0=20,-5=7", &p, NULL), 0);
	assert_int_equal(p.count, 3);
	assert_int_equal(p.groups[0].seconds, 7);
	assert_int_equal(shutdown_plan_group(&p, -100), 0);
	assert_int_equal(shutdown_plan_group(&p, -5), 0);
	assert_int_equal(shutdown_plan_group(&p, -4), 0);
	assert_int_equal(shutdown_plan_group(&p, 0), 1);
	assert_int_equal(shutdown_plan_group(&p, 1999999999), 1);
	assert_int_equal(shutdown_plan_group(&p, 2000001000), 2);
	assert_int_equal(shutdown_plan_parse(SHUTDOWN_DEFAULT, &p, NULL), 0);
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "5", "=5", "0=", "0=x", "0=1,", "0=-1", "0=86401", "0=1,0=2", "0=1 1=2", ",0=1",
					  "99999999999999999999=1", "1=1,2=1,3=1,4=1,5=1,6=1,7=1,8=1,9=1,10=1,11=1,12=1,13=1,14=1,15=1,16=1,17=1"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct shutdown_plan p = {.count = 77};
		struct err e = ERR_INIT;
		assert_int_equal(shutdown_plan_parse(bad[i], &p, &e), -EINVAL);
		assert_int_equal(p.count, 77);
		assert_true(strlen(e.text) > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_groups), cmocka_unit_test(test_refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
