// SPDX-License-Identifier: Apache-2.0
// Validation of what steers scheduling: affinity, tolerations, spreading.
#include <string.h>

#include "base/jpath.h"
#include "hooks.h"
#include "name_rules.h"
#include "validate.h"

static const char *str(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));
	return s ? s : "";
}

/* ---- nodes ---- */

static void check_requirement(const struct k8s_path *at, const json_t *r, bool fields, struct k8s_errors *e)
{
	static const char *const operators[] = {"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", NULL};
	static const char *const field_operators[] = {"In", "NotIn", NULL};
	static const char *const field_names[] = {"metadata.name", NULL};
	const char *op = str(r, "operator");
	const json_t *values = json_object_get(r, "values");
	size_t n = json_array_size(values);
	if (!k8s_check_enum(e, PATH(at, "operator"), *op ? op : " ", fields ? field_operators : operators, true))
		return;
	if (fields) {
		k8s_check_enum(e, PATH(at, "key"), *str(r, "key") ? str(r, "key") : " ", field_names, true);
		if (n != 1)
			k8s_required(e, PATH(at, "values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
		return;
	}
	if ((!strcmp(op, "In") || !strcmp(op, "NotIn")) && n == 0)
		k8s_required(e, PATH(at, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
	if ((!strcmp(op, "Exists") || !strcmp(op, "DoesNotExist")) && n)
		k8s_forbidden(e, PATH(at, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
	if ((!strcmp(op, "Gt") || !strcmp(op, "Lt")) && n != 1)
		k8s_required(e, PATH(at, "values"), "must be specified single value when `operator` is 'Lt' or 'Gt'");
	k8s_check_rule(e, PATH(at, "key"), str(r, "key"), k8s_check_qualified_name);
}

static void check_node_term(const struct k8s_path *path, const json_t *term, struct k8s_errors *e)
{
	static const char *const lists[] = {"matchExpressions", "matchFields"};
	size_t i;
	json_t *r;
	for (int l = 0; l < 2; l++)
		json_array_foreach(json_object_get(term, lists[l]), i, r)
			check_requirement(PATH_AT(PATH(path, lists[l]), i), r, l == 1, e);
}

void k8s_validate_node_selector(const struct k8s_path *path, const json_t *selector, struct k8s_errors *e)
{
	const json_t *terms = json_object_get(selector, "nodeSelectorTerms");
	const struct k8s_path *list = PATH(path, "nodeSelectorTerms");
	size_t i;
	json_t *term;
	if (json_array_size(terms) == 0)
		k8s_required(e, list, "must have at least one node selector term");
	json_array_foreach(terms, i, term)
		check_node_term(PATH_AT(list, i), term, e);
}

static void check_weight(const struct k8s_path *path, const json_t *weight, struct k8s_errors *e)
{
	json_int_t w = json_integer_value(weight);
	json_t *zero = json_integer(0);
	if (w < 1 || w > 100)
		k8s_invalid(e, path, weight ? weight : zero, "must be in the range 1-100");
	json_decref(zero);
}

static void check_node_affinity(const struct k8s_path *path, const json_t *affinity, struct k8s_errors *e)
{
	const json_t *required = json_object_get(affinity, "requiredDuringSchedulingIgnoredDuringExecution");
	const char *preferred = "preferredDuringSchedulingIgnoredDuringExecution";
	size_t i;
	json_t *term;
	if (required)
		k8s_validate_node_selector(PATH(path, "requiredDuringSchedulingIgnoredDuringExecution"), required, e);
	json_array_foreach(json_object_get(affinity, preferred), i, term) {
		const struct k8s_path *list = PATH(path, preferred), *at = PATH_AT(list, i);
		check_weight(PATH(at, "weight"), json_object_get(term, "weight"), e);
		check_node_term(PATH(at, "preference"), json_object_get(term, "preference"), e);
	}
}

/* ---- pods ---- */

static void check_pod_term(const struct k8s_path *path, const json_t *term, struct k8s_errors *e)
{
	size_t i;
	json_t *ns;
	k8s_check_label_selector(e, PATH(path, "labelSelector"), json_object_get(term, "labelSelector"));
	k8s_check_label_selector(e, PATH(path, "namespaceSelector"), json_object_get(term, "namespaceSelector"));
	json_array_foreach(json_object_get(term, "namespaces"), i, ns)
		k8s_check_rule(e, PATH(path, "namespace"), json_string_value(ns), k8s_check_dns_label);
	if (!*str(term, "topologyKey"))
		k8s_required(e, PATH(path, "topologyKey"), "can not be empty");
	else
		k8s_check_rule(e, PATH(path, "topologyKey"), str(term, "topologyKey"), k8s_check_qualified_name);
}

static void check_pod_affinity(const struct k8s_path *path, const json_t *affinity, struct k8s_errors *e)
{
	const char *required = "requiredDuringSchedulingIgnoredDuringExecution", *preferred = "preferredDuringSchedulingIgnoredDuringExecution";
	size_t i;
	json_t *term;
	json_array_foreach(json_object_get(affinity, required), i, term)
		check_pod_term(PATH_AT(PATH(path, required), i), term, e);
	json_array_foreach(json_object_get(affinity, preferred), i, term) {
		const struct k8s_path *list = PATH(path, preferred), *at = PATH_AT(list, i);
		check_weight(PATH(at, "weight"), json_object_get(term, "weight"), e);
		check_pod_term(PATH(at, "podAffinityTerm"), json_object_get(term, "podAffinityTerm"), e);
	}
}

void k8s_validate_affinity(const struct k8s_path *path, const json_t *affinity, struct k8s_errors *e)
{
	check_node_affinity(PATH(path, "nodeAffinity"), json_object_get(affinity, "nodeAffinity"), e);
	check_pod_affinity(PATH(path, "podAffinity"), json_object_get(affinity, "podAffinity"), e);
	check_pod_affinity(PATH(path, "podAntiAffinity"), json_object_get(affinity, "podAntiAffinity"), e);
}

/* ---- tolerations, spreading ---- */

void k8s_validate_tolerations(const struct k8s_path *path, const json_t *tolerations, struct k8s_errors *e)
{
	static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
	static const char *const operators[] = {"Equal", "Exists", NULL};
	size_t i;
	json_t *t;
	json_array_foreach(tolerations, i, t) {
		const struct k8s_path *at = PATH_AT(path, i);
		const char *key = str(t, "key"), *op = str(t, "operator"), *effect = str(t, "effect"), *value = str(t, "value");
		if (*key)
			k8s_check_rule(e, PATH(at, "key"), key, k8s_check_qualified_name);
		else if (strcmp(op, "Exists"))
			k8s_invalid_str(e, PATH(at, "operator"), op, "operator must be Exists when `key` is empty, which means \"match all "
					"values and all keys\"");
		if (json_object_get(t, "tolerationSeconds") && strcmp(effect, "NoExecute"))
			k8s_invalid_str(e, PATH(at, "effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
		if (!strcmp(op, "Exists") && *value)
			k8s_invalid_str(e, PATH(at, "operator"), value, "value must be empty when `operator` is 'Exists'");
		else if (!strcmp(op, "Equal") || !*op)
			k8s_check_rule(e, PATH(at, "operator"), value, k8s_check_label_value);
		else
			k8s_check_enum(e, PATH(at, "operator"), op, operators, false);
		k8s_check_enum(e, PATH(at, "effect"), effect, effects, false);
	}
}

void k8s_validate_topology_spread(const struct k8s_path *path, const json_t *constraints, struct k8s_errors *e)
{
	static const char *const actions[] = {"DoNotSchedule", "ScheduleAnyway", NULL};
	static const char *const policies[] = {"Honor", "Ignore", NULL};
	size_t i, j;
	json_t *c, *zero = json_integer(0);
	json_array_foreach(constraints, i, c) {
		const struct k8s_path *at = PATH_AT(path, i);
		const json_t *skew = json_object_get(c, "maxSkew"), *domains = json_object_get(c, "minDomains");
		if (json_integer_value(skew) <= 0)
			k8s_invalid(e, PATH(at, "maxSkew"), skew ? skew : zero, "must be greater than zero");
		if (!*str(c, "topologyKey"))
			k8s_required(e, PATH(at, "topologyKey"), "can not be empty");
		else
			k8s_check_rule(e, PATH(at, "topologyKey"), str(c, "topologyKey"), k8s_check_qualified_name);
		k8s_check_enum(e, PATH(at, "whenUnsatisfiable"), str(c, "whenUnsatisfiable"), actions, true);
		if (domains && json_integer_value(domains) <= 0)
			k8s_invalid(e, PATH(at, "minDomains"), domains, "must be greater than zero");
		k8s_check_enum(e, PATH(at, "nodeAffinityPolicy"), str(c, "nodeAffinityPolicy"), policies, false);
		k8s_check_enum(e, PATH(at, "nodeTaintsPolicy"), str(c, "nodeTaintsPolicy"), policies, false);
		k8s_check_label_selector(e, PATH(at, "labelSelector"), json_object_get(c, "labelSelector"));
		for (j = 0; j < i; j++) {
			const json_t *other = json_array_get(constraints, j);
			if (!strcmp(str(other, "topologyKey"), str(c, "topologyKey")) &&
			    !strcmp(str(other, "whenUnsatisfiable"), str(c, "whenUnsatisfiable"))) {
				json_t *pair = json_sprintf("{%s, %s}", str(c, "topologyKey"), str(c, "whenUnsatisfiable"));
				k8s_duplicate(e, PATH(at, "{topologyKey, whenUnsatisfiable}"), pair);
				json_decref(pair);
			}
		}
	}
	json_decref(zero);
}
