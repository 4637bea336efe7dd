// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cidr.h"

static void ranges_are_read_and_written(void **state)
{
	struct cidr c = {0};
	char text[CIDR_TEXT];
	(void)state;
	assert_int_equal(cidr_parse("10.88.16.0/20", &c), 0);
	assert_int_equal(c.base, 0x0a581000);
	assert_int_equal(cidr_size(&c), 4096);
	assert_string_equal(cidr_text(&c, text), "10.88.16.0/20");
	assert_int_equal(cidr_parse("0.0.0.0/0", &c), 0);
	assert_true(cidr_size(&c) == 1ull << 32);
	assert_true(cidr_has(&c, 0xffffffff));
	assert_int_equal(cidr_parse("255.255.255.255/32", &c), 0);
	assert_string_equal(cidr_text(&c, text), "255.255.255.255/32");
}

static void what_is_no_range_is_refused(void **state)
{
	static const char *const bad[] = {"", "10.88.0.0", "/24", "10.88.0.0/", "10.88.0.0/33", "10.88.0.0/2x", "10.88.0.0/024",
					  "10.88.0.1/24", "10.88.0/24", "300.1.1.0/24", "10.88.0.0/-1", "10.88.0.0/+1", "::/64", NULL};
	struct cidr c = {.base = 7, .prefix = 7};
	(void)state;
	for (int i = 0; bad[i]; i++)
		assert_int_equal(cidr_parse(bad[i], &c), -EINVAL);
	assert_int_equal(cidr_parse(NULL, &c), -EINVAL);
	assert_int_equal(c.base, 7);
}

static void ranges_are_divided(void **state)
{
	struct cidr c, n;
	char text[CIDR_TEXT];
	(void)state;
	assert_int_equal(cidr_parse("10.88.16.0/20", &c), 0);
	assert_true(cidr_nth(&c, 24, 15, &n));
	assert_string_equal(cidr_text(&n, text), "10.88.31.0/24");
	assert_false(cidr_nth(&c, 24, 16, &n));
	assert_false(cidr_nth(&c, 19, 0, &n));
	assert_true(cidr_has(&c, n.base));
	assert_false(cidr_has(&c, c.base - 1));
	assert_false(cidr_has(&c, c.base + 4096));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_are_read_and_written),
		cmocka_unit_test(what_is_no_range_is_refused),
		cmocka_unit_test(ranges_are_divided),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
