// SPDX-License-Identifier: Apache-2.0
// CronJobs: a Job at each time that the schedule names; old ones go.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/cron.h"
#include "k8s/zone.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/controllers/cron_plan.h"
#include "server/controllers/owner.h"
#include "server/controllers/syncer.h"
#include "server/meta.h"
#include "server/registry.h"

struct cronjob {
	struct syncer *s;
	json_t *cj, *status;
	json_t *jobs;              // array: its Jobs
	uint64_t now, next;
};

static bool has_condition(const json_t *job, const char *type)
{
	return !strcmp(jpath_str(status_condition_find(json_object_get(job, "status"), type), "status", ""), "True");
}

static bool is_finished(const json_t *job)
{
	return has_condition(job, "Complete") || has_condition(job, "Failed");
}

static const struct k8s_kind *job_kind(void)
{
	return k8s_kind_find("batch", "v1", "jobs");
}

static int delete_job(struct cronjob *c, const json_t *job)
{
	const char *name = jpath_str(job, "metadata.name", "");
	int r = delete_object_and(c->s->srv, job_kind(), jpath_str(job, "metadata.namespace", ""), name, jpath_str(job, "metadata.uid", ""),
				  "Background", NULL);

	if (!r)
		syncer_event(c->s, c->cj, "Normal", "SuccessfulDelete", "Deleted job %s", name);
	return r == -ENOENT || r == -ESTALE ? 0 : r;
}

/* --- what is there --- */

static json_t *reference(const json_t *job)
{
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "apiVersion", "batch/v1", "kind", "Job", "name", jpath_str(job, "metadata.name", ""),
			 "namespace", jpath_str(job, "metadata.namespace", ""), "uid", jpath_str(job, "metadata.uid", ""),
			 "resourceVersion", jpath_str(job, "metadata.resourceVersion", ""));
}

static bool was_active(const struct cronjob *c, const char *uid)
{
	json_t *v;
	size_t i;

	json_array_foreach(jpath_get(c->cj, "status.active"), i, v)
		if (!strcmp(jpath_str(v, "uid", ""), uid))
			return true;
	return false;
}

static void note_success(struct cronjob *c, const json_t *job)
{
	const char *done = jpath_str(job, "status.completionTime", "");

	if (strcmp(done, jpath_str(c->status, "lastSuccessfulTime", "")) > 0)
		json_object_set_new(c->status, "lastSuccessfulTime", json_string(done));
}

static void note_jobs(struct cronjob *c)
{
	json_t *active = json_array(), *job;
	size_t i;

	json_array_foreach(c->jobs, i, job) {
		if (!is_finished(job)) {
			if (!meta_is_deleting(job))
				json_array_append_new(active, reference(job));
			continue;
		}
		if (has_condition(job, "Complete"))
			note_success(c, job);
		if (was_active(c, jpath_str(job, "metadata.uid", "")))
			syncer_event(c->s, c->cj, "Normal", "SawCompletedJob", "Saw completed job: %s, condition: %s",
				     jpath_str(job, "metadata.name", ""), has_condition(job, "Complete") ? "Complete" : "Failed");
	}
	if (json_array_size(active))
		json_object_set(c->status, "active", active);
	else
		json_object_del(c->status, "active");
	json_decref(active);
}

static const char *start_of(const json_t *job)
{
	return jpath_str(job, "status.startTime", jpath_str(job, "metadata.creationTimestamp", ""));
}

/* Finished Jobs beyond the limit, oldest first. */
static int drop_finished(struct cronjob *c, const char *type, long long keep)
{
	long long have = 0;
	json_t *job;
	size_t i;
	int r = 0;

	json_array_foreach(c->jobs, i, job)
		have += has_condition(job, type) && !meta_is_deleting(job);
	for (; have > keep && !r; have--) {
		json_t *oldest = NULL;
		json_array_foreach(c->jobs, i, job)
			if (has_condition(job, type) && !meta_is_deleting(job) && !json_object_get(job, "dropped") &&
			    (!oldest || strcmp(start_of(job), start_of(oldest)) < 0))
				oldest = job;
		if (!oldest)
			break;
		json_object_set_new(oldest, "dropped", json_true());
		r = delete_job(c, oldest);
	}
	return r;
}

/* --- a new Job --- */

static json_t *make_job(const struct cronjob *c, const struct cron_plan *p)
{
	json_t *job = json_pack("{s:s,s:s,s:{}}", "apiVersion", "batch/v1", "kind", "Job", "metadata"), *part;
	static const char *const copied[] = { "labels", "annotations" };
	char name[300], when[CLOCK_TEXT_MAX];

	snprintf(name, sizeof name, "%s-%lld", jpath_str(c->cj, "metadata.name", ""), p->time / 60);
	jpath_set(job, "metadata.name", json_string(name));
	for (int i = 0; i < 2; i++) {
		part = json_object_get(jpath_get(c->cj, "spec.jobTemplate.metadata"), copied[i]);
		if (part)
			json_object_set_new(json_object_get(job, "metadata"), copied[i], json_deep_copy(part));
	}
	if (!jpath_get(job, "metadata.annotations"))
		jpath_set(job, "metadata.annotations", json_object());
	json_object_set_new(jpath_get(job, "metadata.annotations"), "batch.kubernetes.io/cronjob-scheduled-timestamp",
			    json_string(clock_text((uint64_t)p->time * NS_PER_S, 0, when)));
	part = jpath_get(c->cj, "spec.jobTemplate.spec");
	json_object_set_new(job, "spec", part ? json_deep_copy(part) : json_object());
	owner_add(job, c->cj);
	return job;
}

