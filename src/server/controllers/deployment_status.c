// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/deployment_status.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "server/controllers/replicas.h"
#include "server/controllers/syncer.h"
#include "server/meta.h"

#define NO_DEADLINE 2147483647

static long long deadline_of(const json_t *deploy)
{
	return jpath_int(deploy, "spec.progressDeadlineSeconds", NO_DEADLINE);
}

static void put_count(json_t *status, const char *key, long long n)
{
	if (n > 0)
		json_object_set_new(status, key, json_integer(n));
	else
		json_object_del(status, key);
}

static void count(const struct rollout *r, json_t *status)
{
	long long spec = 0, replicas = 0, ready = 0, available = 0, updated = jpath_int(r->fresh, "status.replicas", 0);

	for (size_t i = 0; i < r->n; i++) {
		spec += jpath_int(r->all[i], "spec.replicas", 1);
		replicas += jpath_int(r->all[i], "status.replicas", 0);
		ready += jpath_int(r->all[i], "status.readyReplicas", 0);
		available += jpath_int(r->all[i], "status.availableReplicas", 0);
	}
	put_count(status, "replicas", replicas);
	put_count(status, "updatedReplicas", updated);
	put_count(status, "readyReplicas", ready);
	put_count(status, "availableReplicas", available);
	put_count(status, "unavailableReplicas", spec - available);
	json_object_set_new(status, "observedGeneration", json_integer(jpath_int(r->deploy, "metadata.generation", 0)));
}

static bool is_complete(const json_t *deploy, const json_t *status)
{
	long long want = jpath_int(deploy, "spec.replicas", 1);

	return jpath_int(status, "updatedReplicas", 0) == want && jpath_int(status, "replicas", 0) == want &&
	       jpath_int(status, "availableReplicas", 0) == want &&
	       jpath_int(status, "observedGeneration", 0) >= jpath_int(deploy, "metadata.generation", 0);
}

bool deployment_is_complete(const struct rollout *r)
{
	return is_complete(r->deploy, json_object_get(r->deploy, "status"));
}

