// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/controllers/stateful_plan.h"

#define GONE(i) { .ordinal = (i) }
#define OLD(i) { .ordinal = (i), .there = true, .healthy = true }
#define NEW(i) { .ordinal = (i), .there = true, .healthy = true, .updated = true }
#define STARTING(i) { .ordinal = (i), .there = true, .updated = true }
#define ENDING(i) { .ordinal = (i), .there = true, .deleting = true }

static struct stateful_step out[8];

static void one_after_the_other(void **state)
{
	const struct stateful_spec spec = { .replicas = 3 };
	const struct stateful_pod none[] = { GONE(0), GONE(1), GONE(2) }, starting[] = { STARTING(0), GONE(1), GONE(2) };
	const struct stateful_pod second[] = { NEW(0), GONE(1), GONE(2) };

	(void)state;
	assert_int_equal(stateful_plan(&spec, none, 3, out), 1);
	assert_true(out[0].act == STATEFUL_CREATE && out[0].ordinal == 0 && out[0].updated);
	assert_int_equal(stateful_plan(&spec, starting, 3, out), 0);
	assert_int_equal(stateful_plan(&spec, second, 3, out), 1);
	assert_int_equal(out[0].ordinal, 1);
}

static void all_at_once_when_parallel(void **state)
{
	const struct stateful_spec spec = { .replicas = 3, .parallel = true };
	const struct stateful_pod none[] = { GONE(0), GONE(1), GONE(2) };

	(void)state;
	assert_int_equal(stateful_plan(&spec, none, 3, out), 3);
}

static void the_highest_goes_first(void **state)
{
	const struct stateful_spec spec = { .replicas = 1 };
	const struct stateful_pod pods[] = { NEW(0), NEW(2), NEW(1) }, ending[] = { NEW(0), ENDING(2), NEW(1) };

	(void)state;
	assert_int_equal(stateful_plan(&spec, pods, 3, out), 1);
	assert_true(out[0].act == STATEFUL_DELETE && out[0].ordinal == 2);
	assert_int_equal(stateful_plan(&spec, ending, 3, out), 0);
}

static void updates_from_the_highest_down_to_the_partition(void **state)
{
	struct stateful_spec spec = { .replicas = 3, .partition = 1 };
	const struct stateful_pod old[] = { OLD(0), OLD(1), OLD(2) }, half[] = { OLD(0), OLD(1), NEW(2) };
	const struct stateful_pod done[] = { OLD(0), NEW(1), NEW(2) }, waits[] = { OLD(0), OLD(1), STARTING(2) };

	(void)state;
	assert_int_equal(stateful_plan(&spec, old, 3, out), 1);
	assert_true(out[0].act == STATEFUL_DELETE && out[0].ordinal == 2);
	assert_int_equal(stateful_plan(&spec, waits, 3, out), 0);
	assert_int_equal(stateful_plan(&spec, half, 3, out), 1);
	assert_int_equal(out[0].ordinal, 1);
	assert_int_equal(stateful_plan(&spec, done, 3, out), 0);
	spec.on_delete = true;
	assert_int_equal(stateful_plan(&spec, old, 3, out), 0);
}

static void below_the_partition_pods_come_back_as_they_were(void **state)
{
	const struct stateful_spec spec = { .replicas = 2, .partition = 1 };
	const struct stateful_pod pods[] = { GONE(0), NEW(1) };

	(void)state;
	assert_int_equal(stateful_plan(&spec, pods, 2, out), 1);
	assert_true(out[0].act == STATEFUL_CREATE && out[0].ordinal == 0 && !out[0].updated);
}

static void names_have_numbers(void **state)
{
	(void)state;
	assert_int_equal(stateful_ordinal("web", "web-12"), 12);
	assert_int_equal(stateful_ordinal("web", "web-x"), -1);
	assert_int_equal(stateful_ordinal("web", "web-1x"), -1);
	assert_int_equal(stateful_ordinal("web", "webb-1"), -1);
	assert_int_equal(stateful_ordinal("web", "web"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_after_the_other), cmocka_unit_test(all_at_once_when_parallel), cmocka_unit_test(the_highest_goes_first),
		cmocka_unit_test(updates_from_the_highest_down_to_the_partition),
		cmocka_unit_test(below_the_partition_pods_come_back_as_they_were), cmocka_unit_test(names_have_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
