// SPDX-License-Identifier: Apache-2.0
#include "yaml_json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_values(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{"a: 1\nb: \"1\"\nc: [x, 'y', 2.5]\n", "{\"a\":1,\"b\":\"1\",\"c\":[\"x\",\"y\",2.5]}"},
		{"", "null"}, {"---\n...\n", "null"}, {"a:\n", "{\"a\":null}"}, {"a: true\nb: yes\nc: off", "{\"a\":true,\"b\":\"yes\",\"c\":\"off\"}"},
		{"mode: 0644\nhex: 0x1f\nv: 1.10.2\nz: 00x\nn: -3", "{\"mode\":420,\"hex\":31,\"v\":\"1.10.2\",\"z\":\"00x\",\"n\":-3}"},
		{"1: a\ntrue: b", "{\"1\":\"a\",\"true\":\"b\"}"}, {"a: |\n  x\n  y\n", "{\"a\":\"x\\ny\\n\"}"},
		{"a: &x {k: 1}\nb: *x\nc: *x", "{\"a\":{\"k\":1},\"b\":{\"k\":1},\"c\":{\"k\":1}}"},
		{"a: 99999999999999999999", "{\"a\":\"99999999999999999999\"}"}, {"- ~\n- null\n- 'null'", "[null,null,\"null\"]"},
		{"{\"json\": [1, {\"x\": null}]}", "{\"json\":[1,{\"x\":null}]}"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *got = NULL, *want = json_loads(cases[i][1], JSON_DECODE_ANY, NULL);
		struct err e = ERR_INIT;
		if (k8s_yaml_parse(cases[i][0], strlen(cases[i][0]), &got, &e))
			fail_msg("%s: %s", cases[i][0], e.text);
		char *text = json_dumps(got, JSON_ENCODE_ANY | JSON_COMPACT);
		if (!json_equal(got, want))
			fail_msg("%s -> %s", cases[i][0], text);
		free(text);
		json_decref(got);
		json_decref(want);
	}
}

static void refused(const char *text, size_t len, int rc, const char *message)
{
	json_t *got = (void *)1;
	struct err e = ERR_INIT;
	assert_int_equal(k8s_yaml_parse(text, len, &got, &e), rc);
	if (!strstr(e.text, message))
		fail_msg("'%s' lacks '%s'", e.text, message);
	assert_ptr_equal(got, (void *)1);
}

static void test_refused(void **state)
{
	(void)state;
	refused("a: 1\na: 2", 9, -EINVAL, "line 2: key \"a\" already set in map");
	refused("a: [1", 5, -EINVAL, "yaml: line");
	refused("a: *x", 5, -EINVAL, "unknown anchor");
	refused("a: 1\n---\nb: 2", 13, -EINVAL, "more than one document");
	refused("? [a]\n: b", 9, -EINVAL, "a key must be a scalar");
	refused("\xff\xfe\xfd", 3, -EINVAL, "yaml: line");
	refused("a: &x [*x]", 10, -EINVAL, "unknown anchor");
	char deep[2000];
	memset(deep, '[', sizeof(deep));
	refused(deep, sizeof(deep), -EINVAL, "nested too deeply");
	static const char laughs[] = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
		"c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
		"e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f]\n";
	refused(laughs, sizeof(laughs) - 1, -E2BIG, "excessive aliasing");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
