// SPDX-License-Identifier: Apache-2.0
// Jobs: pods that run to an end. Each pod holds a finalizer until its end is counted in the status, so that none is counted
// twice or forgotten, whoever deletes it: the status first names the pods that it has counted, then they lose the
// finalizer, then the status forgets their names.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/controllers/job_plan.h"
#include "server/controllers/job_pod.h"
#include "server/controllers/job_policy.h"
#include "server/controllers/propagation.h"
#include "server/controllers/replicas.h"
#include "server/controllers/syncer.h"
#include "server/meta.h"
#include "server/registry.h"

#define BURST 500
#define COUNTED_MAX 500     // names of pods in the status at a time

struct job {
	struct syncer *s;
	json_t *job, *status;              // status: the next one
	struct job_spec spec;
	const struct pod_info **pods;
	struct obj **objs;                 // the same pods
	size_t n;
	struct indexes done, lost;         // lost: those that failed too often
	char fatal[512];                   // why a pod's failure is the job's, by the policy
	long long succeeded, failed;
	struct job_plan plan;
	uint64_t now, next;
};

static bool is_true(const json_t *status, const char *type)
{
	return !strcmp(jpath_str(status_condition_find(status, type), "status", ""), "True");
}

static bool is_finished(const json_t *status)
{
	return is_true(status, "Complete") || is_true(status, "Failed");
}

static void wake_at(struct job *j, uint64_t at)
{
	if (at < j->next)
		j->next = at;
}

/* --- counting --- */

static bool is_counted(const json_t *status, const char *uid)
{
	static const char *const lists[] = { "uncountedTerminatedPods.succeeded", "uncountedTerminatedPods.failed" };
	json_t *v;
	size_t i;

	for (int k = 0; k < 2; k++)
		json_array_foreach(jpath_get(status, lists[k]), i, v)
			if (!strcmp(json_string_value(v), uid))
				return true;
	return false;
}

static void note_counted(json_t *status, const char *list, const char *uid)
{
	char path[64];

	snprintf(path, sizeof path, "uncountedTerminatedPods.%s", list);
	if (!json_is_array(jpath_get(status, path)))
		jpath_set(status, path, json_array());
	json_array_append_new(jpath_get(status, path), json_string(uid));
}

/* Names of pods that have lost their finalizer need not be remembered. */
static void forget_counted(struct job *j, const char *list)
{
	json_t *all = jpath_get(json_object_get(j->status, "uncountedTerminatedPods"), list);

	for (size_t i = json_array_size(all); i-- > 0;) {
		const char *uid = json_string_value(json_array_get(all, i));
		bool tracked = false;
		for (size_t k = 0; k < j->n && !tracked; k++)
			tracked = j->pods[k]->tracked && !strcmp(j->pods[k]->uid, uid);
		if (!tracked)
			json_array_remove(all, i);
	}
	if (all && !json_array_size(all))
		json_object_del(json_object_get(j->status, "uncountedTerminatedPods"), list);
}

static enum job_action action_of(struct job *j, size_t i, char *why, size_t size)
{
	const json_t *policy = jpath_get(j->job, "spec.podFailurePolicy");
	own_json json_t *pod = policy && j->pods[i]->phase == POD_FAILED ? obj_json(j->objs[i]) : NULL;

	return pod ? job_failure_action(policy, pod, why, size) : JOB_COUNT;
}

static void count_failure(struct job *j, size_t i)
{
	const struct pod_info *p = j->pods[i];
	char why[sizeof j->fatal] = "";

	switch (action_of(j, i, why, sizeof why)) {
	case JOB_IGNORE:
		return;
	case JOB_FAIL_JOB:
		if (!*j->fatal)
			strcpy(j->fatal, why);
		break;
	case JOB_FAIL_INDEX:
		indexes_add(&j->lost, p->index);
		break;
	case JOB_COUNT:
		if (j->spec.per_index >= 0 && p->index_failures >= j->spec.per_index)
			indexes_add(&j->lost, p->index);
	}
	j->failed++;
}

static void count_pod(struct job *j, size_t i)
{
	const struct pod_info *p = j->pods[i];

	if (job_pod_succeeded(p)) {
		if (!j->spec.indexed)
			j->succeeded++;
		else
			indexes_add(&j->done, p->index);
		note_counted(j->status, "succeeded", p->uid);
		return;
	}
	// Who is stopped because the job is suspended has not failed.
	if (p->phase == POD_FAILED || !j->spec.suspended)
		count_failure(j, i);
	note_counted(j->status, "failed", p->uid);
}

