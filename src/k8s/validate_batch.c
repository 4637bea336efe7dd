// SPDX-License-Identifier: Apache-2.0
// Validation of Job and CronJob.
#include <string.h>
#include <strings.h>

#include "base/jpath.h"
#include "cron.h"
#include "hooks.h"
#include "selector.h"
#include "validate.h"
#include "zone.h"

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
	k8s_validate_pod_template(template_, json_object_get(spec, "template"), e);
	if (!strcmp(policy, "Always"))
		k8s_required(e, restart, "valid values: \"OnFailure\", \"Never\"");
	else if (*policy)
		k8s_check_enum(e, restart, policy, restarts, false);
}

void k8s_validate_job(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	static const char *const fixed[] = {"completions", "selector", "template", "completionMode", "podFailurePolicy", "backoffLimitPerIndex"};
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
