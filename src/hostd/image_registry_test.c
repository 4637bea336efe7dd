// SPDX-License-Identifier: Apache-2.0
#include "image_registry.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int endpoints(const char *config, const char *ref, struct image_endpoint *out, struct err *e)
{
	struct image_ref r;
	assert_int_equal(image_ref_parse(ref, &r, e), 0);
	return image_endpoints(config, &r, out, e);
}

static void test_defaults(void **state)
{
	(void)state;
	struct image_endpoint p[IMAGE_ENDPOINTS_MAX];
	struct err e = ERR_INIT;
	static const struct { const char *ref, *repository; bool insecure; } cases[] = {
		{"nginx", "docker.io/library/nginx", false}, {"127.0.0.1:5000/x", "127.0.0.1:5000/x", true},
		{"localhost:5000/x", "localhost:5000/x", true}, {"localhost/x", "localhost/x", true},
		{"localhost.example.com/x", "localhost.example.com/x", false}, {"10.0.0.1:5000/x", "10.0.0.1:5000/x", false},
		{"[::1]:5000/x", "[::1]:5000/x", true},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(endpoints(NULL, cases[i].ref, p, &e), 1);
		assert_string_equal(p[0].repository, cases[i].repository);
		assert_int_equal(p[0].insecure, cases[i].insecure);
	}
}

static void test_mirrors(void **state)
{
	(void)state;
	struct image_endpoint p[IMAGE_ENDPOINTS_MAX];
	struct err e = ERR_INIT;
	const char *config = "{\"registries\":{\"docker.io\":{\"mirrors\":[\"http://m.io:1\",\"https://n.io/cache/\",\"127.0.0.1:5\"]},"
		"\"n.io\":{\"insecure\":true},\"127.0.0.1:5\":{\"insecure\":false}}}";
	assert_int_equal(endpoints(config, "nginx", p, &e), 4);
	assert_string_equal(p[0].repository, "m.io:1/library/nginx");
	assert_true(p[0].insecure);
	assert_string_equal(p[1].repository, "n.io/cache/library/nginx");
	assert_true(p[1].insecure);
	assert_false(p[2].insecure);
	assert_string_equal(p[3].repository, "docker.io/library/nginx");
	assert_false(p[3].insecure);
	assert_int_equal(endpoints(config, "n.io/x", p, &e), 1);
	assert_true(p[0].insecure);
}

static void test_bad_config(void **state)
{
	(void)state;
	static const char *cases[] = {
		"", "[", "[]", "{\"registries\":[]}", "{\"registries\":{\"docker.io\":1}}", "{\"registries\":{\"docker.io\":{\"mirrors\":\"x\"}}}",
		"{\"registries\":{\"docker.io\":{\"mirrors\":[1]}}}", "{\"registries\":{\"docker.io\":{\"mirrors\":[\"\"]}}}",
		"{\"registries\":{\"docker.io\":{\"mirrors\":[\"a b\"]}}}", "{\"registries\":{\"docker.io\":{\"insecure\":\"yes\"}}}",
		"{\"registries\":{\"docker.io\":{\"mirrors\":[\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\"]}}}",
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct image_endpoint p[IMAGE_ENDPOINTS_MAX];
		struct err e = ERR_INIT;
		assert_int_equal(endpoints(cases[i], "nginx", p, &e), -EINVAL);
		assert_non_null(strstr(e.text, "registries.json: "));
	}
}

static void test_auth(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	char *text = image_auth_file(NULL, &e);
	assert_string_equal(text, "{\"auths\":{}}");
	free(text);
	text = image_auth_file("{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"eDp5\"}}}", &e);
	assert_string_equal(text, "{\"auths\":{\"docker.io\":{\"auth\":\"eDp5\"}}}");
	free(text);
	text = image_auth_file("{\"auths\":{\"http://127.0.0.1:5000/v2/\":{\"username\":\"u\",\"password\":\"pw\"}}}", &e);
	assert_string_equal(text, "{\"auths\":{\"127.0.0.1:5000\":{\"auth\":\"dTpwdw==\"}}}");
	free(text);
	assert_null(image_auth_file("{", &e));
	assert_null(image_auth_file("{\"auths\":3}", &e));
	text = image_auth_file("{\"auths\":{\"x\":3,\"y\":{\"auth\":4}}}", &e);   // one bad entry must not spoil the others
	assert_non_null(text);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_mirrors), cmocka_unit_test(test_bad_config), cmocka_unit_test(test_auth),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
