// SPDX-License-Identifier: Apache-2.0
#include "image_index.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define A "sha256:" HEX_A
#define B "sha256:" HEX_B
#define NGINX "docker.io/library/nginx"

static char dir[64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int make_dir(void **state)
{
	(void)state;
	char path[128];
	strcpy(dir, "/tmp/image_index_test.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/disks", dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/configs", dir);
	mkdir(path, 0700);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	return dir_remove(dir, NULL);
}

static void put(const char *kind, const char *name, const char *text)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s/%s", dir, kind, name);
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, NULL), 0);
}

static bool there(const char *kind, const char *name)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s/%s", dir, kind, name);
	return !access(path, F_OK);
}

static struct image_index *reopen(struct image_index *x)
{
	struct err e = ERR_INIT;
	image_index_free(x);
	if (image_index_open(dir, &lock, &x, &e))
		fail_msg("%s", e.text);
	return x;
}

static void add(struct image_index *x, const char *id)
{
	struct err e = ERR_INIT;
	char name[128];
	snprintf(name, sizeof(name), "%s.erofs", id + 7);
	put("disks", name, "disk");
	snprintf(name, sizeof(name), "%s.json", id + 7);
	put("configs", name, "{\"created\":\"2026-01-01T00:00:00Z\"}");
	json_t *config = json_pack("{s:s}", "created", "2026-01-01T00:00:00Z");
	assert_int_equal(image_index_add(x, id, config, &e), 0);
	json_decref(config);
}

static void test_find(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct image_index *x = reopen(NULL);
	add(x, A);
	assert_int_equal(image_index_name(x, A, NGINX ":latest", NGINX "@" B, &e), 0);
	for (int round = 0; round < 2; round++) {   // in memory, then from disk
		assert_string_equal(image_index_find(x, "nginx", NULL), A);
		assert_string_equal(image_index_find(x, "docker.io/nginx:latest", NULL), A);
		assert_string_equal(image_index_find(x, NGINX "@" B, NULL), A);
		assert_string_equal(image_index_find(x, A, NULL), A);
		assert_string_equal(image_index_find(x, HEX_A, NULL), A);
		assert_null(image_index_find(x, "nginx:1", NULL));
		assert_null(image_index_find(x, B, NULL));
		assert_null(image_index_find(x, "NGINX", NULL));
		assert_string_equal(image_index_repo_digest(x, A, "nginx"), NGINX "@" B);
		assert_int_equal(image_index_size(x, A), 4);
		assert_non_null(image_index_config(x, A));
		x = reopen(x);
	}
	json_t *list = image_index_list(x);
	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "id")), A);
	json_decref(list);
	image_index_free(x);
}

static void test_tag_moves(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct image_index *x = reopen(NULL);
	add(x, A);
	add(x, B);
	assert_int_equal(image_index_name(x, A, NGINX ":latest", "", &e), 0);
	assert_int_equal(image_index_name(x, A, NGINX ":latest", "", &e), 0);   // the same again: no double
	assert_int_equal(image_index_ref_count(x, A), 1);
	assert_int_equal(image_index_name(x, B, NGINX ":latest", "", &e), 0);
	assert_string_equal(image_index_find(x, "nginx", NULL), B);
	assert_int_equal(image_index_ref_count(x, A), 0);
	assert_string_equal(image_index_any_ref(x, A), A);
	assert_int_equal(image_index_name(x, "sha256:none", NGINX ":x", "", &e), -ENOENT);
	assert_null(image_index_find(x, "nginx:x", NULL));
	image_index_free(x);
}

static void test_unname_and_drop(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct image_index *x = reopen(NULL);
	add(x, A);
	assert_int_equal(image_index_name(x, A, NGINX ":latest", NGINX "@" B, &e), 0);
	assert_true(image_index_is_ref(x, NGINX ":latest"));
	assert_false(image_index_is_ref(x, NGINX "@" B));
	assert_int_equal(image_index_unname(x, NGINX ":latest", &e), 0);
	assert_int_equal(image_index_unname(x, NGINX ":latest", &e), -ENOENT);
	assert_int_equal(pthread_mutex_trylock(&lock), 0);   // changes leave it free
	pthread_mutex_unlock(&lock);
	assert_string_equal(image_index_find(x, NGINX "@" B, NULL), A);
	assert_int_equal(image_index_drop(x, A, &e), 0);
	assert_false(image_index_has(x, A));
	assert_null(image_index_find(x, NGINX "@" B, NULL));
	assert_false(there("disks", HEX_A ".erofs"));
	assert_false(there("configs", HEX_A ".json"));
	assert_int_equal(image_index_drop(x, A, &e), -ENOENT);
	image_index_free(x);
}

static void test_crash_leftovers(void **state)
{
	(void)state;
	struct image_index *x = reopen(NULL);
	add(x, A);
	put("disks", HEX_B ".erofs", "half");   // moved in place, then killed before the index was written
	put("configs", "junk", "x");
	x = reopen(x);
	assert_true(there("disks", HEX_A ".erofs"));
	assert_false(there("disks", HEX_B ".erofs"));
	assert_false(there("configs", "junk"));
	put("disks", HEX_A ".erofs", "another size");
	x = reopen(x);
	assert_false(image_index_has(x, A));
	image_index_free(x);
}

static void test_bad_file(void **state)
{
	(void)state;
	struct image_index *x;
	struct err e = ERR_INIT;
	static const char *cases[] = {"", "[]", "{\"version\":2,\"images\":{}}", "{\"version\":1,\"images\":[]}"};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		put(".", "index.json", cases[i]);
		assert_int_equal(image_index_open(dir, &lock, &x, &e), -EINVAL);
	}
	put(".", "index.json", "{\"version\":1,\"images\":{\"../x\":{},\"" A "\":3,\"" B "\":{\"refs\":[1],\"repoDigests\":[]}}}");
	assert_int_equal(image_index_open(dir, &lock, &x, &e), 0);
	assert_false(image_index_has(x, A));
	image_index_free(x);
}

static void test_save_fails(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct image_index *x = reopen(NULL);
	char path[128];
	add(x, A);
	assert_int_equal(image_index_name(x, A, NGINX ":1", "", &e), 0);
	snprintf(path, sizeof(path), "%s/index.json", dir);
	unlink(path);
	mkdir(path, 0700);   // rename onto it fails, for root too
	assert_true(image_index_name(x, A, NGINX ":2", "", &e) < 0);
	assert_null(image_index_find(x, "nginx:2", NULL));
	assert_string_equal(image_index_find(x, "nginx:1", NULL), A);
	assert_true(image_index_drop(x, A, &e) < 0);
	assert_true(there("disks", HEX_A ".erofs"));
	assert_string_equal(image_index_find(x, "nginx:1", NULL), A);
	image_index_free(x);
}

#define with_dir(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_dir(test_find), with_dir(test_tag_moves), with_dir(test_unname_and_drop), with_dir(test_crash_leftovers),
		with_dir(test_bad_file), with_dir(test_save_fails),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
