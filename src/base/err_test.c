// SPDX-License-Identifier: Apache-2.0
#include "err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_set_and_wrap(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	assert_int_equal(err_set(&e, EINVAL, "size %d is odd", 3), -EINVAL);
	assert_string_equal(e.text, "size 3 is odd");
	assert_int_equal(err_wrap(&e, "disk '%s'", "a"), -EINVAL);
	assert_string_equal(e.text, "disk 'a': size 3 is odd");
	assert_int_equal(err_sys(&e, ENOENT, "open %s", "/x"), -ENOENT);
	assert_string_equal(e.text, "open /x: No such file or directory");
	assert_int_equal(err_set(NULL, EPERM, "nobody listens"), -EPERM);
}

static void test_long_text_is_cut(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	char text[2 * ERR_TEXT_MAX];
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	err_set(&e, EIO, "%s", text);
	assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
	err_wrap(&e, "%s", text);
	assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_set_and_wrap), cmocka_unit_test(test_long_text_is_cut)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
