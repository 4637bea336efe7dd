// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/job_policy.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/jpath.h"

/* --- failures --- */

static bool lists(const json_t *values, long long code)
{
	json_t *v;
	size_t i;

	json_array_foreach((json_t *)values, i, v)
		if (json_integer_value(v) == code)
			return true;
	return false;
}

/* A container that ended with a code that the rule means. NULL: none. */
static const json_t *matching_container(const json_t *rule, const json_t *statuses)
{
	const char *only = jpath_str(rule, "containerName", NULL);
	bool in = !strcmp(jpath_str(rule, "operator", ""), "In");
	json_t *c;
	size_t i;

	json_array_foreach((json_t *)statuses, i, c) {
		long long code = jpath_int(c, "state.terminated.exitCode", 0);
		if (code && (!only || !strcmp(only, jpath_str(c, "name", ""))) && lists(json_object_get(rule, "values"), code) == in)
			return c;
	}
	return NULL;
}

static const json_t *matching_condition(const json_t *patterns, const json_t *pod)
{
	json_t *p, *c;
	size_t i, k;

	json_array_foreach((json_t *)patterns, i, p)
		json_array_foreach(jpath_get(pod, "status.conditions"), k, c)
			if (!strcmp(jpath_str(p, "type", ""), jpath_str(c, "type", "")) &&
			    !strcmp(jpath_str(p, "status", "True"), jpath_str(c, "status", "")))
				return c;
	return NULL;
}

static bool matches(const json_t *rule, size_t index, const json_t *pod, char *why, size_t size)
{
	const char *action = jpath_str(rule, "action", ""), *ns = jpath_str(pod, "metadata.namespace", "");
	const char *name = jpath_str(pod, "metadata.name", "");
	const json_t *codes = json_object_get(rule, "onExitCodes"), *found;

	if (codes) {
		found = matching_container(codes, jpath_get(pod, "status.initContainerStatuses"));
		if (!found)
			found = matching_container(codes, jpath_get(pod, "status.containerStatuses"));
		if (found)
			snprintf(why, size, "Container %s for pod %s/%s failed with exit code %lld matching %s rule at index %zu",
				 jpath_str(found, "name", ""), ns, name, jpath_int(found, "state.terminated.exitCode", 0), action, index);
	} else {
		found = matching_condition(json_object_get(rule, "onPodConditions"), pod);
		if (found)
			snprintf(why, size, "Pod %s/%s has condition %s matching %s rule at index %zu", ns, name, jpath_str(found, "type", ""),
				 action, index);
	}
	return found;
}

enum job_action job_failure_action(const json_t *policy, const json_t *pod, char *why, size_t size)
{
	static const char *const actions[] = { "Count", "Ignore", "FailIndex", "FailJob" };
	json_t *rule;
	size_t i;

	json_array_foreach(json_object_get(policy, "rules"), i, rule) {
		if (!matches(rule, i, pod, why, size))
			continue;
		for (int k = 0; k < 4; k++)
			if (!strcmp(jpath_str(rule, "action", ""), actions[k]))
				return (enum job_action)k;
		return JOB_COUNT;
	}
	return JOB_COUNT;
}

/* --- successes --- */

static bool satisfied(const json_t *rule, const struct indexes *done)
{
	const char *text = jpath_str(rule, "succeededIndexes", NULL);
	struct indexes wanted;
	long have = 0, need;

	if (!text)
		return done->size >= jpath_int(rule, "succeededCount", INDEXES_MAX + 1);
	if (indexes_init(&wanted, done->count, text))
		return false;
	for (long i = 0; i < done->count; i++)
		have += indexes_has(&wanted, i) && indexes_has(done, i);
	need = (long)jpath_int(rule, "succeededCount", wanted.size);
	indexes_fini(&wanted);
	return need > 0 && have >= need;
}

int job_success_rule(const json_t *policy, const struct indexes *done)
{
	json_t *rule;
	size_t i;

	json_array_foreach(json_object_get(policy, "rules"), i, rule)
		if (satisfied(rule, done))
			return (int)i;
	return -1;
}
