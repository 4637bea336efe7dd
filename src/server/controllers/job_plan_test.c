// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "server/controllers/cron_plan.h"
#include "server/controllers/job_plan.h"
#include "server/controllers/job_policy.h"

static struct pod_info running = { .name = "r", .node = "n", .phase = POD_RUNNING, .index = 1 };
static struct pod_info good = { .name = "g", .node = "n", .phase = POD_SUCCEEDED, .index = 0, .finished_ns = 5 * NS_PER_S };
static struct pod_info bad = { .name = "b", .node = "n", .phase = POD_FAILED, .index = 2, .finished_ns = 9 * NS_PER_S };

static void makes_as_many_as_are_left(void **state)
{
	const struct job_spec spec = { .parallelism = 3, .completions = 4, .backoff_limit = 6, .per_index = -1 };
	const struct pod_info *const pods[] = { &running, &good };
	struct job_plan p;

	(void)state;
	job_plan(&spec, NULL, 0, 0, 0, 0, &p);
	assert_int_equal(p.create, 3);
	job_plan(&spec, pods, 2, 1, 0, 0, &p);
	assert_int_equal(p.create, 2);
	job_plan(&spec, pods, 2, 3, 0, 0, &p);
	assert_int_equal(p.create, 0);
	job_plan(&spec, pods, 2, 4, 0, 0, &p);
	assert_int_equal(p.verdict, JOB_COMPLETE);
	assert_int_equal(p.remove, 1);
}

static void one_success_ends_a_work_queue(void **state)
{
	const struct job_spec spec = { .parallelism = 2, .completions = -1, .backoff_limit = 6, .per_index = -1 };
	const struct pod_info *const pods[] = { &running, &good };
	struct job_plan p;

	(void)state;
	job_plan(&spec, pods, 2, 1, 0, 0, &p);
	assert_true(p.verdict == JOB_GOES_ON && !p.create && !p.remove);
	job_plan(&spec, pods + 1, 1, 1, 0, 0, &p);
	assert_int_equal(p.verdict, JOB_COMPLETE);
}

static void failures_make_it_wait_and_end(void **state)
{
	struct job_spec spec = { .parallelism = 1, .completions = 1, .backoff_limit = 1, .per_index = -1 };
	const struct pod_info *const pods[] = { &good, &bad };
	struct job_plan p;

	(void)state;
	job_plan(&spec, pods + 1, 1, 0, 1, 0, &p);
	assert_int_equal(p.create, 1);
	assert_int_equal(p.not_before, 19 * NS_PER_S);
	job_plan(&spec, pods + 1, 1, 0, 2, 0, &p);
	assert_int_equal(p.verdict, JOB_TOO_MANY_FAILURES);
	spec.suspended = true;
	job_plan(&spec, NULL, 0, 0, 0, 0, &p);
	assert_int_equal(p.create, 0);
}

static void free_indexes_are_those_nobody_works_on(void **state)
{
	const struct job_spec spec = { .parallelism = 3, .completions = 5, .indexed = true, .per_index = -1 };
	const struct pod_info *const pods[] = { &running, &good, &bad };
	struct indexes done, lost;
	uint64_t next = UINT64_MAX;
	long out[5];

	(void)state;
	assert_int_equal(indexes_init(&done, 5, "0,4"), 0);
	assert_int_equal(indexes_init(&lost, 5, ""), 0);
	assert_int_equal(job_free_indexes(&spec, pods, 3, &done, &lost, 0, &next, out, 5), 2);
	assert_int_equal(out[0], 2);
	assert_int_equal(out[1], 3);
	assert_true(next == UINT64_MAX);
	assert_true(indexes_add(&lost, 2));
	assert_int_equal(job_free_indexes(&spec, pods, 3, &done, &lost, 0, &next, out, 5), 1);
	indexes_fini(&done);
	indexes_fini(&lost);
}