static void count_pods(struct job *j)
{
	int room = COUNTED_MAX;

	forget_counted(j, "succeeded");
	forget_counted(j, "failed");
	for (size_t i = 0; i < j->n && room; i++) {
		const struct pod_info *p = j->pods[i];
		if (!p->tracked || !(job_pod_succeeded(p) || job_pod_failed(&j->spec, p)) || is_counted(j->status, p->uid))
			continue;
		count_pod(j, i);
		room--;
	}
	if (j->spec.indexed)
		j->succeeded = j->done.size;
	if (!json_object_get(j->status, "uncountedTerminatedPods"))
		json_object_set_new(j->status, "uncountedTerminatedPods", json_object());
}

static bool drop_finalizer(json_t *pod, void *user)
{
	(void)user;
	return finalizer_remove(pod, JOB_FINALIZER);
}

static bool is_memory(const struct job *j, const struct pod_info *p)
{
	return !indexes_has(&j->done, p->index) && !indexes_has(&j->lost, p->index) && job_pod_is_memory(&j->spec, p, j->pods, j->n);
}

/* The status is stored: those it names, and all when the job is over, are let go. */
static int let_go(struct job *j, bool all)
{
	int r = 0;

	for (size_t i = 0; i < j->n && !r; i++)
		if (j->pods[i]->tracked && (all || (is_counted(j->status, j->pods[i]->uid) && !is_memory(j, j->pods[i]))))
			r = change_object(j->s->srv, j->s->child_kind, jpath_str(j->job, "metadata.namespace", ""), j->pods[i]->name, "",
					  drop_finalizer, NULL, NULL);
	return r == -ENOENT ? 0 : r;
}

/* --- pods --- */

/* How often an index has failed, by its pods. */
static long failures_of(struct job *j, long index)
{
	long most = 0;
	char why[512];

	for (size_t i = 0; i < j->n; i++) {
		const struct pod_info *p = j->pods[i];
		if (p->index != index || !job_pod_failed(&j->spec, p))
			continue;
		long n = p->index_failures + (action_of(j, i, why, sizeof why) != JOB_IGNORE);
		most = n > most ? n : most;
	}
	return most;
}

static int create_pods(struct job *j)
{
	size_t want = (size_t)(j->plan.create < BURST ? j->plan.create : BURST);
	long *indexes = calloc(want + 1, sizeof *indexes);
	int r = indexes ? 0 : -ENOMEM;

	if (!r && j->spec.indexed)
		want = job_free_indexes(&j->spec, j->pods, j->n, &j->done, &j->lost, j->now, &j->next, indexes, want);
	for (size_t i = 0; i < want && !r; i++) {
		long failures = j->spec.per_index >= 0 ? failures_of(j, indexes[i]) : -1;
		own_json json_t *pod = job_pod(j->job, j->spec.indexed ? indexes[i] : -1, failures);
		r = syncer_create_pod(j->s, j->job, pod, NULL);
		j->plan.active += !r;
	}
	free(indexes);
	return r;
}

static int delete_pods(struct job *j, long long most)
{
	const struct pod_info **active = calloc(j->n + 1, sizeof *active);
	size_t n = 0;
	int r = active ? 0 : -ENOMEM;

	for (size_t i = 0; i < j->n && !r; i++)
		if (pod_is_active(j->pods[i]))
			active[n++] = j->pods[i];
	if (!r)
		replicas_choose(active, n);
	for (size_t i = 0; i < n && (long long)i < most && !r; i++)
		r = syncer_delete_pod(j->s, j->job, active[i], NULL);
	free(active);
	return r;
}

static int manage(struct job *j)
{
	if (j->plan.remove)
		return delete_pods(j, j->plan.remove);
	if (!j->plan.create)
		return 0;
	if (j->plan.not_before > j->now) {
		wake_at(j, j->plan.not_before);
		return 0;
	}
	return create_pods(j);
}

/* --- conditions --- */

static void put_suspended(struct job *j)
{
	bool was = is_true(j->status, "Suspended");
	char now[40];

	if (j->spec.suspended && !was) {
		status_condition(j->status, "Suspended", "True", "JobSuspended", "Job suspended", false);
		json_object_del(j->status, "startTime");
		syncer_event(j->s, j->job, "Normal", "Suspended", "Job suspended");
	} else if (!j->spec.suspended && was) {
		status_condition(j->status, "Suspended", "False", "JobResumed", "Job resumed", false);
		syncer_event(j->s, j->job, "Normal", "Resumed", "Job resumed");
	}
	if (!j->spec.suspended && !json_object_get(j->status, "startTime"))
		json_object_set_new(j->status, "startTime", json_string(meta_now(now)));
}