static int start_job(struct cronjob *c, const struct cron_plan *p)
{
	own_json json_t *job = make_job(c, p);
	own_obj struct obj *made = NULL;
	own_json json_t *stored = NULL;
	struct err e = ERR_INIT;
	char when[CLOCK_TEXT_MAX];
	int r = create_object_out(c->s->srv, job_kind(), jpath_str(c->cj, "metadata.namespace", ""), job, &made, &e);

	if (r && r != -EEXIST) {
		syncer_event(c->s, c->cj, "Warning", "FailedCreate", "Error creating job: %s", e.text);
		return r;
	}
	json_object_set_new(c->status, "lastScheduleTime", json_string(clock_text((uint64_t)p->time * NS_PER_S, 0, when)));
	if (r)
		return 0;             // made before, by us
	syncer_event(c->s, c->cj, "Normal", "SuccessfulCreate", "Created job %s", jpath_str(job, "metadata.name", ""));
	stored = obj_json(made);
	if (!json_is_array(json_object_get(c->status, "active")))
		json_object_set_new(c->status, "active", json_array());
	return json_array_append_new(json_object_get(c->status, "active"), reference(stored)) ? -ENOMEM : 0;
}

static int replace_active(struct cronjob *c)
{
	json_t *job;
	size_t i;
	int r = 0;

	json_array_foreach(c->jobs, i, job)
		if (!is_finished(job) && !meta_is_deleting(job) && !r)
			r = delete_job(c, job);
	if (!r)
		json_object_del(c->status, "active");
	return r;
}

/* --- the schedule --- */

static long long seconds_of(const json_t *obj, const char *path)
{
	uint64_t ns;

	return clock_parse(jpath_str(obj, path, ""), &ns) ? -1 : (long long)(ns / NS_PER_S);
}

static int run_schedule(struct cronjob *c)
{
	const char *policy = jpath_str(c->cj, "spec.concurrencyPolicy", "Allow");
	const char *zone_name = jpath_str(c->cj, "spec.timeZone", "");
	struct zone *zone = NULL;
	struct cron_plan p;
	struct cron cron;
	struct err e = ERR_INIT;
	int r = 0;

	if (cron_parse(jpath_str(c->cj, "spec.schedule", ""), &cron, &e)) {
		syncer_event(c->s, c->cj, "Warning", "UnparseableSchedule", "unparseable schedule: %s", e.text);
		return 0;
	}
	if (*zone_name && zone_open(zone_name, &zone, &e)) {
		syncer_event(c->s, c->cj, "Warning", "UnknownTimeZone", "invalid timeZone: \"%s\": %s", zone_name, e.text);
		return 0;
	}
	cron.zone = zone;
	cron_plan(&cron, seconds_of(c->cj, "metadata.creationTimestamp"), seconds_of(c->status, "lastScheduleTime"),
		  jpath_int(c->cj, "spec.startingDeadlineSeconds", -1), (long long)(c->now / NS_PER_S), &p);
	if (p.next > 0)
		c->next = (uint64_t)p.next * NS_PER_S;
	zone_free(zone);
	if (p.too_many)
		syncer_event(c->s, c->cj, "Warning", "TooManyMissedTimes", "too many missed start times. Set or decrease "
			     ".spec.startingDeadlineSeconds or check clock skew");
	if (p.time < 0)
		return 0;
	if (json_array_size(json_object_get(c->status, "active"))) {
		if (!strcmp(policy, "Forbid")) {
			syncer_event(c->s, c->cj, "Normal", "JobAlreadyActive", "Not starting job because prior execution is running and "
				     "concurrency policy is Forbid");
			return 0;       // the end of the running one brings us back, while the deadline allows it
		}
		if (!strcmp(policy, "Replace"))
			r = replace_active(c);
	}
	return r ? r : start_job(c, &p);
}

static uint64_t sync_one(struct syncer *s, json_t *cj, struct child *children, uint64_t now)
{
	struct cronjob c = { .s = s, .cj = cj, .now = now, .next = LOOP_NEVER };
	json_t *old = json_object_get(cj, "status");
	int r;

	if (meta_is_deleting(cj))
		return LOOP_NEVER;
	c.status = old ? json_deep_copy(old) : json_object();
	c.jobs = json_array();
	for (struct child *k = children; k; k = k->next)
		json_array_append_new(c.jobs, obj_json(k->obj));
	note_jobs(&c);
	r = drop_finished(&c, "Complete", jpath_int(cj, "spec.successfulJobsHistoryLimit", 3));
	if (!r)
		r = drop_finished(&c, "Failed", jpath_int(cj, "spec.failedJobsHistoryLimit", 1));
	if (!r && !jpath_bool(cj, "spec.suspend", false))
		r = run_schedule(&c);
	if (syncer_set_status(s, cj, c.status))
		r = -EAGAIN;
	json_decref(c.jobs);
	json_decref(c.status);
	return r ? SYNC_RETRY : c.next;
}

static const struct sync_ops ops = {
	.component = "cronjob-controller", .group = "batch", .version = "v1", .plural = "cronjobs", .kind = "CronJob",
	.child_group = "batch", .child_version = "v1", .child_plural = "jobs", .sync = sync_one,
};

static int open_cronjobs(struct server *srv, void **unit, struct err *e)
{
	return syncer_new(srv, &ops, unit, e);
}

static const struct unit_source sources[] = {
	{ "batch", "v1", "cronjobs", syncer_owner_changed, NULL },
	{ "batch", "v1", "jobs", syncer_child_changed, syncer_children_reset },
	{ .plural = NULL },
};

const struct unit_ops cronjob_unit = {
	.name = "cron jobs", .sources = sources, .open = open_cronjobs, .work = syncer_work, .close = syncer_close,
};
