// SPDX-License-Identifier: Apache-2.0
#include "netw_record.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/jpath.h"

static void test_uids(void **state)
{
	(void)state;
	assert_true(netw_uid_valid("0b8f2f5c-9a61-4b06-8f0e-2f4c6d7e8a90"));
	assert_true(netw_uid_valid("a_b.c"));
	static const char *bad[] = {"", ".", "..", "../x", "a/b", "a b", "a;b", "\xc3\xa9",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(netw_uid_valid(bad[i]));
}

static void test_life(void **state)
{
	(void)state;
	char dir[] = "/tmp/netw_record_test.XXXXXX", path[128];
	struct err e = ERR_INIT;
	assert_non_null(mkdtemp(dir));
	json_t *r = json_pack("{s:s}", "state", "creating");
	assert_null(netw_record_read(dir, "u", &e));
	assert_int_equal(e.code, ENOENT);
	assert_int_equal(netw_record_write(dir, "u", r, &e), 0);
	assert_int_equal(netw_record_write(dir, "v", r, &e), 0);
	assert_int_equal(netw_record_write(dir, "../u", r, &e), -EINVAL);
	json_decref(r);
	r = netw_record_read(dir, "u", &e);
	assert_string_equal(jpath_str(r, "state", ""), "creating");
	json_decref(r);
	snprintf(path, sizeof(path), "%s/w.json~", dir);   // killed while writing
	assert_int_equal(file_write_atomic(path, "{", 1, 0600, NULL), 0);
	snprintf(path, sizeof(path), "%s/v.json", dir);
	assert_int_equal(file_write_atomic(path, "{", 1, 0600, NULL), 0);
	assert_null(netw_record_read(dir, "v", &e));
	assert_int_equal(e.code, EINVAL);
	json_t *list = netw_record_list(dir);
	assert_int_equal(json_array_size(list), 2);
	json_decref(list);
	assert_int_equal(netw_record_remove(dir, "u", &e), 0);
	assert_int_equal(netw_record_remove(dir, "u", &e), 0);
	assert_null(netw_record_read(dir, "u", &e));
	assert_int_equal(dir_remove(dir, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_uids), cmocka_unit_test(test_life)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