static void each_index_fails_for_itself(void **state)
{
	const struct job_spec spec = { .parallelism = 3, .completions = 3, .backoff_limit = 1000, .indexed = true, .per_index = 1, .max_lost = 1 };
	static struct pod_info second = { .name = "s", .phase = POD_FAILED, .index = 2, .index_failures = 1, .finished_ns = 40 * NS_PER_S };
	const struct pod_info *const pods[] = { &running, &good, &bad }, *const again[] = { &running, &good, &bad, &second };
	struct indexes done, lost;
	uint64_t next = UINT64_MAX;
	struct job_plan p;
	long out[3];

	(void)state;
	assert_int_equal(indexes_init(&done, 3, "0"), 0);
	assert_int_equal(indexes_init(&lost, 3, ""), 0);
	assert_int_equal(job_free_indexes(&spec, pods, 3, &done, &lost, 10 * NS_PER_S, &next, out, 3), 0);
	assert_int_equal(next, 19 * NS_PER_S);                  // 10 s after its first failure
	assert_int_equal(job_free_indexes(&spec, pods, 3, &done, &lost, 19 * NS_PER_S, &next, out, 3), 1);
	assert_int_equal(out[0], 2);
	next = UINT64_MAX;
	assert_int_equal(job_free_indexes(&spec, again, 4, &done, &lost, 41 * NS_PER_S, &next, out, 3), 0);
	assert_int_equal(next, 60 * NS_PER_S);                  // 20 s after the second
	assert_true(job_pod_is_memory(&spec, &bad, pods, 3));
	assert_false(job_pod_is_memory(&spec, &bad, again, 4));
	assert_true(job_pod_is_memory(&spec, &second, again, 4));
	job_plan(&spec, pods, 3, 1, 1, 0, &p);
	assert_true(p.create == 1 && !p.not_before);
	job_plan(&spec, pods, 3, 1, 2, 1, &p);
	assert_true(p.verdict == JOB_GOES_ON && !p.create);
	job_plan(&spec, pods, 3, 2, 2, 1, &p);
	assert_int_equal(p.verdict, JOB_ENDED_WITH_LOST);
	job_plan(&spec, pods, 3, 0, 4, 2, &p);
	assert_int_equal(p.verdict, JOB_TOO_MANY_LOST);
	indexes_fini(&done);
	indexes_fini(&lost);
}

static json_t *parse(const char *text)
{
	json_t *j = json_loads(text, 0, NULL);

	assert_non_null(j);
	return j;
}

static void rules_tell_what_a_failure_means(void **state)
{
	static const struct { const char *pod; enum job_action action; const char *why; } cases[] = {
		{ "{\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"terminated\":{\"exitCode\":42}}}]}", JOB_FAIL_JOB,
		  "Container c for pod ns/p failed with exit code 42 matching FailJob rule at index 0" },
		{ "{\"containerStatuses\":[{\"name\":\"d\",\"state\":{\"terminated\":{\"exitCode\":42}}}]}", JOB_FAIL_INDEX,
		  "Container d for pod ns/p failed with exit code 42 matching FailIndex rule at index 2" },
		{ "{\"initContainerStatuses\":[{\"name\":\"c\",\"state\":{\"terminated\":{\"exitCode\":43}}}]}", JOB_FAIL_JOB,
		  "Container c for pod ns/p failed with exit code 43 matching FailJob rule at index 0" },
		{ "{\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\"}]}", JOB_IGNORE,
		  "Pod ns/p has condition DisruptionTarget matching Ignore rule at index 1" },
		{ "{\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"False\"}]}", JOB_COUNT, "" },
		{ "{\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"terminated\":{\"exitCode\":1}}}]}", JOB_COUNT, "" },
		{ "{\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"terminated\":{\"exitCode\":0}}}]}", JOB_COUNT, "" },
	};
	json_t *policy = parse("{\"rules\":[{\"action\":\"FailJob\",\"onExitCodes\":{\"containerName\":\"c\",\"operator\":\"In\","
			       "\"values\":[42,43]}},{\"action\":\"Ignore\",\"onPodConditions\":[{\"type\":\"DisruptionTarget\"}]},"
			       "{\"action\":\"FailIndex\",\"onExitCodes\":{\"operator\":\"NotIn\",\"values\":[1,2]}}]}");

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *pod = json_pack("{s:{s:s,s:s},s:o}", "metadata", "namespace", "ns", "name", "p", "status", parse(cases[i].pod));
		char why[200] = "";
		assert_int_equal(job_failure_action(policy, pod, why, sizeof why), cases[i].action);
		assert_string_equal(why, cases[i].why);
		json_decref(pod);
	}
	json_decref(policy);
}