static void put_available(const struct rollout *r, json_t *status)
{
	long long replicas = jpath_int(r->deploy, "spec.replicas", 1), least = replicas;

	if (!strcmp(jpath_str(r->deploy, "spec.strategy.type", ""), "RollingUpdate"))
		least -= replicas_rolling(jpath_get(r->deploy, "spec.strategy"), replicas).unavailable;
	if (jpath_int(status, "availableReplicas", 0) >= least)
		status_condition(status, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", true);
	else
		status_condition(status, "Available", "False", "MinimumReplicasUnavailable",
				 "Deployment does not have minimum availability.", true);
}

/* Something has moved since the status was last written. */
static bool is_progressing(const json_t *old, const json_t *status)
{
	long long old_left = jpath_int(old, "replicas", 0) - jpath_int(old, "updatedReplicas", 0);
	long long left = jpath_int(status, "replicas", 0) - jpath_int(status, "updatedReplicas", 0);

	return jpath_int(status, "updatedReplicas", 0) > jpath_int(old, "updatedReplicas", 0) || left < old_left ||
	       jpath_int(status, "readyReplicas", 0) > jpath_int(old, "readyReplicas", 0) ||
	       jpath_int(status, "availableReplicas", 0) > jpath_int(old, "availableReplicas", 0);
}

/* Past the deadline? If not yet, *next is when. */
static bool timed_out(const json_t *condition, long long deadline, uint64_t now, uint64_t *next)
{
	uint64_t since, at;

	if (!condition || !strcmp(jpath_str(condition, "reason", ""), "NewReplicaSetAvailable"))
		return false;
	if (clock_parse(jpath_str(condition, "lastUpdateTime", ""), &since))
		return false;
	at = since + (uint64_t)deadline * NS_PER_S;
	if (now >= at)
		return true;
	if (at < *next)
		*next = at;
	return false;
}

static void say(json_t *status, const char *value, const char *reason, const char *text)
{
	char now[40];
	json_t *c;

	status_condition(status, "Progressing", value, reason, text, true);
	c = status_condition_find(status, "Progressing");
	json_object_set_new(c, "lastUpdateTime", json_string(meta_now(now)));   // the deadline counts from here
}

/* ReplicaSet "name" ... */
static void say_set(json_t *status, const struct rollout *r, const char *value, const char *reason, const char *before, const char *after)
{
	char text[512];

	snprintf(text, sizeof text, "%s \"%s\"%s", before, jpath_str(r->fresh, "metadata.name", jpath_str(r->deploy, "metadata.name", "")),
		 after);
	say(status, value, reason, text);
}

/* What was done in this step, before anything is judged. */
static void note_step(const struct rollout *r, json_t *status)
{
	const json_t *c = status_condition_find(status, "Progressing");
	const char *reason = jpath_str(c, "reason", "");
	bool paused = jpath_bool(r->deploy, "spec.paused", false);

	if (*r->failure)
		say(status, "False", "ReplicaSetCreateError", r->failure);
	else if (paused && strcmp(reason, "DeploymentPaused") && strcmp(reason, "ProgressDeadlineExceeded"))
		say(status, "Unknown", "DeploymentPaused", "Deployment is paused");
	else if (!paused && !strcmp(reason, "DeploymentPaused"))
		say(status, "Unknown", "DeploymentResumed", "Deployment is resumed");
	else if (r->made)
		say_set(status, r, "True", "NewReplicaSetCreated", "Created new replica set", "");
	else if (!c && r->fresh)
		say_set(status, r, "True", "FoundNewReplicaSet", "Found new replica set", "");
}

static void put_progress(const struct rollout *r, json_t *status, uint64_t now, uint64_t *next)
{
	long long deadline = deadline_of(r->deploy);
	const json_t *c;

	if (deadline == NO_DEADLINE) {
		status_condition_drop(status, "Progressing");
		return;
	}
	note_step(r, status);
	c = status_condition_find(status, "Progressing");
	if (jpath_bool(r->deploy, "spec.paused", false) || *r->failure)
		return;
	if (!strcmp(jpath_str(c, "reason", ""), "NewReplicaSetAvailable") &&
	    jpath_int(status, "replicas", 0) == jpath_int(status, "updatedReplicas", 0) && !r->made)
		return;
	if (is_complete(r->deploy, status) && r->fresh)
		say_set(status, r, "True", "NewReplicaSetAvailable", "ReplicaSet", " has successfully progressed.");
	else if (is_progressing(json_object_get(r->deploy, "status"), status))
		say_set(status, r, "True", "ReplicaSetUpdated", "ReplicaSet", " is progressing.");
	else if (strcmp(jpath_str(c, "reason", ""), "ProgressDeadlineExceeded") && timed_out(c, deadline, now, next))
		say_set(status, r, "False", "ProgressDeadlineExceeded", "ReplicaSet", " has timed out progressing.");
}

/* A set that cannot make its pods says so; the Deployment repeats it. */
static void put_failure(const struct rollout *r, json_t *status)
{
	const json_t *failure = status_condition_find(json_object_get(r->fresh, "status"), "ReplicaFailure");

	for (size_t i = r->n; i-- > 0 && !failure;)
		failure = status_condition_find(json_object_get(r->all[i], "status"), "ReplicaFailure");
	if (failure)
		status_condition(status, "ReplicaFailure", jpath_str(failure, "status", "True"), jpath_str(failure, "reason", ""),
				 jpath_str(failure, "message", ""), true);
	else
		status_condition_drop(status, "ReplicaFailure");
}

int deployment_status_put(const struct rollout *r, uint64_t now, uint64_t *next)
{
	const json_t *old = json_object_get(r->deploy, "status");
	own_json json_t *status = old ? json_deep_copy(old) : json_object();

	count(r, status);
	put_available(r, status);
	if (!meta_is_deleting(r->deploy))
		put_progress(r, status, now, next);
	put_failure(r, status);
	return syncer_set_status(r->syncer, r->deploy, status);
}
