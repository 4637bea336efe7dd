// SPDX-License-Identifier: Apache-2.0
// Validation of the workloads of group apps; ReplicationController.
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "hooks.h"
#include "selector.h"
#include "validate.h"

static const char percent_rule[] = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex "
	"used for validation is '[0-9]+%')";

void k8s_check_count_or_percent(const struct k8s_path *path, const json_t *v, bool max_100, struct k8s_errors *e)
{
	const char *s = json_string_value(v);
	if (json_is_integer(v)) {
		k8s_check_not_negative(e, path, v);
	} else if (s) {
		size_t digits = strspn(s, "0123456789");
		if (!digits || strcmp(s + digits, "%"))
			k8s_invalid_str(e, path, s, "%s", percent_rule);
		else if (max_100 && (digits > 9 || atol(s) > 100))
			k8s_invalid_str(e, path, s, "must not be greater than 100%%");
	}
}

/* Zero as a count or a percentage. */
static bool is_zero(const json_t *v)
{
	return json_is_integer(v) ? json_integer_value(v) == 0 : json_is_string(v) && strspn(json_string_value(v), "0") > 0 &&
	       !strcmp(json_string_value(v) + strspn(json_string_value(v), "0"), "%");
}

void k8s_check_selector_and_template(const struct k8s_path *path, const json_t *spec, const char *kind, struct k8s_errors *e)
{
	const json_t *selector = json_object_get(spec, "selector"), *template_ = json_object_get(spec, "template");
	const json_t *labels = jpath_get(template_, "metadata.labels");
	const struct k8s_path *at = PATH(path, "template");
	struct k8s_selector *s = NULL;
	own_json json_t *nothing = json_object();
	if (!selector) {
		k8s_required(e, PATH(path, "selector"), NULL);
	} else {
		k8s_check_label_selector(e, PATH(path, "selector"), selector);
		if (!json_object_size(json_object_get(selector, "matchLabels")) &&
		    !json_array_size(json_object_get(selector, "matchExpressions")))
			k8s_invalid(e, PATH(path, "selector"), selector, "empty selector is invalid for %s", kind);
		else if (k8s_label_selector_from_json(selector, &s, NULL) == 0 && !k8s_label_selector_match(s, labels))
			k8s_invalid(e, PATH(PATH(at, "metadata"), "labels"), labels ? labels : nothing,
				    "`selector` does not match template `labels`");
	}
	k8s_selector_free(s);
	k8s_validate_pod_template(at, template_, e);
}

/* Pods of these kinds are restarted for ever. */
static void check_always(const struct k8s_path *path, const json_t *spec, const char *kind, struct k8s_errors *e)
{
	static const char *const always[] = {"Always", NULL};
	const struct k8s_path *pod = PATH(PATH(path, "template"), "spec");
	const char *policy = jpath_str(spec, "template.spec.restartPolicy", "");
	if (*policy)
		k8s_check_enum(e, PATH(pod, "restartPolicy"), policy, always, false);
	if (jpath_get(spec, "template.spec.activeDeadlineSeconds"))
		k8s_forbidden(e, PATH(pod, "activeDeadlineSeconds"), "activeDeadlineSeconds in %s is not Supported", kind);
}

