// SPDX-License-Identifier: Apache-2.0
// Validation of Job and CronJob.
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/jpath.h"
#include "cron.h"
#include "hooks.h"
#include "selector.h"
#include "validate.h"
#include "zone.h"

/* "0-2,5" below completions, ascending. */
static bool are_indexes(const char *text, long long completions)
{
	long long last = -1;
	while (*text) {
		char *end;
		if (*text < '0' || *text > '9')
			return false;
		long long from = strtoll(text, &end, 10), to = from;
		if (*end == '-') {
			if (end[1] < '0' || end[1] > '9')
				return false;
			to = strtoll(end + 1, &end, 10);
		}
		if (from <= last || to < from || to >= completions || (*end && (*end != ',' || !end[1])))
			return false;
		last = to;
		text = end + (*end == ',');
	}
	return last >= 0;
}

static void check_exit_codes(const struct k8s_path *path, const json_t *codes, struct k8s_errors *e)
{
	static const char *const operators[] = {"In", "NotIn", NULL};
	const json_t *values = json_object_get(codes, "values");
	const char *op = jpath_str(codes, "operator", "");
	long long before = 0;
	json_t *v;
	size_t i;
	k8s_check_enum(e, PATH(path, "operator"), op, operators, true);
	if (!json_array_size(values))
		k8s_invalid(e, PATH(path, "values"), values, "at least one value is required");
	else if (json_array_size(values) > 255)
		k8s_too_many(e, PATH(path, "values"), json_array_size(values), 255);
	json_array_foreach(values, i, v) {
		if (!strcmp(op, "In") && !json_integer_value(v))
			k8s_invalid(e, PATH_AT(PATH(path, "values"), i), v, "must not be 0 for the In operator");
		if (i && json_integer_value(v) == before)
			k8s_duplicate(e, PATH_AT(PATH(path, "values"), i), v);
		else if (i && json_integer_value(v) < before)
			k8s_invalid(e, PATH(path, "values"), values, "must be ordered");
		before = json_integer_value(v);
	}
}

static void check_failure_rule(const struct k8s_path *path, const json_t *rule, bool per_index, struct k8s_errors *e)
{
	static const char *const all[] = {"Count", "FailIndex", "FailJob", "Ignore", NULL}, *const some[] = {"Count", "FailJob", "Ignore", NULL};
	static const char *const states[] = {"False", "True", "Unknown", NULL};
	const json_t *codes = json_object_get(rule, "onExitCodes"), *conditions = json_object_get(rule, "onPodConditions");
	json_t *c;
	size_t i;
	k8s_check_enum(e, PATH(path, "action"), jpath_str(rule, "action", ""), per_index ? all : some, true);
	if (!codes == !json_array_size(conditions))
		k8s_invalid(e, path, rule, codes ? "specifying both OnExitCodes and OnPodConditions is not supported" :
						   "specifying one of OnExitCodes and OnPodConditions is required");
	if (codes)
		check_exit_codes(PATH(path, "onExitCodes"), codes, e);
	json_array_foreach(conditions, i, c) {
		const struct k8s_path *at = PATH_AT(PATH(path, "onPodConditions"), i);
		if (!*jpath_str(c, "type", ""))
			k8s_required(e, PATH(at, "type"), NULL);
		k8s_check_enum(e, PATH(at, "status"), jpath_str(c, "status", ""), states, true);
	}
}

static void check_failure_policy(const struct k8s_path *path, const json_t *spec, struct k8s_errors *e)
{
	const json_t *policy = json_object_get(spec, "podFailurePolicy"), *rules = json_object_get(policy, "rules");
	const char *restart = jpath_str(spec, "template.spec.restartPolicy", "");
	json_t *rule;
	size_t i;
	if (!policy)
		return;
	if (strcmp(restart, "Never"))
		k8s_invalid_str(e, PATH(PATH(PATH(path, "template"), "spec"), "restartPolicy"), restart,
				"only \"Never\" is supported when podFailurePolicy is specified");
	if (strcmp(jpath_str(spec, "podReplacementPolicy", "Failed"), "Failed"))
		k8s_check_enum(e, PATH(path, "podReplacementPolicy"), jpath_str(spec, "podReplacementPolicy", ""),
			       (const char *const[]){"Failed", NULL}, true);
	if (json_array_size(rules) > 20)
		k8s_too_many(e, PATH(PATH(path, "podFailurePolicy"), "rules"), json_array_size(rules), 20);
	json_array_foreach(rules, i, rule)
		check_failure_rule(PATH_AT(PATH(PATH(path, "podFailurePolicy"), "rules"), i), rule, json_object_get(spec, "backoffLimitPerIndex"), e);
}

