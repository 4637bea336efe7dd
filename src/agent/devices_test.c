// SPDX-License-Identifier: Apache-2.0
#include "devices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/jpath.h"
#include "base/own.h"

static const json_t *device(const json_t *config, const char *path)
{
	size_t i;
	json_t *d;
	json_array_foreach(jpath_get(config, "linux.devices"), i, d)
		if (!strcmp(jpath_str(d, "path", ""), path))
			return d;
	return NULL;
}

static void test_all_of_this_machine(void **state)
{
	(void)state;
	own_json json_t *c = json_pack("{s:{s:[{s:s, s:i}]}}", "linux", "devices", "path", "/dev/fuse", "major", 7);
	struct err e = ERR_INIT;
	struct stat st;
	assert_int_equal(devices_add_all(c, "/dev", &e), 0);
	assert_null(device(c, "/dev/null"));
	assert_null(device(c, "/dev/pts/ptmx"));
	assert_null(device(c, "/dev/fd"));
	assert_int_equal(jpath_int(device(c, "/dev/fuse"), "major", 0), 7);   // stays as it was
	if (!stat("/dev/net/tun", &st)) {
		assert_non_null(device(c, "/dev/net/tun"));
		assert_string_equal(jpath_str(device(c, "/dev/net/tun"), "type", ""), "c");
		assert_int_equal(jpath_int(device(c, "/dev/net/tun"), "major", 0), 10);
		assert_int_equal(jpath_int(device(c, "/dev/net/tun"), "minor", 0), 200);
	}
	size_t n = json_array_size(jpath_get(c, "linux.devices"));
	assert_int_equal(devices_add_all(c, "/dev", &e), 0);
	assert_int_equal(json_array_size(jpath_get(c, "linux.devices")), n);
	assert_int_equal(devices_add_all(c, "/dev/nobody", &e), 0);
}

static void test_of_whom(void **state)
{
	(void)state;
	own_json json_t *all = json_pack("{s:{s:{s:[{s:b, s:s}]}}}", "linux", "resources", "devices", "allow", 1, "access", "rwm");
	own_json json_t *none = json_pack("{s:{s:{s:[{s:b, s:s}]}}}", "linux", "resources", "devices", "allow", 0, "access", "rwm");
	own_json json_t *one = json_pack("{s:{s:{s:[{s:b, s:s, s:s}]}}}", "linux", "resources", "devices", "allow", 1, "access", "rwm", "type", "b");
	assert_true(devices_wanted(all));
	assert_false(devices_wanted(none));
	assert_false(devices_wanted(one));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_of_this_machine), cmocka_unit_test(test_of_whom)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
