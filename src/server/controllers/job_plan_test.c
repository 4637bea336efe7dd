// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "server/controllers/cron_plan.h"
#include "server/controllers/job_plan.h"

static struct pod_info running = { .name = "r", .node = "n", .phase = POD_RUNNING, .index = 1 };
static struct pod_info good = { .name = "g", .node = "n", .phase = POD_SUCCEEDED, .index = 0, .finished_ns = 5 * NS_PER_S };
static struct pod_info bad = { .name = "b", .node = "n", .phase = POD_FAILED, .index = 2, .finished_ns = 9 * NS_PER_S };

static void makes_as_many_as_are_left(void **state)
{
	const struct job_spec spec = { .parallelism = 3, .completions = 4, .backoff_limit = 6 };
	const struct pod_info *const pods[] = { &running, &good };
	struct job_plan p;

	(void)state;
	job_plan(&spec, NULL, 0, 0, 0, &p);
	assert_int_equal(p.create, 3);
	job_plan(&spec, pods, 2, 1, 0, &p);
	assert_int_equal(p.create, 2);
	job_plan(&spec, pods, 2, 3, 0, &p);
	assert_int_equal(p.create, 0);
	job_plan(&spec, pods, 2, 4, 0, &p);
	assert_int_equal(p.verdict, JOB_COMPLETE);
	assert_int_equal(p.remove, 1);
}

static void one_success_ends_a_work_queue(void **state)
{
	const struct job_spec spec = { .parallelism = 2, .completions = -1, .backoff_limit = 6 };
	const struct pod_info *const pods[] = { &running, &good };
	struct job_plan p;

	(void)state;
	job_plan(&spec, pods, 2, 1, 0, &p);
	assert_true(p.verdict == JOB_GOES_ON && !p.create && !p.remove);
	job_plan(&spec, pods + 1, 1, 1, 0, &p);
	assert_int_equal(p.verdict, JOB_COMPLETE);
}

static void failures_make_it_wait_and_end(void **state)
{
	struct job_spec spec = { .parallelism = 1, .completions = 1, .backoff_limit = 1 };
	const struct pod_info *const pods[] = { &good, &bad };
	struct job_plan p;

	(void)state;
	job_plan(&spec, pods + 1, 1, 0, 1, &p);
	assert_int_equal(p.create, 1);
	assert_int_equal(p.not_before, 19 * NS_PER_S);
	job_plan(&spec, pods + 1, 1, 0, 2, &p);
	assert_int_equal(p.verdict, JOB_TOO_MANY_FAILURES);
	spec.suspended = true;
	job_plan(&spec, NULL, 0, 0, 0, &p);
	assert_int_equal(p.create, 0);
}

static void free_indexes_are_those_nobody_works_on(void **state)
{
	const struct job_spec spec = { .parallelism = 3, .completions = 5, .indexed = true };
	const struct pod_info *const pods[] = { &running, &good, &bad };
	struct indexes done;
	long out[5];

	(void)state;
	assert_int_equal(indexes_init(&done, 5, "0,4"), 0);
	assert_int_equal(job_free_indexes(&spec, pods, 3, &done, out, 5), 2);
	assert_int_equal(out[0], 2);
	assert_int_equal(out[1], 3);
	indexes_fini(&done);
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
		cmocka_unit_test(indexes_read_and_write), cmocka_unit_test(the_latest_missed_time_is_started),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