static void some_indexes_can_be_enough(void **state)
{
	json_t *policy = parse("{\"rules\":[{\"succeededIndexes\":\"0-1\"},{\"succeededCount\":4},{\"succeededIndexes\":\"5-9\","
			       "\"succeededCount\":2}]}");
	static const struct { const char *done; int rule; } cases[] = {
		{ "", -1 }, { "0,2-3", -1 }, { "0-1", 0 }, { "1-4", 1 }, { "5", -1 }, { "5,9", 2 }, { "0-9", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct indexes done;
		assert_int_equal(indexes_init(&done, 10, cases[i].done), 0);
		assert_int_equal(job_success_rule(policy, &done), cases[i].rule);
		assert_int_equal(job_success_rule(NULL, &done), -1);
		indexes_fini(&done);
	}
	json_decref(policy);
}

static void indexes_read_and_write(void **state)
{
	static const char *const texts[] = { "", "0", "0,1", "0-2", "1-3,5,7,8" };
	struct indexes x;

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct buf b = BUF_INIT;
		assert_int_equal(indexes_init(&x, 10, texts[i]), 0);
		assert_int_equal(indexes_text(&x, &b), 0);
		assert_string_equal(b.data, texts[i]);
		buf_fini(&b);
		indexes_fini(&x);
	}
	assert_int_equal(indexes_init(&x, 3, "1-99999999999,x,-4"), 0);
	assert_int_equal(x.size, 2);
	indexes_fini(&x);
	assert_true(indexes_init(&x, INDEXES_MAX + 1, "") < 0);
}

static void the_latest_missed_time_is_started(void **state)
{
	struct cron c;
	struct cron_plan p;

	(void)state;
	assert_int_equal(cron_parse("*/5 * * * *", &c, NULL), 0);
	cron_plan(&c, 60, -1, -1, 120, &p);
	assert_int_equal(p.time, -1);
	assert_int_equal(p.next, 300);
	cron_plan(&c, 60, -1, -1, 960, &p);
	assert_int_equal(p.time, 900);
	cron_plan(&c, 60, 900, -1, 960, &p);
	assert_int_equal(p.time, -1);
	cron_plan(&c, 60, 600, 30, 960, &p);      // missed by a minute, 30 s allowed
	assert_int_equal(p.time, -1);
	cron_plan(&c, 60, 600, 60, 960, &p);
	assert_int_equal(p.time, 900);
	cron_plan(&c, 0, -1, -1, 300 * 200, &p);
	assert_true(p.too_many);
	assert_int_equal(p.time, 300 * 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_as_many_as_are_left), cmocka_unit_test(one_success_ends_a_work_queue),
		cmocka_unit_test(failures_make_it_wait_and_end), cmocka_unit_test(free_indexes_are_those_nobody_works_on),
		cmocka_unit_test(each_index_fails_for_itself), cmocka_unit_test(rules_tell_what_a_failure_means),
		cmocka_unit_test(some_indexes_can_be_enough), cmocka_unit_test(indexes_read_and_write), cmocka_unit_test(the_latest_missed_time_is_started),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
