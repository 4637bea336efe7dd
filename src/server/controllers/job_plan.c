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
			      long long failed, long long lost, long long active)
{
	long long restarts = 0;

	for (size_t i = 0; i < n && spec->restarts; i++)
		if (pod_is_active(pods[i]))
			restarts += pods[i]->restarts;
	if (failed > spec->backoff_limit || (restarts && restarts >= (spec->backoff_limit ? spec->backoff_limit : 1)))
		return JOB_TOO_MANY_FAILURES;
	if (spec->per_index >= 0 && spec->max_lost >= 0 && lost > spec->max_lost)
		return JOB_TOO_MANY_LOST;
	if (lost && succeeded + lost >= spec->completions)
		return JOB_ENDED_WITH_LOST;
	if (spec->completions < 0 ? succeeded > 0 && !active : succeeded >= spec->completions)
		return JOB_COMPLETE;
	return JOB_GOES_ON;
}

static uint64_t wait_after(unsigned long failures)
{
	uint64_t wait = BACKOFF_NS;

	while (failures-- > 1 && wait < BACKOFF_MAX_NS)
		wait *= 2;
	return wait > BACKOFF_MAX_NS ? BACKOFF_MAX_NS : wait;
}

/* Failures since the last success make the next pod wait, twice as long each time. */
static uint64_t back_off(const struct pod_info *const *pods, size_t n)
{
	uint64_t success = 0, last = 0;
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
	return last + wait_after(failures);
}

void job_plan(const struct job_spec *spec, const struct pod_info *const *pods, size_t n, long long succeeded, long long failed,
	      long long lost, struct job_plan *plan)
{
	long long want = spec->parallelism, left = spec->completions - succeeded - lost;

	*plan = (struct job_plan){ .verdict = JOB_GOES_ON };
	count(pods, n, plan);
	plan->verdict = judge(spec, pods, n, succeeded, failed, lost, plan->active);
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
	if (plan->create && spec->per_index < 0)
		plan->not_before = back_off(pods, n);
}

bool job_pod_is_memory(const struct job_spec *spec, const struct pod_info *p, const struct pod_info *const *pods, size_t n)
{
	if (spec->per_index < 0 || !job_pod_failed(spec, p))
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct pod_info *q = pods[i];
		if (q != p && q->index == p->index &&
		    (!job_pod_failed(spec, q) || q->index_failures > p->index_failures || q->created_ns > p->created_ns))
			return false;
	}
	return true;
}

/* Indexes that have to wait, each for its own failures, are taken until then. */
static void take_waiting(const struct job_spec *spec, const struct pod_info *const *pods, size_t n, const struct indexes *done,
			 const struct indexes *lost, uint64_t now, uint64_t *next, struct indexes *taken)
{
	for (size_t i = 0; i < n && spec->per_index >= 0; i++) {
		const struct pod_info *p = pods[i];
		uint64_t until = p->finished_ns + wait_after((unsigned long)p->index_failures + 1);
		if (!job_pod_failed(spec, p) || until <= now || indexes_has(done, p->index) || indexes_has(lost, p->index))
			continue;
		if (indexes_add(taken, p->index) && until < *next)
			*next = until;
	}
}

size_t job_free_indexes(const struct job_spec *spec, const struct pod_info *const *pods, size_t n, const struct indexes *done,
			const struct indexes *lost, uint64_t now, uint64_t *next, long *out, size_t max)
{
	struct indexes taken;
	size_t found = 0;

	if (indexes_init(&taken, done->count, ""))
		return 0;
	for (size_t i = 0; i < n; i++)
		if (pod_is_active(pods[i]) || (spec->waits_for_end && !pod_is_over(pods[i])))
			indexes_add(&taken, pods[i]->index);
	take_waiting(spec, pods, n, done, lost, now, next, &taken);
	for (long i = 0; i < done->count && found < max; i++)
		if (!indexes_has(done, i) && !indexes_has(lost, i) && !indexes_has(&taken, i))
			out[found++] = i;
	indexes_fini(&taken);
	return found;
}