static void check_success_policy(const struct k8s_path *path, const json_t *spec, struct k8s_errors *e)
{
	const json_t *policy = json_object_get(spec, "successPolicy"), *rules = json_object_get(policy, "rules");
	const struct k8s_path *list = PATH(PATH(path, "successPolicy"), "rules");
	long long completions = jpath_int(spec, "completions", 0);
	json_t *rule;
	size_t i;
	if (!policy)
		return;
	if (strcmp(jpath_str(spec, "completionMode", ""), "Indexed"))
		k8s_invalid(e, PATH(path, "successPolicy"), policy, "requires indexed completion mode");
	if (!json_array_size(rules))
		k8s_required(e, list, "at least one rules must be specified when the successPolicy is specified");
	if (json_array_size(rules) > 20)
		k8s_too_many(e, list, json_array_size(rules), 20);
	json_array_foreach(rules, i, rule) {
		const json_t *count = json_object_get(rule, "succeededCount"), *indexes = json_object_get(rule, "succeededIndexes");
		const struct k8s_path *at = PATH_AT(list, i);
		if (!count && !indexes)
			k8s_required(e, at, "at least one of succeededCount or succeededIndexes must be specified");
		if (indexes && !are_indexes(json_string_value(indexes), completions))
			k8s_invalid(e, PATH(at, "succeededIndexes"), indexes, "error parsing succeededIndexes");
		if (count && json_integer_value(count) < 1)
			k8s_check_not_negative(e, PATH(at, "succeededCount"), count);
		if (count && json_integer_value(count) > completions)
			k8s_invalid(e, PATH(at, "succeededCount"), count, "must be less than or equal to %lld (the number of specified completions)",
				    completions);
	}
}

static void check_index_limits(const struct k8s_path *path, const json_t *spec, struct k8s_errors *e)
{
	const json_t *limit = json_object_get(spec, "backoffLimitPerIndex"), *most = json_object_get(spec, "maxFailedIndexes");
	if (limit && strcmp(jpath_str(spec, "completionMode", ""), "Indexed"))
		k8s_invalid(e, PATH(path, "backoffLimitPerIndex"), limit, "requires indexed completion mode");
	if (most && !limit)
		k8s_required(e, PATH(path, "backoffLimitPerIndex"), "when maxFailedIndexes is specified");
	if (most && json_integer_value(most) > jpath_int(spec, "completions", 0))
		k8s_invalid(e, PATH(path, "maxFailedIndexes"), most, "must be less than or equal to completions");
}

static void check_job_spec(const struct k8s_path *path, const json_t *spec, struct k8s_errors *e)
{
	static const char *const numbers[] = {"parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
		"backoffLimitPerIndex", "maxFailedIndexes"};
	static const char *const modes[] = {"Indexed", "NonIndexed", NULL};
	static const char *const replacements[] = {"Failed", "TerminatingOrFailed", NULL};
	static const char *const restarts[] = {"Never", "OnFailure", NULL};
	const struct k8s_path *template_ = PATH(path, "template"), *restart = PATH(PATH(template_, "spec"), "restartPolicy");
	const char *mode = jpath_str(spec, "completionMode", ""), *policy = jpath_str(spec, "template.spec.restartPolicy", "");
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		k8s_check_not_negative(e, PATH(path, numbers[i]), json_object_get(spec, numbers[i]));
	k8s_check_enum(e, PATH(path, "completionMode"), mode, modes, false);
	if (!strcmp(mode, "Indexed") && !json_object_get(spec, "completions"))
		k8s_required(e, PATH(path, "completions"), "when completion mode is Indexed");
	k8s_check_enum(e, PATH(path, "podReplacementPolicy"), jpath_str(spec, "podReplacementPolicy", ""), replacements, false);
	check_index_limits(path, spec, e);
	check_failure_policy(path, spec, e);
	check_success_policy(path, spec, e);
	k8s_validate_pod_template(template_, json_object_get(spec, "template"), e);
	if (!strcmp(policy, "Always"))
		k8s_required(e, restart, "valid values: \"OnFailure\", \"Never\"");
	else if (*policy)
		k8s_check_enum(e, restart, policy, restarts, false);
}

