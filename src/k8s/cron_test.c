// SPDX-License-Identifier: Apache-2.0
#include "cron.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

static void test_next(void **state)
{
	(void)state;
	static const char *const cases[][3] = {
		{"* * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"}, {"*/15 * * * *", "2026-01-01T00:16:00Z", "2026-01-01T00:30:00Z"},
		{"0 3 * * *", "2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z"}, {"30 2 1 jan *", "2026-01-01T02:30:00Z", "2027-01-01T02:30:00Z"},
		{"0 0 * * MON-FRI", "2026-01-02T12:00:00Z", "2026-01-05T00:00:00Z"}, {"0 0 13 * 5", "2026-01-01T12:00:00Z", "2026-01-02T00:00:00Z"},
		{"0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"}, {"@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"},
		{"@every 1h30m", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z"}, {"5,10-12/2 * * * *", "2026-01-01T00:10:00Z", "2026-01-01T00:12:00Z"},
		{"0 0 */2 * 1", "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct cron c;
		struct err e = ERR_INIT;
		uint64_t after;
		char text[CLOCK_TEXT_MAX];
		if (cron_parse(cases[i][0], &c, &e))
			fail_msg("%s: %s", cases[i][0], e.text);
		assert_int_equal(clock_parse(cases[i][1], &after), 0);
		assert_string_equal(clock_text((uint64_t)cron_next(&c, (long long)(after / NS_PER_S)) * NS_PER_S, 0, text), cases[i][2]);
	}
	struct cron never;
	assert_int_equal(cron_parse("0 0 31 2 *", &never, NULL), 0);
	assert_int_equal(cron_next(&never, 0), -1);
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{"x", "expected exactly 5 fields, found 1: [x]"}, {"* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"},
		{"60 * * * *", "end of range (60) above maximum (59)"}, {"* * 0 * *", "beginning of range (0) below minimum (1)"},
		{"5-1 * * * *", "beginning of range (5) beyond end of range (1)"}, {"*/0 * * * *", "step of range should be a positive number"},
		{"* * * * 7", "end of range (7) above maximum (6)"}, {"@never", "unrecognized descriptor: @never"},
		{"1x * * * *", "failed to parse int from 1x"}, {"@every x", "failed to parse duration @every x"}, {"", "expected exactly 5 fields, found 0: []"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct cron c;
		struct err e = ERR_INIT;
		assert_int_equal(cron_parse(cases[i][0], &c, &e), -EINVAL);
		assert_string_equal(e.text, cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_next), cmocka_unit_test(test_refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
