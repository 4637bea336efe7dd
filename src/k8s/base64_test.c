// SPDX-License-Identifier: Apache-2.0
#include "base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_round_trip(void **state)
{
	(void)state;
	static const char *const pairs[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="},
		{"\xff\xfe\xfd", "//79"}};
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		size_t len = 99;
		char *text = base64_encode(pairs[i][0], strlen(pairs[i][0]));
		unsigned char *bytes = base64_decode(pairs[i][1], strlen(pairs[i][1]), &len);
		assert_string_equal(text, pairs[i][1]);
		assert_int_equal(len, strlen(pairs[i][0]));
		assert_memory_equal(bytes, pairs[i][0], len);
		assert_int_equal(base64_decoded_len(pairs[i][1], strlen(pairs[i][1])), len);
		free(text);
		free(bytes);
	}
	assert_int_equal(base64_decoded_len("Zm\n9v\r\n", 7), 3);
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"Z", "Zg", "Zg=", "Zg===", "Z===", "====", "Zm9v=", "Zg==Zg==", "Zm 9", "Zm9v\xc3", "=", "Zg=a"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (base64_decoded_len(bad[i], strlen(bad[i])) != -1)
			fail_msg("accepted '%s'", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
