// SPDX-License-Identifier: Apache-2.0
#include "server/jwt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/jpath.h"
#include "server/pki.h"

static struct jwt_key *make_key(char dir[])
{
	char path[64];
	struct jwt_key *k;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/pki", dir);
	assert_int_equal(dir_make(path, 0700, NULL), 0);
	assert_int_equal(pki_ensure_sa_key(dir, NULL), 0);
	snprintf(path, sizeof path, "%s/pki/sa.key", dir);
	assert_int_equal(jwt_key_open(path, &k, NULL), 0);
	dir_remove(dir, NULL);
	return k;
}

static void test_round(void **state)
{
	char dir[] = "/tmp/bulkhead-jwt-XXXXXX", other_dir[] = "/tmp/bulkhead-jwt-XXXXXX";
	struct jwt_key *k = make_key(dir), *other = make_key(other_dir);

	(void)state;
	for (int i = 0; i < 40; i++) {   // numbers of signatures have leading zeros now and then
		json_t *claims = json_pack("{s:i,s:s}", "n", i, "sub", "x"), *again;
		char *token = jwt_sign(k, claims);
		assert_non_null(token);
		assert_null(strchr(token, '='));
		again = jwt_verify(k, token);
		assert_true(json_equal(claims, again));
		assert_null(jwt_verify(other, token));
		json_decref(again);
		json_decref(claims);
		free(token);
	}
	jwt_key_close(k);
	jwt_key_close(other);
}

/* No token with one character changed is good. */
static void test_changed(void **state)
{
	char dir[] = "/tmp/bulkhead-jwt-XXXXXX";
	struct jwt_key *k = make_key(dir);
	json_t *claims = json_pack("{s:s}", "sub", "me");
	char *token = jwt_sign(k, claims);
	size_t len = strlen(token);

	(void)state;
	for (size_t i = 0; i < len - 1; i++) {   // of the last one some bits carry nothing
		char was = token[i];
		token[i] = was == 'A' ? 'B' : 'A';
		assert_null(jwt_verify(k, token));
		token[i] = was;
	}
	for (size_t n = 0; n < len; n++) {
		char was = token[n];
		token[n] = '\0';
		assert_null(jwt_verify(k, token));
		token[n] = was;
	}
	assert_null(jwt_verify(k, "eyJhbGciOiJub25lIn0.e30."));   // alg none
	assert_null(jwt_verify(k, ".."));
	free(token);
	json_decref(claims);
	jwt_key_close(k);
}

static void test_key_set(void **state)
{
	char dir[] = "/tmp/bulkhead-jwt-XXXXXX";
	struct jwt_key *k = make_key(dir);
	json_t *set = jwt_key_set(k), *key = json_array_get(json_object_get(set, "keys"), 0);

	(void)state;
	assert_string_equal(jpath_str(key, "crv", ""), "P-256");
	assert_int_equal(strlen(jpath_str(key, "x", "")), 43);
	assert_int_equal(strlen(jpath_str(key, "y", "")), 43);
	assert_int_equal(strlen(jpath_str(key, "kid", "")), 43);
	json_decref(set);
	jwt_key_close(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round), cmocka_unit_test(test_changed), cmocka_unit_test(test_key_set),
	};
	return cmocka_run_group_tests_name("server/jwt", tests, NULL, NULL);
}
