// SPDX-License-Identifier: Apache-2.0
#include "server/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N 3000

/* Against an array: random puts and removals, then everything looked up and walked. */
static void test_random(void **state)
{
	struct map m = MAP_INIT;
	char *want[N] = { NULL }, key[16];
	size_t count = 0, walked = 0, pos = 0;
	const char *k;
	char *v;

	(void)state;
	srand(1);
	for (int i = 0; i < 20000; i++) {
		int n = rand() % N;
		snprintf(key, sizeof key, "key-%d", n);
		if (rand() % 3) {
			count += !want[n];
			want[n] = &key[0] + rand() % 8;   // any pointer
			assert_int_equal(map_put(&m, key, want[n]), 0);
		} else {
			assert_ptr_equal(map_remove(&m, key), want[n]);
			count -= want[n] != NULL;
			want[n] = NULL;
		}
		assert_int_equal(m.count, count);
	}
	for (int n = 0; n < N; n++) {
		snprintf(key, sizeof key, "key-%d", n);
		assert_ptr_equal(map_get(&m, key), want[n]);
	}
	while ((v = map_next(&m, &pos, &k))) {
		assert_ptr_equal(v, want[atoi(k + 4)]);
		walked++;
	}
	assert_int_equal(walked, count);
	map_fini(&m, NULL);
	assert_null(map_get(&m, "key-1"));
	assert_null(map_remove(&m, "key-1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_random) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
