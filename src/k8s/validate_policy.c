// SPDX-License-Identifier: Apache-2.0
// Validation of HorizontalPodAutoscaler, PodDisruptionBudget, PriorityClass, RuntimeClass, ResourceQuota, LimitRange.
#include <string.h>

#include "base/jpath.h"
#include "hooks.h"
#include "name_rules.h"
#include "quantity.h"
#include "validate.h"

#define USER_PRIORITY_MAX 1000000000ll

/* ---- HorizontalPodAutoscaler ---- */

static void check_seconds(const struct k8s_path *path, const json_t *v, bool zero, long long most, struct k8s_errors *e)
{
	if (!v)
		return;
	if (json_integer_value(v) < (zero ? 0 : 1))
		k8s_invalid(e, path, v, zero ? "must be greater than or equal to zero" : "must be greater than zero");
	if (json_integer_value(v) > most)
		k8s_invalid(e, path, v, "must be less than or equal to %lld", most);
}

static void check_scaling_rules(const struct k8s_path *path, const json_t *rules, struct k8s_errors *e)
{
	static const char *const selects[] = {"Disabled", "Max", "Min", NULL}, *const types[] = {"Percent", "Pods", NULL};
	const json_t *policies = json_object_get(rules, "policies");
	json_t *policy, *none = json_integer(0);
	size_t i;
	if (!rules) {
		json_decref(none);
		return;
	}
	check_seconds(PATH(path, "stabilizationWindowSeconds"), json_object_get(rules, "stabilizationWindowSeconds"), true, 3600, e);
	k8s_check_enum(e, PATH(path, "selectPolicy"), jpath_str(rules, "selectPolicy", ""), selects, false);
	if (!json_array_size(policies))
		k8s_required(e, PATH(path, "policies"), "must specify at least one Policy");
	json_array_foreach(policies, i, policy) {
		const struct k8s_path *at = PATH_AT(PATH(path, "policies"), i);
		const json_t *value = json_object_get(policy, "value"), *period = json_object_get(policy, "periodSeconds");
		k8s_check_enum(e, PATH(at, "type"), jpath_str(policy, "type", ""), types, true);
		if (json_integer_value(value) <= 0)
			k8s_invalid(e, PATH(at, "value"), value ? value : none, "must be greater than zero");
		check_seconds(PATH(at, "periodSeconds"), period ? period : none, false, 1800, e);
	}
	json_decref(none);
}

static void check_metric_target(const struct k8s_path *path, const json_t *target, struct k8s_errors *e)
{
	static const char *const types[] = {"AverageValue", "Utilization", "Value", NULL};
	const json_t *percent = json_object_get(target, "averageUtilization"), *value = json_object_get(target, "averageValue");
	k8s_check_enum(e, PATH(path, "type"), jpath_str(target, "type", ""), types, true);
	if (percent && json_integer_value(percent) < 1)
		k8s_invalid(e, PATH(path, "averageUtilization"), percent, "must be greater than 0");
	if (value && k8s_quantity_milli(value, 0) <= 0)
		k8s_invalid(e, PATH(path, "averageValue"), value, "must be positive");
	if (!percent && !value)
		k8s_required(e, PATH(path, "averageUtilization"), "must set either a target raw value or a target utilization");
	if (percent && value)
		k8s_forbidden(e, PATH(path, "averageValue"), "may not set both a target raw value and a target utilization");
}

static void check_metric(const struct k8s_path *path, const json_t *metric, struct k8s_errors *e)
{
	static const char *const types[] = {"ContainerResource", "External", "Object", "Pods", "Resource", NULL};
	static const char *const fields[] = {"containerResource", "external", "object", "pods", "resource"};
	const char *type = jpath_str(metric, "type", "");
	if (!k8s_check_enum(e, PATH(path, "type"), type, types, true))
		return;
	for (size_t i = 0; types[i]; i++) {
		const json_t *source = json_object_get(metric, fields[i]);
		const struct k8s_path *at = PATH(path, fields[i]);
		bool own = !strcmp(type, types[i]);
		if (own && !source)
			k8s_required(e, at, "must populate information for the given metric source");
		if (!own && source)
			k8s_forbidden(e, at, "must populate the given metric source only");
		if (!own || !source || (i != 0 && i != 4))
			continue;
		if (!*jpath_str(source, "name", ""))
			k8s_required(e, PATH(at, "name"), "must specify a resource name");
		if (!i && !*jpath_str(source, "container", ""))
			k8s_required(e, PATH(at, "container"), "must specify a container name");
		check_metric_target(PATH(at, "target"), json_object_get(source, "target"), e);
	}
}

