// SPDX-License-Identifier: Apache-2.0
#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void test_text_and_back(void **state)
{
	(void)state;
	char out[CLOCK_TEXT_MAX];
	uint64_t ns;
	assert_string_equal(clock_text(1000000000ull * 1700000000ull + 123456789, 9, out), "2023-11-14T22:13:20.123456789Z");
	assert_int_equal(clock_parse(out, &ns), 0);
	assert_true(ns == 1700000000123456789ull);
	assert_string_equal(clock_text(ns, 6, out), "2023-11-14T22:13:20.123456Z");
	assert_string_equal(clock_text(ns, 0, out), "2023-11-14T22:13:20Z");
	assert_int_equal(clock_parse("2023-11-14T23:13:20.5+01:00", &ns), 0);
	assert_true(ns == 1700000000500000000ull);
}

static void test_bad_text(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "2023-11-14", "2023-11-14T22:13:20", "2023-11-14T22:13:20.Z", "2023-11-14T22:13:20Zx",
					  "2023-11-14T22:13:20+1:00", "2023-11-14T22:13:20.1234567890Z", "1950-01-01T00:00:00Z"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t ns = 7;
		assert_int_equal(clock_parse(bad[i], &ns), -EINVAL);
		assert_true(ns == 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_text_and_back), cmocka_unit_test(test_bad_text)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
