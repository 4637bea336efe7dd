// SPDX-License-Identifier: Apache-2.0
#include "image_ref.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HEX "e87e36113cba723ef371b2d9d3a8113fff9d096de5e1d95dd24a4db6e18a2771"

static void test_good(void **state)
{
	(void)state;
	static const struct { const char *in, *out; } cases[] = {
		{"nginx", "docker.io/library/nginx:latest"},
		{"nginx:1.25", "docker.io/library/nginx:1.25"},
		{"bitnami/redis", "docker.io/bitnami/redis:latest"},
		{"docker.io/nginx", "docker.io/library/nginx:latest"},
		{"index.docker.io/library/nginx", "docker.io/library/nginx:latest"},
		{"localhost/x", "localhost/x:latest"},
		{"localhost:5000/a/b/c:v1", "localhost:5000/a/b/c:v1"},
		{"127.0.0.1:5000/x", "127.0.0.1:5000/x:latest"},
		{"[::1]:5000/x:a", "[::1]:5000/x:a"},
		{"registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"},
		{"nginx@sha256:" HEX, "docker.io/library/nginx@sha256:" HEX},
		{"nginx:1.25@sha256:" HEX, "docker.io/library/nginx@sha256:" HEX},
		{"x/a__b--c.d_e:_x", "docker.io/x/a__b--c.d_e:_x"},
		{"Upper/x", "Upper/x:latest"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct err e = ERR_INIT;
		struct image_ref r;
		char text[IMAGE_REF_MAX];
		if (image_ref_parse(cases[i].in, &r, &e))
			fail_msg("%s", e.text);
		assert_string_equal(image_ref_text(&r, text), cases[i].out);
		struct image_ref again;   // a normalised reference is its own normal form
		assert_int_equal(image_ref_parse(text, &again, &e), 0);
		assert_memory_equal(&r.path, &again.path, strlen(r.path) + 1);
	}
}

static void test_bad(void **state)
{
	(void)state;
	static const char *cases[] = {
		"", ":", "/", "nginx:", "nginx@", "nginx@sha256:12", ("nginx@md5:" HEX), "a//b", "/a", "a/", "a b", "NGINX", "x/NGINX",
		"nginx:-x", "a.b_c/x", "nginx:a/b", "nginx:a:b", "-a/b", "a..b", "a___b", "a_-b", "host:port/x", "ho st:1/x", "-h.io/x",
		"h-.io/x", "h..io/x", "[::1/x", "[]:1/x", HEX, "../etc", "a/../b", "docker://nginx", "https://h.io/x",
		"h.io:123456/x", "x\n", "\xc3\xa9",
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct err e = ERR_INIT;
		struct image_ref r;
		if (image_ref_parse(cases[i], &r, &e) != -EINVAL)
			fail_msg("accepted: %s", cases[i]);
		assert_non_null(strstr(e.text, "invalid reference format"));
	}
	struct err e = ERR_INIT;
	struct image_ref r;
	assert_int_equal(image_ref_parse("x/NGINX", &r, &e), -EINVAL);
	assert_string_equal(e.text, "couldn't parse image name \"x/NGINX\": invalid reference format: repository name must be lowercase");
}

static void test_lengths(void **state)
{
	(void)state;
	char text[700];
	struct image_ref r;
	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(image_ref_parse(text, &r, NULL), -EINVAL);
	text[255 - strlen("docker.io/library/") + 1] = '\0';   // one too long
	assert_int_equal(image_ref_parse(text, &r, NULL), -EINVAL);
	text[255 - strlen("docker.io/library/")] = '\0';
	assert_int_equal(image_ref_parse(text, &r, NULL), 0);
}

static void test_digest(void **state)
{
	(void)state;
	char d[IMAGE_DIGEST_MAX];
	image_digest_of("abc", 3, d);
	assert_string_equal(d, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_true(image_digest_valid(d));
	d[8] = 'G';
	assert_false(image_digest_valid(d));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good), cmocka_unit_test(test_bad), cmocka_unit_test(test_lengths), cmocka_unit_test(test_digest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