void k8s_validate_hpa(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	const json_t *spec = json_object_get(obj, "spec"), *min = json_object_get(spec, "minReplicas"), *max = json_object_get(spec, "maxReplicas");
	const struct k8s_path *path = PATH_ROOT("spec"), *target = PATH(path, "scaleTargetRef");
	json_t *zero = json_integer(0);
	(void)old;
	if (min && json_integer_value(min) < 1)
		k8s_invalid(e, PATH(path, "minReplicas"), min, "must be greater than or equal to 1");
	if (json_integer_value(max) < 1)
		k8s_invalid(e, PATH(path, "maxReplicas"), max ? max : zero, "must be greater than 0");
	else if (min && json_integer_value(max) < json_integer_value(min))
		k8s_invalid(e, PATH(path, "maxReplicas"), max, "must be greater than or equal to `minReplicas`");
	json_decref(zero);
	if (!*jpath_str(spec, "scaleTargetRef.kind", ""))
		k8s_required(e, PATH(target, "kind"), NULL);
	if (!*jpath_str(spec, "scaleTargetRef.name", ""))
		k8s_required(e, PATH(target, "name"), NULL);
	size_t i;
	json_t *metric;
	json_array_foreach(json_object_get(spec, "metrics"), i, metric)
		check_metric(PATH_AT(PATH(path, "metrics"), i), metric, e);
	check_scaling_rules(PATH(PATH(path, "behavior"), "scaleUp"), jpath_get(spec, "behavior.scaleUp"), e);
	check_scaling_rules(PATH(PATH(path, "behavior"), "scaleDown"), jpath_get(spec, "behavior.scaleDown"), e);
}

void k8s_validate_pdb(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	const json_t *spec = json_object_get(obj, "spec"), *min = json_object_get(spec, "minAvailable"), *max = json_object_get(spec, "maxUnavailable");
	const struct k8s_path *path = PATH_ROOT("spec");
	(void)old;
	if (min && max)
		k8s_invalid(e, path, spec, "minAvailable and maxUnavailable cannot be both set");
	k8s_check_count_or_percent(PATH(path, "minAvailable"), min, true, e);
	k8s_check_count_or_percent(PATH(path, "maxUnavailable"), max, true, e);
	k8s_check_label_selector(e, PATH(path, "selector"), json_object_get(spec, "selector"));
}

void k8s_validate_priorityclass(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	static const char *const policies[] = {"Never", "PreemptLowerPriority", NULL};
	const char *name = jpath_str(obj, "metadata.name", "");
	bool system = !strcmp(name, "system-cluster-critical") || !strcmp(name, "system-node-critical");
	if (!strncmp(name, "system-", 7) && !system)
		k8s_forbidden(e, PATH(PATH_ROOT("metadata"), "name"), "priority class names with 'system-' prefix are reserved for system use only. error: "
			      "%s is not a known system priority class", name);
	else if (!system && jpath_int(obj, "value", 0) > USER_PRIORITY_MAX)
		k8s_forbidden(e, PATH_ROOT("value"), "maximum allowed value of a user defined priority is %lld", USER_PRIORITY_MAX);
	k8s_check_enum(e, PATH_ROOT("preemptionPolicy"), jpath_str(obj, "preemptionPolicy", ""), policies, false);
	if (old && jpath_int(old, "value", 0) != jpath_int(obj, "value", 0))
		k8s_forbidden(e, PATH_ROOT("value"), "may not be changed in an update.");
	if (old && strcmp(jpath_str(old, "preemptionPolicy", ""), jpath_str(obj, "preemptionPolicy", "")))
		k8s_invalid_str(e, PATH_ROOT("preemptionPolicy"), jpath_str(obj, "preemptionPolicy", ""), "field is immutable");
}

void k8s_validate_runtimeclass(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	k8s_check_rule(e, PATH_ROOT("handler"), jpath_str(obj, "handler", ""), k8s_check_dns_label);
	if (old)
		k8s_check_immutable(e, PATH_ROOT("handler"), json_object_get(obj, "handler"), json_object_get(old, "handler"));
}

static const char *const counted[] = {"configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets",
	"services", "services.loadbalancers", "services.nodeports", NULL};
