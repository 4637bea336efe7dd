// SPDX-License-Identifier: Apache-2.0
#include "logring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_records_stay_until_acknowledged(void **state)
{
	(void)state;
	struct logring *r = logring_new(1000);
	struct logrecord rec;
	assert_false(logring_after(r, 0, &rec));
	assert_int_equal(logring_append(r, 1, 10, "one", 3), 0);
	assert_int_equal(logring_append(r, 2, 20, "two", 3), 0);
	for (int i = 0; i < 2; i++) {
		assert_true(logring_after(r, 0, &rec));
		assert_int_equal(rec.seq, 1);
		assert_int_equal(rec.channel, 1);
		assert_int_equal(rec.real_ns, 10);
		assert_memory_equal(rec.data, "one", 3);
		assert_true(logring_after(r, 1, &rec));
		assert_int_equal(rec.seq, 2);
		assert_false(logring_after(r, 2, &rec));
	}
	logring_ack(r, 1);
	assert_true(logring_after(r, 0, &rec));
	assert_int_equal(rec.seq, 2);
	logring_ack(r, 2);
	assert_false(logring_after(r, 0, &rec));
	assert_int_equal(logring_last(r), 2);
	assert_int_equal(logring_append(r, 1, 30, "three", 5), 0);
	assert_true(logring_after(r, 2, &rec));
	assert_int_equal(rec.seq, 3);
	logring_free(r);
}

static void test_full_by_bytes_and_by_count(void **state)
{
	(void)state;
	struct logring *r = logring_new(10000);
	char data[4000] = {0};
	assert_false(logring_full(r));
	logring_append(r, 1, 0, data, sizeof(data));
	logring_append(r, 1, 0, data, sizeof(data));
	assert_false(logring_full(r));
	logring_append(r, 1, 0, data, sizeof(data));
	assert_true(logring_full(r));
	logring_ack(r, 1);
	assert_false(logring_full(r));
	logring_ack(r, 3);
	unsigned n = 0;
	while (!logring_full(r)) {   // records of one byte take room too
		logring_append(r, 1, 0, "x", 1);
		n++;
	}
	assert_in_range(n, 10, 1000);
	logring_free(r);
}

static void test_end_and_hostile_acknowledgement(void **state)
{
	(void)state;
	struct logring *r = logring_new(1000);
	struct logrecord rec;
	logring_append(r, 1, 0, "x", 1);
	logring_ack(r, UINT64_MAX);
	assert_true(logring_after(r, 0, &rec));
	assert_int_equal(logring_end(r, 5), 0);
	assert_true(logring_after(r, 1, &rec));
	assert_true(rec.end);
	assert_int_equal(rec.len, 0);
	logring_ack(r, 2);
	assert_false(logring_after(r, 0, &rec));
	logring_free(r);
}

/* Two readers at random places and one who acknowledges: each sees every number after its own, in order. */
static void test_random(void **state)
{
	(void)state;
	struct logring *r = logring_new(1u << 20);
	uint64_t seen[2] = {0, 0}, acked = 0, last = 0;
	srandom(1);
	for (int i = 0; i < 20000; i++) {
		struct logrecord rec;
		long what = random() % 4;
		if (what == 0) {
			last++;
			logring_append(r, 1, last, &last, sizeof(last));
		} else if (what == 3 && acked < last) {
			acked += 1 + (uint64_t)random() % (last - acked);
			logring_ack(r, acked);
		} else if (what < 3) {
			uint64_t *at = &seen[what - 1], want = *at < acked ? acked + 1 : *at + 1;
			bool any = logring_after(r, *at, &rec);
			assert_int_equal(any, want <= last);
			if (any) {
				assert_int_equal(rec.seq, want);
				assert_memory_equal(rec.data, &want, sizeof(want));
				*at = want;
			}
		}
	}
	logring_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_records_stay_until_acknowledged),
					   cmocka_unit_test(test_full_by_bytes_and_by_count),
					   cmocka_unit_test(test_end_and_hostile_acknowledgement), cmocka_unit_test(test_random)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
