// SPDX-License-Identifier: Apache-2.0
#include "image_manifest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define A "sha256:e87e36113cba723ef371b2d9d3a8113fff9d096de5e1d95dd24a4db6e18a2771"
#define B "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static int parse(const char *text, struct image_manifest *m, char child[IMAGE_DIGEST_MAX], struct err *e)
{
	return image_manifest_parse(text, strlen(text), "amd64", m, child, e);
}

static void test_image(void **state)
{
	(void)state;
	struct image_manifest m = {0};
	char child[IMAGE_DIGEST_MAX];
	struct err e = ERR_INIT;
	assert_int_equal(parse("{\"schemaVersion\":2,\"config\":{\"digest\":\"" A "\"},\"layers\":["
		"{\"mediaType\":\"application/vnd.docker.image.rootfs.diff.tar.gzip\",\"digest\":\"" B "\",\"size\":5},"
		"{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+zstd\",\"digest\":\"" A "\",\"size\":6}]}", &m, child, &e), 0);
	assert_string_equal(m.config_digest, A);
	assert_int_equal(m.layers_count, 2);
	assert_string_equal(m.layers[0].digest, B);
	assert_int_equal(m.layers[0].packing, PACKING_GZIP);
	assert_int_equal(m.layers[1].packing, PACKING_ZSTD);
	assert_int_equal(m.layers[1].size_bytes, 6);
	image_manifest_fini(&m);
}

#define ENTRY(os, arch, extra, digest) \
	"{\"digest\":\"" digest "\",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\"" extra "}}"

static void test_index(void **state)
{
	(void)state;
	struct image_manifest m = {0};
	char child[IMAGE_DIGEST_MAX];
	struct err e = ERR_INIT;
	assert_int_equal(parse("{\"schemaVersion\":2,\"manifests\":[" ENTRY("linux", "arm64", "", A) ","
		ENTRY("windows", "amd64", "", A) "," ENTRY("linux", "amd64", "", B) "]}", &m, child, &e), 1);
	assert_string_equal(child, B);
	assert_int_equal(parse("{\"manifests\":[" ENTRY("linux", "arm64", "", A) "]}", &m, child, &e), -ENOENT);
	assert_string_equal(e.text, "no match for platform linux/amd64 in manifest: not found");
	assert_int_equal(parse("{\"manifests\":[" ENTRY("linux", "amd64", "", "sha256:1") "]}", &m, child, &e), -EINVAL);
}

static void test_bad(void **state)
{
	(void)state;
	static const struct { const char *text; int rc; } cases[] = {
		{"", -EINVAL}, {"[]", -EINVAL}, {"{}", -EINVAL}, {"null", -EINVAL}, {"\"x\"", -EINVAL}, {"{\"layers\":[]}", -EINVAL},
		{"{\"schemaVersion\":1,\"fsLayers\":[]}", -ENOTSUP},
		{"{\"config\":{\"digest\":\"../../x\"},\"layers\":[]}", -EINVAL},
		{"{\"config\":{\"digest\":\"" A "\"},\"layers\":[1]}", -EINVAL},
		{"{\"config\":{\"digest\":\"" A "\"},\"layers\":[{\"digest\":\"" A "\",\"size\":-1}]}", -EINVAL},
		{"{\"config\":{\"digest\":\"" A "\"},\"layers\":[{\"digest\":\"" A "\",\"size\":1,\"mediaType\":\"x+encrypted\"}]}", -ENOTSUP},
		{"{\"config\":{\"digest\":\"" A "\"},\"layers\":[],\"manifests\":[]}", -EINVAL},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct image_manifest m = {0};
		char child[IMAGE_DIGEST_MAX];
		struct err e = ERR_INIT;
		assert_int_equal(parse(cases[i].text, &m, child, &e), cases[i].rc);
		assert_true(*e.text);
		assert_null(m.layers);
	}
}

static json_t *config(const char *text, size_t layers, struct err *e)
{
	return image_config_parse(text, strlen(text), "amd64", layers, e);
}

static void test_config(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	json_t *c = config("{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":[\"" A "\"]}}", 1, &e);
	assert_non_null(c);
	json_decref(c);
	assert_null(config("{\"rootfs\":{\"diff_ids\":[\"" A "\"]}}", 2, &e));
	assert_int_equal(e.code, EINVAL);
	assert_null(config("{\"architecture\":\"arm64\",\"rootfs\":{\"diff_ids\":[]}}", 0, &e));
	assert_int_equal(e.code, ENOENT);
	assert_null(config("{\"rootfs\":{\"diff_ids\":[\"../x\"]}}", 1, &e));
	assert_null(config("[", 0, &e));
	assert_null(config("[]", 0, &e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_image), cmocka_unit_test(test_index), cmocka_unit_test(test_bad), cmocka_unit_test(test_config),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
