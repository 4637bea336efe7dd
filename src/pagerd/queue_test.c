// SPDX-License-Identifier: Apache-2.0
// The queue of slow faults: in turns, and no guest has all the workers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "queue.h"

static void put(struct queue *q, uint32_t slot, uint32_t page)
{
	assert_true(queue_put(q, slot, (struct queue_item){ .event = slot, .page = page }));
}

static void in_turns(void **state)
{
	(void)state;
	struct queue *q = queue_new(8, 4);
	struct queue_item item;
	for (uint32_t i = 0; i < 5; i++)
		put(q, 3, i);
	put(q, 5, 100);
	put(q, 5, 101);
	static const uint32_t order[] = { 0, 100, 1, 101, 2, 3, 4 };
	for (int i = 0; i < 7; i++) {
		int slot = queue_get(q, &item);
		assert_int_equal(item.page, order[i]);
		assert_int_equal(slot, item.page >= 100 ? 5 : 3);
		queue_done(q, (uint32_t)slot);
	}
	queue_close(q);
	assert_int_equal(queue_get(q, &item), -1);
	queue_free(q);
}

/* Three guests that always have 32 waiting; of a fourth one each comes when all four have had a turn. In order of arrival it
 * would be after 96. */
static void flood(void **state)
{
	(void)state;
	enum { FLOODS = 3, EACH = 32, QUIET = 7 };
	struct queue *q = queue_new(8, 4);
	struct queue_item item;
	uint32_t served[8] = { 0 };
	for (uint32_t i = 0; i < FLOODS * EACH; i++)
		put(q, i % FLOODS, i);
	for (int i = 0; i < 100; i++) {
		int slot, turns = 0;
		put(q, QUIET, 0);
		do {
			slot = queue_get(q, &item);
			assert_true(slot >= 0);
			served[slot]++;
			turns++;
			queue_done(q, (uint32_t)slot);
			if (slot != QUIET)
				put(q, (uint32_t)slot, 0);
		} while (slot != QUIET);
		assert_in_range(turns, 1, FLOODS + 1);
	}
	assert_int_equal(served[QUIET], 100);
	for (int i = 0; i < FLOODS; i++)
		assert_in_range(served[i], 99, 101);           // and they go round, too
	queue_close(q);
	queue_free(q);
}

static void not_all_workers(void **state)
{
	(void)state;
	struct queue *q = queue_new(8, 2);
	struct queue_item item;
	for (uint32_t i = 0; i < 5; i++)
		put(q, 1, i);
	assert_int_equal(queue_get(q, &item), 1);
	assert_int_equal(queue_get(q, &item), 1);
	put(q, 2, 50);                                         // a third of slot 1 would be next
	assert_int_equal(queue_get(q, &item), 2);
	queue_done(q, 1);
	assert_int_equal(queue_get(q, &item), 1);
	assert_int_equal(item.page, 2);
	queue_close(q);
	queue_free(q);                                         // with items still in it
}

static void too_many(void **state)
{
	(void)state;
	struct queue *q = queue_new(2, 1);
	for (uint32_t i = 0; i < 4096; i++)
		put(q, 0, i);
	assert_false(queue_put(q, 0, (struct queue_item){ 0 }));
	put(q, 1, 0);
	queue_free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(in_turns), cmocka_unit_test(flood), cmocka_unit_test(not_all_workers), cmocka_unit_test(too_many) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