static const char *const in_quota[] = {"configmaps", "cpu", "ephemeral-storage", "limits.cpu", "limits.ephemeral-storage", "limits.memory",
	"memory", "persistentvolumeclaims", "pods", "replicationcontrollers", "requests.cpu", "requests.ephemeral-storage", "requests.memory",
	"requests.storage", "resourcequotas", "secrets", "services", "services.loadbalancers", "services.nodeports", NULL};

static bool quota_resource(const char *name, const char *const *names)
{
	while (*names && strcmp(*names, name))
		names++;
	return *names != NULL;
}

static void check_amounts(const struct k8s_path *path, const json_t *amounts, struct k8s_errors *e)
{
	const char *name;
	json_t *v;
	json_object_foreach((json_t *)amounts, name, v) {
		long long milli = k8s_quantity_milli(v, 0);
		k8s_check_rule(e, PATH_KEY(path, name), name, k8s_check_qualified_name);
		if (!strchr(name, '/') && strncmp(name, "hugepages-", 10) && strncmp(name, "requests.hugepages-", 19) &&
		    !quota_resource(name, in_quota)) {
			k8s_invalid_str(e, PATH_KEY(path, name), name, "must be a standard resource type or fully qualified");
			k8s_invalid_str(e, PATH_KEY(path, name), name, "must be a standard resource for quota");
		}
		if (milli < 0)
			k8s_invalid(e, PATH_KEY(path, name), v, "must be greater than or equal to 0");
		if (quota_resource(name, counted) && milli % 1000)
			k8s_invalid(e, PATH_KEY(path, name), v, "must be an integer");
	}
}

void k8s_validate_resourcequota(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	const struct k8s_path *path = PATH_ROOT("spec"), *status = PATH_ROOT("status");
	check_amounts(PATH(path, "hard"), jpath_get(obj, "spec.hard"), e);
	check_amounts(PATH(status, "hard"), jpath_get(obj, "status.hard"), e);
	check_amounts(PATH(status, "used"), jpath_get(obj, "status.used"), e);
	if (old)
		k8s_check_immutable(e, PATH(path, "scopes"), jpath_get(obj, "spec.scopes"), jpath_get(old, "spec.scopes"));
}

void k8s_validate_limitrange(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	static const char *const types[] = {"Container", "PersistentVolumeClaim", "Pod", NULL};
	static const char *const below[][2] = {{"min", "max"}, {"min", "default"}, {"min", "defaultRequest"}, {"default", "max"},
		{"defaultRequest", "max"}, {"defaultRequest", "default"}};
	const json_t *limits = jpath_get(obj, "spec.limits");
	size_t i;
	json_t *item, *amount;
	const char *name;
	(void)old;
	json_array_foreach(limits, i, item) {
		const struct k8s_path *at = PATH_AT(PATH(PATH_ROOT("spec"), "limits"), i);
		const char *type = jpath_str(item, "type", "");
		if (!strchr(type, '/'))
			k8s_check_enum(e, PATH(at, "type"), type, types, true);
		for (size_t b = 0; b < sizeof(below) / sizeof(*below); b++)
			json_object_foreach(json_object_get(item, below[b][0]), name, amount) {
				const json_t *top = json_object_get(json_object_get(item, below[b][1]), name);
				if (top && k8s_quantity_milli(amount, 0) > k8s_quantity_milli(top, 0))
					k8s_invalid(e, PATH_KEY(PATH(at, below[b][0]), name), amount, "%s value %s is greater than %s value %s",
						    below[b][0], json_string_value(amount), below[b][1], json_string_value(top));
			}
	}
}

/* A limit that is given is the default, and a default the default request. */
void k8s_defaults_limitrange(json_t *obj)
{
	size_t i;
	json_t *item, *amount;
	const char *name;
	json_array_foreach(jpath_get(obj, "spec.limits"), i, item) {
		static const char *const from_to[][2] = {{"max", "default"}, {"default", "defaultRequest"}, {"min", "defaultRequest"}};
		if (strcmp(jpath_str(item, "type", ""), "Container"))
			continue;
		for (size_t f = 0; f < 3; f++)
			json_object_foreach(json_object_get(item, from_to[f][0]), name, amount) {
				if (!json_object_get(item, from_to[f][1]))
					json_object_set_new(item, from_to[f][1], json_object());
				if (!json_object_get(json_object_get(item, from_to[f][1]), name))
					json_object_set(json_object_get(item, from_to[f][1]), name, amount);
			}
	}
}
