// SPDX-License-Identifier: Apache-2.0
#include "server/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N 5000

static struct obj *make(const char *key)
{
	json_t *j = json_pack("{s:s,s:s,s:{s:s}}", "kind", "T", "apiVersion", "v1", "metadata", "name", key);
	struct obj *o = NULL;

	assert_int_equal(obj_encode(key, j, &o), 0);
	json_decref(j);
	return o;
}

static void key_of(int i, char out[32])
{
	snprintf(out, 32, "t/ns/%06d", i);
}

static void put(struct index *x, int i)
{
	struct obj *old;
	char key[32];

	key_of(i, key);
	assert_int_equal(index_put(x, make(key), &old), 0);
	assert_null(old);
}

/* A full walk finds exactly the keys that are marked, in order. */
static void check(struct index *x, const char *there)
{
	struct index_pos pos = index_seek(x, "");
	size_t count = 0;
	struct obj *o;
	char key[32];

	for (int i = 0; i < N; i++) {
		key_of(i, key);
		if (!there[i]) {
			assert_null(index_get(x, key));
			continue;
		}
		count++;
		o = index_next(x, &pos);
		assert_non_null(o);
		assert_string_equal(obj_key(o), key);
		assert_ptr_equal(index_get(x, key), o);
	}
	assert_null(index_next(x, &pos));
	assert_int_equal(index_count(x), count);
}

/* step and N have no common factor: every key comes once, in an order that is neither rising nor falling. */
static void fill_and_empty(int step)
{
	struct index *x = index_new();
	char there[N] = { 0 }, key[32];

	for (int i = 0, k = 0; i < N; i++, k = (k + step) % N) {
		put(x, k);
		there[k] = 1;
		if (i % 1000 == 0)
			check(x, there);
	}
	check(x, there);
	for (int i = 0, k = 0; i < N; i++, k = (k + 7) % N) {
		struct obj *o;
		key_of(k, key);
		o = index_remove(x, key);
		assert_non_null(o);
		obj_unref(o);
		assert_null(index_remove(x, key));
		there[k] = 0;
		if (i % 1000 == 0)
			check(x, there);
	}
	check(x, there);
	index_free(x);
}

static void test_rising(void **state) { (void)state; fill_and_empty(1); }
static void test_falling(void **state) { (void)state; fill_and_empty(N - 1); }
static void test_scattered(void **state) { (void)state; fill_and_empty(1237); }

static void test_replace(void **state)
{
	struct index *x = index_new();
	struct obj *first = make("a/b/c"), *second = make("a/b/c"), *old;

	(void)state;
	assert_int_equal(index_put(x, first, &old), 0);
	assert_int_equal(index_put(x, second, &old), 0);
	assert_ptr_equal(old, first);
	obj_unref(old);
	assert_int_equal(index_count(x), 1);
	assert_ptr_equal(index_get(x, "a/b/c"), second);
	index_free(x);
}

static void test_seek(void **state)
{
	struct index *x = index_new();
	struct index_pos pos;

	(void)state;
	for (int i = 0; i < 2000; i += 2)
		put(x, i);
	pos = index_seek(x, "t/ns/000501");
	assert_string_equal(obj_key(index_next(x, &pos)), "t/ns/000502");
	pos = index_seek(x, "t/ns/000502");
	assert_string_equal(obj_key(index_next(x, &pos)), "t/ns/000502");
	pos = index_seek(x, "u");
	assert_null(index_next(x, &pos));
	index_free(x);
}

static void test_text(void **state)
{
	struct obj *o = make("t/ns/a"), *copy, *back;

	(void)state;
	obj_set_rv(o, 7);
	assert_string_equal(obj_text(o), "{\"kind\":\"T\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"7\",\"name\":\"t/ns/a\"}}");
	copy = obj_copy_rv(o, 1234567);
	assert_non_null(strstr(obj_text(copy), "\"resourceVersion\":\"1234567\""));
	assert_int_equal(strlen(obj_text(copy)), copy->text_len);
	obj_set_rv(copy, 8);
	assert_int_equal(strlen(obj_text(copy)), copy->text_len);
	assert_int_equal(obj_restore("t/ns/a", obj_text(copy), copy->text_len, 8, 1, copy->rv_off, &back), 0);
	assert_string_equal(obj_text(back), obj_text(copy));
	obj_unref(back);
	assert_int_equal(obj_restore("t/ns/a", obj_text(copy), copy->text_len, 9, 1, copy->rv_off, &back), -22);
	assert_int_equal(obj_restore("t/ns/a", obj_text(copy), copy->text_len, 8, 1, copy->text_len, &back), -22);
	obj_unref(copy);
	obj_unref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rising), cmocka_unit_test(test_falling), cmocka_unit_test(test_scattered),
		cmocka_unit_test(test_replace), cmocka_unit_test(test_seek), cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
