// SPDX-License-Identifier: Apache-2.0
#include "cron.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "zone.h"

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

static void local(const char *zone, const char *schedule, const char *after, const char *want)
{
	struct cron c;
	struct zone *z;
	uint64_t from;
	char text[CLOCK_TEXT_MAX];
	assert_int_equal(zone_open(zone, &z, NULL), 0);
	assert_int_equal(cron_parse(schedule, &c, NULL), 0);
	assert_int_equal(clock_parse(after, &from), 0);
	c.zone = z;
	clock_text((uint64_t)cron_next(&c, (long long)(from / NS_PER_S)) * NS_PER_S, 0, text);
	zone_free(z);
	if (strcmp(text, want))
		fail_msg("%s in %s after %s: %s", schedule, zone, after, text);
}

static void test_zones(void **state)
{
	(void)state;
	if (access("/usr/share/zoneinfo/America/New_York", R_OK))
		skip();
	local("America/New_York", "0 3 * * *", "2026-01-10T00:00:00Z", "2026-01-10T08:00:00Z");
	local("America/New_York", "0 3 * * *", "2026-07-10T00:00:00Z", "2026-07-10T07:00:00Z");
	local("America/New_York", "30 2 8 3 *", "2026-01-01T00:00:00Z", "2027-03-08T07:30:00Z");     // 8 March 2026 has no half past two
	local("America/New_York", "0 3 8 3 *", "2026-01-01T00:00:00Z", "2026-03-08T07:00:00Z");      // the first minute of summer
	local("America/New_York", "30 1 1 11 *", "2026-10-31T00:00:00Z", "2026-11-01T05:30:00Z");    // twice: once in summer time
	local("America/New_York", "30 1 1 11 *", "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z");    // and once in winter time
	local("Europe/Berlin", "0 12 * * *", "2060-07-01T00:00:00Z", "2060-07-01T10:00:00Z");        // by the rule behind the table
	local("Europe/Berlin", "0 12 * * *", "2060-12-01T00:00:00Z", "2060-12-01T11:00:00Z");
	local("Asia/Kolkata", "0 0 * * *", "2026-01-01T00:00:00Z", "2026-01-01T18:30:00Z");
	local("Australia/Lord_Howe", "15 2 * * *", "2060-01-01T00:00:00Z", "2060-01-01T15:15:00Z");  // summer lasts over New Year
	local("Etc/UTC", "0 0 * * *", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
}

static void test_zones_refused(void **state)
{
	(void)state;
	static const char *const names[] = {"", "Europe", "Europe/", "../passwd", "Europe/../Europe/Berlin", "/etc/passwd", "No/Where", "Berlin\n"};
	struct zone *z;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!zone_open(names[i], &z, NULL))
			fail_msg("%s", names[i]);
	assert_int_equal(zone_parse("TZif2", 5, &z, NULL), -EINVAL);
	char huge[200] = "TZif2";
	memset(huge + 20, 0xff, 24);
	assert_int_equal(zone_parse(huge, sizeof(huge), &z, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_next), cmocka_unit_test(test_refused), cmocka_unit_test(test_zones),
		cmocka_unit_test(test_zones_refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
