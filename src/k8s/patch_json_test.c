// SPDX-License-Identifier: Apache-2.0
// JSON patch and merge patch: document, patch, result or error.
#include "patch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

typedef int patch_fn(const json_t *doc, const json_t *patch, json_t **out, struct err *e);

struct patch_case {
	const char *doc, *patch, *want;   // want NULL: fails
	int rc;
};

static void run(patch_fn *fn, const struct patch_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		json_t *doc = json_loads(cases[i].doc, JSON_DECODE_ANY, NULL), *patch = json_loads(cases[i].patch, JSON_DECODE_ANY, NULL);
		json_t *before = json_deep_copy(doc), *out = NULL;
		struct err e = ERR_INIT;
		int rc = fn(doc, patch, &out, &e);
		if (rc != cases[i].rc)
			fail_msg("%s with %s: %d (%s), want %d", cases[i].doc, cases[i].patch, rc, e.text, cases[i].rc);
		assert_true(json_equal(doc, before));
		if (rc) {
			assert_null(out);
			assert_int_equal(e.code, -rc);
			assert_true(e.text[0] != '\0');
		} else {
			json_t *want = json_loads(cases[i].want, JSON_DECODE_ANY, NULL);
			char *got = json_dumps(out, JSON_ENCODE_ANY | JSON_COMPACT);
			if (!json_equal(out, want))
				fail_msg("%s with %s: %s", cases[i].doc, cases[i].patch, got);
			free(got);
			json_decref(want);
		}
		json_decref(out);
		json_decref(before);
		json_decref(doc);
		json_decref(patch);
	}
}

static void test_json(void **state)
{
	(void)state;
	static const struct patch_case cases[] = {
		{"{\"a\":1}", "[]", "{\"a\":1}", 0},
		{"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":{\"c\":[1]}}]", "{\"a\":1,\"b\":{\"c\":[1]}}", 0},
		{"{\"a\":[1,3]}", "[{\"op\":\"add\",\"path\":\"/a/1\",\"value\":2}]", "{\"a\":[1,2,3]}", 0},
		{"{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/-\",\"value\":2}]", "{\"a\":[1,2]}", 0},
		{"{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/2\",\"value\":2}]", NULL, -ENOENT},
		{"{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/01\",\"value\":2}]", NULL, -ENOENT},
		{"{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/x\",\"value\":2}]", NULL, -ENOENT},
		{"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"\",\"value\":[1]}]", "[1]", 0},
		{"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b/c\",\"value\":1}]", NULL, -ENOENT},
		{"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"b\",\"value\":1}]", NULL, -EINVAL},
		{"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\"}]", NULL, -EINVAL},
		{"{\"a\":{\"x/y\":1,\"~\":2}}", "[{\"op\":\"remove\",\"path\":\"/a/x~1y\"},{\"op\":\"replace\",\"path\":\"/a/~0\","
			"\"value\":3}]", "{\"a\":{\"~\":3}}", 0},
		{"{\"a\":[1,2,3]}", "[{\"op\":\"remove\",\"path\":\"/a/1\"}]", "{\"a\":[1,3]}", 0},
		{"{\"a\":[1]}", "[{\"op\":\"remove\",\"path\":\"/a/1\"}]", NULL, -ENOENT},
		{"{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/b\"}]", NULL, -ENOENT},
		{"{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"\"}]", NULL, -EINVAL},
		{"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/b\",\"value\":1}]", NULL, -ENOENT},
		{"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/a/b\",\"value\":1}]", NULL, -ENOENT},
		{"{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/c\"}]", "{\"a\":{},\"c\":1}", 0},
		{"{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]", NULL, -EINVAL},
		{"{\"a\":{\"b\":1}}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/c\"}]", "{\"a\":{\"b\":1,\"c\":{\"b\":1}}}", 0},
		{"{\"a\":1}", "[{\"op\":\"copy\",\"from\":\"/x\",\"path\":\"/c\"}]", NULL, -ENOENT},
		{"{\"a\":1}", "[{\"op\":\"copy\",\"path\":\"/c\"}]", NULL, -EINVAL},
		{"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":1}]", "{\"a\":1}", 0},
		{"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", NULL, -ESTALE},
		{"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/b\",\"value\":null}]", "{\"a\":1}", 0},
		{"{\"a\":1}", "[{\"op\":\"jump\",\"path\":\"/a\",\"value\":2}]", NULL, -EINVAL},
		{"{\"a\":1}", "[{\"path\":\"/a\",\"value\":2}]", NULL, -EINVAL},
		{"{\"a\":1}", "[7]", NULL, -EINVAL},
		{"{\"a\":1}", "{}", NULL, -EINVAL},
	};
	run(k8s_patch_json, cases, sizeof(cases) / sizeof(*cases));
}

static void test_merge(void **state)
{
	(void)state;
	static const struct patch_case cases[] = {
		{"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}", 0},
		{"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}", 0},
		{"{\"a\":\"b\",\"b\":1}", "{\"a\":null}", "{\"b\":1}", 0},
		{"{\"a\":[1,2]}", "{\"a\":[3]}", "{\"a\":[3]}", 0},
		{"{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":5,\"c\":null,\"d\":{\"x\":null,\"y\":1}}}", "{\"a\":{\"b\":5,\"d\":{\"y\":1}}}", 0},
		{"{\"a\":[1]}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}", 0},
		{"{\"a\":1}", "[]", NULL, -EINVAL},
		{"{\"a\":1}", "null", NULL, -EINVAL},
	};
	run(k8s_patch_merge, cases, sizeof(cases) / sizeof(*cases));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_json), cmocka_unit_test(test_merge)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