static bool past_deadline(struct job *j)
{
	long long seconds = jpath_int(j->job, "spec.activeDeadlineSeconds", -1);
	uint64_t start;

	if (seconds < 0 || clock_parse(jpath_str(j->status, "startTime", ""), &start))
		return false;
	if (j->now >= start + (uint64_t)seconds * NS_PER_S)
		return true;
	wake_at(j, start + (uint64_t)seconds * NS_PER_S);
	return false;
}

static void put_verdict(struct job *j, const char *type, const char *reason, const char *message)
{
	status_condition(j->status, type, "True", reason, message, false);
}

static void judge(struct job *j)
{
	int rule = j->spec.indexed ? job_success_rule(jpath_get(j->job, "spec.successPolicy"), &j->done) : -1;
	char text[64];

	if (is_true(j->status, "FailureTarget") || is_true(j->status, "SuccessCriteriaMet"))
		return;
	if (*j->fatal)
		put_verdict(j, "FailureTarget", "PodFailurePolicy", j->fatal);
	else if (j->plan.verdict == JOB_TOO_MANY_FAILURES)
		put_verdict(j, "FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit");
	else if (past_deadline(j))
		put_verdict(j, "FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline");
	else if (j->plan.verdict == JOB_TOO_MANY_LOST)
		put_verdict(j, "FailureTarget", "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes");
	else if (rule >= 0 && snprintf(text, sizeof text, "Matched rules at index %d", rule) > 0)
		put_verdict(j, "SuccessCriteriaMet", "SuccessPolicy", text);
	else if (j->plan.verdict == JOB_ENDED_WITH_LOST)
		put_verdict(j, "FailureTarget", "FailedIndexes", "Job has failed indexes");
	else if (j->plan.verdict == JOB_COMPLETE)
		put_verdict(j, "SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods");
}

/* The verdict is given; it is final when no pod is left that runs. */
static void finish(struct job *j)
{
	bool failed = is_true(j->status, "FailureTarget");
	const json_t *why = status_condition_find(j->status, failed ? "FailureTarget" : "SuccessCriteriaMet");
	char now[40];

	if (!why || j->plan.active || j->plan.terminating)
		return;
	status_condition(j->status, failed ? "Failed" : "Complete", "True", jpath_str(why, "reason", ""), jpath_str(why, "message", ""), false);
	if (failed) {
		syncer_event(j->s, j->job, "Warning", jpath_str(why, "reason", ""), "%s", jpath_str(why, "message", ""));
		return;
	}
	json_object_set_new(j->status, "completionTime", json_string(meta_now(now)));
	syncer_event(j->s, j->job, "Normal", "Completed", "Job completed");
}

/* --- status --- */

static void put_count(json_t *status, const char *key, long long n)
{
	if (n)
		json_object_set_new(status, key, json_integer(n));
	else
		json_object_del(status, key);
}

static int put_status(struct job *j)
{
	own_buf struct buf text = BUF_INIT, lost = BUF_INIT;

	put_count(j->status, "active", j->plan.active);
	put_count(j->status, "succeeded", j->succeeded);
	put_count(j->status, "failed", j->failed);
	json_object_set_new(j->status, "ready", json_integer(j->plan.ready));
	json_object_set_new(j->status, "terminating", json_integer(j->plan.terminating));
	if (j->spec.indexed && !indexes_text(&j->done, &text) && text.len)
		json_object_set_new(j->status, "completedIndexes", json_string(text.data));
	if (j->spec.per_index >= 0 && !indexes_text(&j->lost, &lost))
		json_object_set_new(j->status, "failedIndexes", json_string(lost.data ? lost.data : ""));
	return syncer_set_status(j->s, j->job, j->status);
}

/* --- sync --- */