/* An Indexed job as wide as it is long may be made longer and shorter. */
static bool is_elastic(const json_t *spec)
{
	return !strcmp(jpath_str(spec, "completionMode", ""), "Indexed") &&
	       jpath_int(spec, "completions", -1) == jpath_int(spec, "parallelism", -2);
}

void k8s_validate_job(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	static const char *const fixed[] = {"completions", "selector", "template", "completionMode", "podFailurePolicy", "backoffLimitPerIndex",
		"successPolicy", "managedBy"};
	const json_t *spec = json_object_get(obj, "spec"), *before = json_object_get(old, "spec");
	const struct k8s_path *path = PATH_ROOT("spec");
	const json_t *selector = json_object_get(spec, "selector"), *labels = jpath_get(spec, "template.metadata.labels");
	struct k8s_selector *s = NULL;
	check_job_spec(path, spec, e);
	k8s_check_label_selector(e, PATH(path, "selector"), selector);
	if (selector && labels && k8s_label_selector_from_json(selector, &s, NULL) == 0 && !k8s_label_selector_match(s, labels))
		k8s_invalid(e, PATH(PATH(PATH(path, "template"), "metadata"), "labels"), labels, "`selector` does not match template `labels`");
	k8s_selector_free(s);
	for (size_t i = 0; old && i < sizeof(fixed) / sizeof(*fixed); i++) {
		/* A suspended job that never started may still change where its pods go. */
		bool unstarted = jpath_bool(before, "suspend", false) && !jpath_get(old, "status.startTime");
		if (!strcmp(fixed[i], "completions") && is_elastic(spec) && is_elastic(before))
			continue;
		if (strcmp(fixed[i], "template") || !unstarted)
			k8s_check_immutable(e, PATH(path, fixed[i]), json_object_get(spec, fixed[i]), json_object_get(before, fixed[i]));
	}
}

static void check_time_zone(const struct k8s_path *path, const char *name, struct k8s_errors *e)
{
	struct err why = ERR_INIT;
	struct zone *zone = NULL;
	if (!*name)
		k8s_invalid_str(e, path, name, "timeZone must be nil or non-empty string");
	else if (!strcasecmp(name, "Local"))
		k8s_invalid_str(e, path, name, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
	else if (zone_open(name, &zone, &why))
		k8s_invalid_str(e, path, name, "%s", why.text);
	zone_free(zone);
}

void k8s_validate_cronjob(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	static const char *const policies[] = {"Allow", "Forbid", "Replace", NULL};
	static const char *const numbers[] = {"startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"};
	const json_t *spec = json_object_get(obj, "spec");
	const struct k8s_path *path = PATH_ROOT("spec");
	const char *schedule = jpath_str(spec, "schedule", ""), *zone = jpath_str(spec, "timeZone", NULL);
	struct err why = ERR_INIT;
	struct cron cron;
	(void)old;
	if (!*schedule)
		k8s_required(e, PATH(path, "schedule"), NULL);
	else if (strstr(schedule, "TZ"))
		k8s_invalid_str(e, PATH(path, "schedule"), schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
	else if (cron_parse(schedule, &cron, &why))
		k8s_invalid_str(e, PATH(path, "schedule"), schedule, "%s", why.text);
	if (zone)
		check_time_zone(PATH(path, "timeZone"), zone, e);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		k8s_check_not_negative(e, PATH(path, numbers[i]), json_object_get(spec, numbers[i]));
	k8s_check_enum(e, PATH(path, "concurrencyPolicy"), jpath_str(spec, "concurrencyPolicy", ""), policies, true);
	check_job_spec(PATH(PATH(path, "jobTemplate"), "spec"), jpath_get(spec, "jobTemplate.spec"), e);
	/* Jobs made from it get a suffix of eleven characters. */
	if (strlen(jpath_str(obj, "metadata.name", "")) > 52)
		k8s_invalid_str(e, PATH(PATH_ROOT("metadata"), "name"), jpath_str(obj, "metadata.name", ""), "must be no more than 52 characters");
}
