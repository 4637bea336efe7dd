// SPDX-License-Identifier: Apache-2.0
#include "base/jtext.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/jpath.h"

static const char text[] =
	"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"labels\":{\"nodeName\":\"no\",\"spec\":\"{\\\"nodeName\\\":\\\"no\\\"}\"},"
	"\"n\":[1,{\"nodeName\":\"no\"},\"]}\"]}, \"spec\" : { \"empty\":{},\"list\":[],\"t\":true,\"i\":-12.5e3,\"back\":\"\\\\\", "
	"\"nodeName\" : \"host \\\"1\\\"\"\n},\"status\":{\"phase\":\"Running\"}}";

static void finds(const char *path, const char *want)
{
	const char *value = NULL;
	size_t len = 0;
	bool found = jtext_find(text, strlen(text), path, &value, &len);

	assert_int_equal(found, want != NULL);
	if (want) {
		assert_int_equal(len, strlen(want));
		assert_memory_equal(value, want, len);
	}
}

static void test_values_are_found_where_they_are(void **state)
{
	(void)state;
	finds("kind", "\"Pod\"");
	finds("metadata.name", "\"a\"");
	finds("spec.nodeName", "\"host \\\"1\\\"\"");
	finds("spec.empty", "{}");
	finds("spec.list", "[]");
	finds("spec.t", "true");
	finds("spec.i", "-12.5e3");
	finds("spec.back", "\"\\\\\"");
	finds("status.phase", "\"Running\"");
	finds("status", "{\"phase\":\"Running\"}");
}

static void test_what_is_elsewhere_is_not_found(void **state)
{
	(void)state;
	finds("nodeName", NULL);
	finds("metadata.nodeName", NULL);
	finds("spec.empty.x", NULL);
	finds("spec.list.x", NULL);
	finds("spec.node", NULL);
	finds("status.phase.x", NULL);
	finds("", NULL);
}

static void test_every_beginning_of_a_text_is_safe(void **state)
{
	(void)state;
	for (size_t n = 0; n < sizeof text; n++) {
		char *part = malloc(n + 1);   // so that a sanitizer sees a read behind it
		const char *value;
		size_t len;
		memcpy(part, text, n);
		part = realloc(part, n ? n : 1);
		if (n && jtext_find(part, n, "status.phase", &value, &len))
			assert_true(value >= part && value + len <= part + n);
		free(part);
	}
}

static void test_a_found_value_parses_as_in_the_whole(void **state)
{
	json_t *j = jtext_get(text, strlen(text), "spec.nodeName"), *whole = json_loads(text, 0, NULL);

	(void)state;
	assert_string_equal(json_string_value(j), "host \"1\"");
	assert_true(json_equal(j, jpath_get(whole, "spec.nodeName")));
	assert_null(jtext_get(text, strlen(text), "spec.none"));
	json_decref(j);
	json_decref(whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_are_found_where_they_are),
		cmocka_unit_test(test_what_is_elsewhere_is_not_found),
		cmocka_unit_test(test_every_beginning_of_a_text_is_safe),
		cmocka_unit_test(test_a_found_value_parses_as_in_the_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