static int job_open(struct job *j, struct syncer *s, json_t *job, struct child *children, uint64_t now)
{
	json_t *old = json_object_get(job, "status");

	*j = (struct job){ .s = s, .job = job, .now = now, .next = LOOP_NEVER };
	j->status = old ? json_deep_copy(old) : json_object();
	j->spec = (struct job_spec){
		.parallelism = jpath_int(job, "spec.parallelism", 1), .completions = jpath_int(job, "spec.completions", -1),
		.backoff_limit = jpath_int(job, "spec.backoffLimit", 6), .suspended = jpath_bool(job, "spec.suspend", false),
		.indexed = !strcmp(jpath_str(job, "spec.completionMode", ""), "Indexed"),
		.restarts = !strcmp(jpath_str(job, "spec.template.spec.restartPolicy", ""), "OnFailure"),
		.per_index = jpath_int(job, "spec.backoffLimitPerIndex", -1), .max_lost = jpath_int(job, "spec.maxFailedIndexes", -1),
		.waits_for_end = !strcmp(jpath_str(job, "spec.podReplacementPolicy", ""), "Failed"),
	};
	for (struct child *c = children; c; c = c->next)
		j->n++;
	j->pods = calloc(j->n + 1, sizeof *j->pods);
	j->objs = calloc(j->n + 1, sizeof *j->objs);
	if (!j->pods || !j->objs || !j->status)
		return -ENOMEM;
	j->n = 0;
	for (struct child *c = children; c; c = c->next) {
		j->objs[j->n] = c->obj;
		j->pods[j->n++] = &c->pod;
	}
	j->succeeded = jpath_int(j->status, "succeeded", 0);
	j->failed = jpath_int(j->status, "failed", 0);
	if (!j->spec.indexed)
		return 0;
	int r = indexes_init(&j->lost, j->spec.completions, jpath_str(j->status, "failedIndexes", ""));
	return r ? r : indexes_init(&j->done, j->spec.completions, jpath_str(j->status, "completedIndexes", ""));
}

static void job_close(struct job *j)
{
	indexes_fini(&j->done);
	indexes_fini(&j->lost);
	free(j->pods);
	free(j->objs);
	json_decref(j->status);
}

/* Over: nothing but its end is left to do. */
static int tidy(struct job *j)
{
	long long ttl = jpath_int(j->job, "spec.ttlSecondsAfterFinished", -1);
	const json_t *c = status_condition_find(j->status, is_true(j->status, "Complete") ? "Complete" : "Failed");
	uint64_t at;
	int r = let_go(j, true);

	forget_counted(j, "succeeded");
	forget_counted(j, "failed");
	if (!r)
		r = syncer_set_status(j->s, j->job, j->status);
	if (r || ttl < 0 || meta_is_deleting(j->job) || clock_parse(jpath_str(c, "lastTransitionTime", ""), &at))
		return r;
	at += (uint64_t)ttl * NS_PER_S;
	if (at > j->now) {
		wake_at(j, at);
		return 0;
	}
	r = delete_object_and(j->s->srv, j->s->kind, jpath_str(j->job, "metadata.namespace", ""), jpath_str(j->job, "metadata.name", ""),
			      jpath_str(j->job, "metadata.uid", ""), "Foreground", NULL);
	return r == -ENOENT ? 0 : r;
}

static int run(struct job *j)
{
	int r;

	if (is_finished(j->status))
		return tidy(j);
	if (meta_is_deleting(j->job))
		return let_go(j, true);
	put_suspended(j);
	count_pods(j);
	job_plan(&j->spec, j->pods, j->n, j->succeeded, j->failed, j->lost.size, &j->plan);
	judge(j);
	if (is_true(j->status, "FailureTarget") || is_true(j->status, "SuccessCriteriaMet"))
		r = delete_pods(j, j->plan.active);
	else
		r = manage(j);
	finish(j);
	if (put_status(j))
		return -EAGAIN;
	if (let_go(j, false))
		return -EAGAIN;
	return r;
}

static uint64_t sync_one(struct syncer *s, json_t *job, struct child *children, uint64_t now)
{
	const char *manager = jpath_str(job, "spec.managedBy", "");
	struct job j;

	if (*manager && strcmp(manager, "kubernetes.io/job-controller"))
		return LOOP_NEVER;     // somebody else's
	int r = job_open(&j, s, job, children, now);
	uint64_t next;

	if (!r)
		r = run(&j);
	next = j.next;
	job_close(&j);
	return r ? SYNC_RETRY : next;
}

static const struct sync_ops ops = {
	.component = "job-controller", .group = "batch", .version = "v1", .plural = "jobs", .kind = "Job",
	.child_group = "", .child_version = "v1", .child_plural = "pods", .takes_orphans = true, .sync = sync_one,
};

static int open_jobs(struct server *srv, void **unit, struct err *e)
{
	return syncer_new(srv, &ops, unit, e);
}

static const struct unit_source sources[] = {
	{ "batch", "v1", "jobs", syncer_owner_changed, NULL },
	{ "", "v1", "pods", syncer_child_changed, syncer_children_reset },
	{ .plural = NULL },
};

const struct unit_ops job_unit = {
	.name = "jobs", .sources = sources, .open = open_jobs, .work = syncer_work, .close = syncer_close,
};
