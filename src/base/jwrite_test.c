// SPDX-License-Identifier: Apache-2.0
#include "base/jwrite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check(json_t *value)
{
	struct buf b = BUF_INIT;
	char *want = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

	assert_non_null(want);
	assert_int_equal(jwrite(&b, value), 0);
	assert_string_equal(b.data, want);
	free(want);
	buf_fini(&b);
	json_decref(value);
}

static void test_it_writes_what_the_library_writes(void **state)
{
	static const char *const texts[] = {
		"{}", "[]", "[[],{},[{}]]", "null", "[true,false,null]", "{\"a\":1,\"b\":[1,2,{\"c\":\"d\"}],\"\":\"\"}", "-9223372036854775808",
		"9223372036854775807", "[1.0,0.1,-1e300,5e-324,1.7976931348623157e308,123456789012345680.0]", "\"\\u00e4 \\ud83d\\ude00 \\/ \\u007f\"",
		"{\"q\\\"\\\\\":\"\\b\\f\\n\\r\\t\\u0001\\u001f\\u001b\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		json_t *j = json_loads(texts[i], JSON_DECODE_ANY, NULL);
		if (!j)
			fail_msg("not JSON: %s", texts[i]);
		check(j);
	}
	for (int c = 1; c < 0x80; c++) {     // every plain character, alone and between others
		char text[4] = { 'x', (char)c, 'y' };
		check(json_pack("{s:s,s:s}", text, text, "c", text + 1));
	}
	check(json_stringn_nocheck("a\0b", 3));
}

static void test_deep_and_long(void **state)
{
	json_t *j = json_integer(1), *many = json_array();
	char *text = malloc(100001);

	(void)state;
	for (int i = 0; i < 1000; i++)
		j = i % 2 ? json_pack("[o]", j) : json_pack("{s:o}", "k", j);
	check(j);
	memset(text, 'x', 100000);
	text[100000] = '\0';
	text[50000] = '"';
	for (int i = 0; i < 20; i++)
		json_array_append_new(many, json_string(text));
	check(many);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_writes_what_the_library_writes), cmocka_unit_test(test_deep_and_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
