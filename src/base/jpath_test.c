// SPDX-License-Identifier: Apache-2.0
#include "jpath.h"

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

static void test_get_set(void **state)
{
	(void)state;
	json_t *j = json_loads("{\"a\":{\"b\":\"x\",\"n\":5,\"t\":true},\"s\":\"flat\"}", 0, NULL);
	assert_string_equal(jpath_str(j, "a.b", "?"), "x");
	assert_string_equal(jpath_str(j, "a.c", "?"), "?");
	assert_string_equal(jpath_str(j, "a.n", "?"), "?");
	assert_string_equal(jpath_str(j, "s.b", "?"), "?");
	assert_int_equal(jpath_int(j, "a.n", 1), 5);
	assert_true(jpath_bool(j, "a.t", false));
	assert_int_equal(jpath_set(j, "m.n.o", json_integer(9)), 0);
	assert_int_equal(jpath_int(j, "m.n.o", 0), 9);
	assert_int_equal(jpath_set(j, "s.b", json_integer(9)), -EINVAL);
	assert_null(jpath_get(NULL, "a"));
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_get_set)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
