// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/job_plan.h"

#include "base/clock.h"

#define BACKOFF_NS (10 * NS_PER_S)
#define BACKOFF_MAX_NS (600 * NS_PER_S)

static void count(const struct pod_info *const *pods, size_t n, struct job_plan *plan)
{
	for (size_t i = 0; i < n; i++) {
		plan->active += pod_is_active(pods[i]);
		plan->ready += pod_is_active(pods[i]) && pods[i]->ready;
		plan->terminating += pods[i]->deleting && !pod_is_over(pods[i]);
	}
}

static enum job_verdict judge(const struct job_spec *spec, const struct pod_info *const *pods, size_t n, long long succeeded,
			      long long failed, long long active)
{
	long long restarts = 0;

	for (size_t i = 0; i < n && spec->restarts; i++)
		if (pod_is_active(pods[i]))
			restarts += pods[i]->restarts;
	if (failed > spec->backoff_limit || (restarts && restarts >= (spec->backoff_limit ? spec->backoff_limit : 1)))
		return JOB_TOO_MANY_FAILURES;
	if (spec->completions < 0 ? succeeded > 0 && !active : succeeded >= spec->completions)
		return JOB_COMPLETE;
	return JOB_GOES_ON;
}

/* Failures since the last success make the next pod wait, twice as long each time. */
static uint64_t back_off(const struct pod_info *const *pods, size_t n)
{
	uint64_t success = 0, last = 0, wait = BACKOFF_NS;
	unsigned failures = 0;

	for (size_t i = 0; i < n; i++)
		if (pods[i]->phase == POD_SUCCEEDED && pods[i]->finished_ns > success)
			success = pods[i]->finished_ns;
	for (size_t i = 0; i < n; i++) {
		if (pods[i]->phase != POD_FAILED || pods[i]->finished_ns <= success)
			continue;
		failures++;
		if (pods[i]->finished_ns > last)
			last = pods[i]->finished_ns;
	}
	if (!failures)
		return 0;
	while (--failures && wait < BACKOFF_MAX_NS)
		wait *= 2;
	return last + (wait > BACKOFF_MAX_NS ? BACKOFF_MAX_NS : wait);
}

void job_plan(const struct job_spec *spec, const struct pod_info *const *pods, size_t n, long long succeeded, long long failed,
	      struct job_plan *plan)
{
	long long want = spec->parallelism, left = spec->completions - succeeded;

	*plan = (struct job_plan){ .verdict = JOB_GOES_ON };
	count(pods, n, plan);
	plan->verdict = judge(spec, pods, n, succeeded, failed, plan->active);
	if (plan->verdict != JOB_GOES_ON || spec->suspended) {
		plan->remove = plan->active;
		return;
	}
	if (spec->completions < 0)
		want = succeeded ? (plan->active < want ? plan->active : want) : want;
	else if (left < want)
		want = left;
	if (plan->active > want)
		plan->remove = plan->active - want;
	else
		plan->create = want - plan->active - (spec->waits_for_end ? plan->terminating : 0);
	if (plan->create < 0)
		plan->create = 0;
	if (plan->create)
		plan->not_before = back_off(pods, n);
}

size_t job_free_indexes(const struct job_spec *spec, const struct pod_info *const *pods, size_t n, const struct indexes *done,
			long *out, size_t max)
{
	struct indexes taken;
	size_t found = 0;

	if (indexes_init(&taken, done->count, ""))
		return 0;
	for (size_t i = 0; i < n; i++)
		if (pod_is_active(pods[i]) || (spec->waits_for_end && !pod_is_over(pods[i])))
			indexes_add(&taken, pods[i]->index);
	for (long i = 0; i < done->count && found < max; i++)
		if (!indexes_has(done, i) && !indexes_has(&taken, i))
			out[found++] = i;
	indexes_fini(&taken);
	return found;
}
