// SPDX-License-Identifier: Apache-2.0
#include "utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void test_clean(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{"", ""}, {"plain", "plain"}, {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"}, {"\xe2\x82\xac", "\xe2\x82\xac"},
		{"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"}, {"cut \xe2\x82", "cut ??"}, {"cut \xc3", "cut ?"}, {"\xff\xfe", "??"},
		{"\xc0\x80", "??"}, {"\xed\xa0\x80", "???"}, {"\xf4\x90\x80\x80", "????"}, {"a\x80z", "a?z"}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[32];
		snprintf(text, sizeof(text), "%s", cases[i][0]);
		assert_string_equal(utf8_clean(text), cases[i][1]);
	}
	assert_null(utf8_clean(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_clean)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