static void check_numbers(const struct k8s_path *path, const json_t *spec, struct k8s_errors *e)
{
	static const char *const numbers[] = {"replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		k8s_check_not_negative(e, PATH(path, numbers[i]), json_object_get(spec, numbers[i]));
}

static void check_selector_kept(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	if (old)
		k8s_check_immutable(e, PATH(PATH_ROOT("spec"), "selector"), jpath_get(obj, "spec.selector"), jpath_get(old, "spec.selector"));
}

static void check_rolling(const struct k8s_path *path, const json_t *rolling, struct k8s_errors *e)
{
	const json_t *surge = json_object_get(rolling, "maxSurge"), *unavailable = json_object_get(rolling, "maxUnavailable");
	k8s_check_count_or_percent(PATH(path, "maxUnavailable"), unavailable, true, e);
	k8s_check_count_or_percent(PATH(path, "maxSurge"), surge, false, e);
	if (is_zero(surge) && is_zero(unavailable))
		k8s_invalid(e, PATH(path, "maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0");
}

void k8s_validate_deployment(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	static const char *const types[] = {"Recreate", "RollingUpdate", NULL};
	const json_t *spec = json_object_get(obj, "spec"), *rolling = jpath_get(spec, "strategy.rollingUpdate");
	const json_t *deadline = json_object_get(spec, "progressDeadlineSeconds");
	const struct k8s_path *path = PATH_ROOT("spec"), *strategy = PATH(path, "strategy");
	const char *type = jpath_str(spec, "strategy.type", "");
	check_numbers(path, spec, e);
	k8s_check_selector_and_template(path, spec, "deployment", e);
	check_always(path, spec, "Deployment", e);
	if (k8s_check_enum(e, PATH(strategy, "type"), type, types, true)) {
		if (!strcmp(type, "Recreate") && rolling)
			k8s_forbidden(e, PATH(strategy, "rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'");
		else if (rolling)
			check_rolling(PATH(strategy, "rollingUpdate"), rolling, e);
	}
	if (deadline && json_integer_value(deadline) <= jpath_int(spec, "minReadySeconds", 0))
		k8s_invalid(e, PATH(path, "progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds");
	check_selector_kept(obj, old, e);
}

void k8s_validate_replicaset(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	const json_t *spec = json_object_get(obj, "spec");
	const struct k8s_path *path = PATH_ROOT("spec");
	check_numbers(path, spec, e);
	k8s_check_selector_and_template(path, spec, "replicaset", e);
	check_always(path, spec, "ReplicaSet", e);
	check_selector_kept(obj, old, e);
}

void k8s_validate_replicationcontroller(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	const json_t *spec = json_object_get(obj, "spec"), *selector = json_object_get(spec, "selector");
	const json_t *labels = jpath_get(spec, "template.metadata.labels");
	const struct k8s_path *path = PATH_ROOT("spec"), *template_ = PATH(path, "template");
	const char *key;
	json_t *v;
	bool match = true;
	(void)old;
	check_numbers(path, spec, e);
	if (!json_object_size(selector))
		k8s_required(e, PATH(path, "selector"), NULL);
	if (!json_object_get(spec, "template")) {
		k8s_required(e, template_, NULL);
		return;
	}
	json_object_foreach((json_t *)selector, key, v)
		match &= json_object_get(labels, key) && json_equal(v, json_object_get(labels, key));
	if (!match)
		k8s_invalid(e, PATH(PATH(template_, "metadata"), "labels"), labels ? labels : selector,
			    "`selector` does not match template `labels`");
	k8s_validate_pod_template(template_, json_object_get(spec, "template"), e);
	check_always(path, spec, "ReplicationController", e);
}

void k8s_validate_daemonset(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	static const char *const types[] = {"OnDelete", "RollingUpdate", NULL};
	const json_t *spec = json_object_get(obj, "spec"), *rolling = jpath_get(spec, "updateStrategy.rollingUpdate");
	const struct k8s_path *path = PATH_ROOT("spec"), *strategy = PATH(path, "updateStrategy");
	const char *type = jpath_str(spec, "updateStrategy.type", "");
	check_numbers(path, spec, e);
	k8s_check_selector_and_template(path, spec, "daemonset", e);
	check_always(path, spec, "DaemonSet", e);
	if (k8s_check_enum(e, PATH(strategy, "type"), type, types, true) && !strcmp(type, "RollingUpdate")) {
		if (rolling)
			check_rolling(PATH(strategy, "rollingUpdate"), rolling, e);
		else
			k8s_required(e, PATH(strategy, "rollingUpdate"), NULL);
	}
	check_selector_kept(obj, old, e);
}

/* ---- StatefulSet ---- */

static void check_statefulset_update(const json_t *spec, const json_t *old_spec, struct k8s_errors *e)
{
	static const char *const free_fields[] = {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
		"persistentVolumeClaimRetentionPolicy", "minReadySeconds"};
	own_json json_t *copy = json_copy((json_t *)spec);
	for (size_t i = 0; i < sizeof(free_fields) / sizeof(*free_fields); i++) {
		json_t *before = json_object_get(old_spec, free_fields[i]);
		if (before)
			json_object_set(copy, free_fields[i], before);
		else
			json_object_del(copy, free_fields[i]);
	}
	if (!json_equal(copy, old_spec))
		k8s_forbidden(e, PATH_ROOT("spec"), "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
			      "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
			      "forbidden");
}

void k8s_validate_statefulset(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	static const char *const types[] = {"OnDelete", "RollingUpdate", NULL};
	static const char *const managements[] = {"OrderedReady", "Parallel", NULL};
	static const char *const retentions[] = {"Delete", "Retain", NULL};
	const json_t *spec = json_object_get(obj, "spec");
	const struct k8s_path *path = PATH_ROOT("spec"), *strategy = PATH(path, "updateStrategy");
	const struct k8s_path *retention = PATH(path, "persistentVolumeClaimRetentionPolicy");
	size_t i;
	json_t *claim;
	check_numbers(path, spec, e);
	k8s_check_enum(e, PATH(path, "podManagementPolicy"), jpath_str(spec, "podManagementPolicy", ""), managements, true);
	k8s_check_enum(e, PATH(strategy, "type"), jpath_str(spec, "updateStrategy.type", ""), types, true);
	k8s_check_not_negative(e, PATH(PATH(strategy, "rollingUpdate"), "partition"), jpath_get(spec, "updateStrategy.rollingUpdate.partition"));
	k8s_check_enum(e, PATH(retention, "whenDeleted"), jpath_str(spec, "persistentVolumeClaimRetentionPolicy.whenDeleted", ""), retentions,
		       true);
	k8s_check_enum(e, PATH(retention, "whenScaled"), jpath_str(spec, "persistentVolumeClaimRetentionPolicy.whenScaled", ""), retentions,
		       true);
	k8s_check_selector_and_template(path, spec, "statefulset", e);
	check_always(path, spec, "StatefulSet", e);
	json_array_foreach(json_object_get(spec, "volumeClaimTemplates"), i, claim) {
		const struct k8s_path *at = PATH_AT(PATH(path, "volumeClaimTemplates"), i);
		k8s_validate_volume_claim_spec(PATH(at, "spec"), json_object_get(claim, "spec"), e);
	}
	if (old)
		check_statefulset_update(spec, json_object_get(old, "spec"), e);
}

void k8s_validate_controllerrevision(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	k8s_check_not_negative(e, PATH_ROOT("revision"), json_object_get(obj, "revision"));
	if (old)
		k8s_check_immutable(e, PATH_ROOT("data"), json_object_get(obj, "data"), json_object_get(old, "data"));
}
