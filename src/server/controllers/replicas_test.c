// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/jpath.h"
#include "server/controllers/pod_info.h"
#include "server/controllers/replicas.h"

static void resolves_counts_and_percentages(void **state)
{
	own_json json_t *count = json_integer(3), *percent = json_string("25%"), *odd = json_string("x");

	(void)state;
	assert_int_equal(replicas_resolve(count, 10, true, 7), 3);
	assert_int_equal(replicas_resolve(percent, 10, true, 7), 3);
	assert_int_equal(replicas_resolve(percent, 10, false, 7), 2);
	assert_int_equal(replicas_resolve(odd, 10, false, 7), 7);
	assert_int_equal(replicas_resolve(NULL, 10, false, 7), 7);
}

static void something_may_always_move(void **state)
{
	own_json json_t *s = json_pack("{s:{s:s,s:s}}", "rollingUpdate", "maxSurge", "0%", "maxUnavailable", "10%");
	struct rolling r = replicas_rolling(s, 3);

	(void)state;
	assert_int_equal(r.surge, 0);
	assert_int_equal(r.unavailable, 1);
}

/* Run a rollout to its end, pods becoming available at once; the limits must hold at every step. */
static void roll_to_end(long long replicas, struct rolling r)
{
	struct replica_set fresh = { 0 }, old = { .spec = replicas, .available = replicas };
	int steps = 0;

	while (fresh.spec != replicas || old.spec) {
		replicas_roll(replicas, r, &fresh, &old, 1);
		assert_true(fresh.want != fresh.spec || old.want != old.spec);
		assert_true(fresh.want + old.want <= replicas + r.surge);
		assert_true(fresh.available + (old.want < old.available ? old.want : old.available) >= replicas - r.unavailable);
		fresh.spec = fresh.available = fresh.want;
		old.spec = old.available = old.want;
		assert_true(++steps < 1000);
	}
}

static void a_rollout_keeps_within_its_limits(void **state)
{
	(void)state;
	for (long long n = 1; n < 12; n++)
		for (long long surge = 0; surge < 4; surge++)
			for (long long out = surge ? 0 : 1; out < 4; out++)
				roll_to_end(n, (struct rolling){ surge, out < n ? out : n });
}

static void a_rollout_waits_for_the_new_ones(void **state)
{
	struct replica_set fresh = { .spec = 2, .available = 0 }, old = { .spec = 3, .available = 3 };

	(void)state;
	replicas_roll(4, (struct rolling){ 1, 1 }, &fresh, &old, 1);
	assert_int_equal(fresh.want, 2);
	assert_int_equal(old.want, 3);       // 3 serve, 3 must
	fresh.available = 1;
	replicas_roll(4, (struct rolling){ 1, 1 }, &fresh, &old, 1);
	assert_int_equal(old.want, 2);
}

static void old_pods_that_do_not_work_go_first(void **state)
{
	struct replica_set fresh = { .spec = 1, .available = 0 }, old[2] = { { .spec = 2, .available = 2 }, { .spec = 2, .available = 0 } };

	(void)state;
	replicas_roll(4, (struct rolling){ 1, 2 }, &fresh, old, 2);
	assert_int_equal(old[1].want, 0);
	assert_int_equal(old[0].want, 2);
}

static void scaling_amid_a_rollout_is_shared_out(void **state)
{
	struct replica_set sets[2] = { { .spec = 4, .max_before = 12 }, { .spec = 8, .max_before = 12 } };

	(void)state;
	replicas_spread(20, 2, sets, 2);
	assert_int_equal(sets[0].want + sets[1].want, 22);
	assert_true(sets[1].want > sets[0].want);
	replicas_spread(0, 0, sets, 2);
	assert_int_equal(sets[0].want + sets[1].want, 0);
}

static void the_least_missed_pod_is_chosen(void **state)
{
	struct pod_info unbound = { .name = "a", .node = "", .phase = POD_PENDING }, pending = { .name = "b", .node = "n", .phase = POD_PENDING };
	struct pod_info unready = { .name = "c", .node = "n", .phase = POD_RUNNING };
	struct pod_info young = { .name = "d", .node = "n", .phase = POD_RUNNING, .ready = true, .ready_ns = 20 };
	struct pod_info old = { .name = "e", .node = "n", .phase = POD_RUNNING, .ready = true, .ready_ns = 10 };
	const struct pod_info *pods[] = { &old, &young, &unready, &pending, &unbound };

	(void)state;
	replicas_choose(pods, 5);
	assert_ptr_equal(pods[0], &unbound);
	assert_ptr_equal(pods[1], &pending);
	assert_ptr_equal(pods[2], &unready);
	assert_ptr_equal(pods[3], &young);
	assert_ptr_equal(pods[4], &old);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resolves_counts_and_percentages), cmocka_unit_test(something_may_always_move),
		cmocka_unit_test(a_rollout_keeps_within_its_limits), cmocka_unit_test(a_rollout_waits_for_the_new_ones),
		cmocka_unit_test(old_pods_that_do_not_work_go_first), cmocka_unit_test(scaling_amid_a_rollout_is_shared_out),
		cmocka_unit_test(the_least_missed_pod_is_chosen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
