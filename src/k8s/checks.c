// SPDX-License-Identifier: Apache-2.0
// Checks that many kinds use; see validate.h.
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "name_rules.h"
#include "validate.h"

#define ANNOTATIONS_MAX_BYTES (256 * 1024)

bool k8s_check_rule(struct k8s_errors *e, const struct k8s_path *path, const char *value, const char *(*rule)(const char *))
{
	const char *wrong = rule(value);
	if (wrong)
		k8s_invalid_str(e, path, value, "%s", wrong);
	return !wrong;
}

bool k8s_check_port(struct k8s_errors *e, const struct k8s_path *path, const json_t *value)
{
	json_int_t port = json_integer_value(value);
	if (!value || (json_is_integer(value) && port >= 1 && port <= 65535))
		return true;
	k8s_invalid(e, path, value, "must be between 1 and 65535, inclusive");
	return false;
}

bool k8s_check_not_negative(struct k8s_errors *e, const struct k8s_path *path, const json_t *value)
{
	if (!value || json_integer_value(value) >= 0)
		return true;
	k8s_invalid(e, path, value, "must be greater than or equal to 0");
	return false;
}

void k8s_check_labels(struct k8s_errors *e, const struct k8s_path *path, const json_t *labels)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)labels, key, value) {
		k8s_check_rule(e, path, key, k8s_check_qualified_name);
		if (json_is_string(value))
			k8s_check_rule(e, path, json_string_value(value), k8s_check_label_value);
		else
			k8s_invalid(e, path, value, "a label must be a string");
	}
}

void k8s_check_annotations(struct k8s_errors *e, const struct k8s_path *path, const json_t *annotations)
{
	const char *key;
	json_t *value;
	size_t total = 0;
	json_object_foreach((json_t *)annotations, key, value) {
		char lower[512];
		size_t n = strlen(key);
		for (size_t i = 0; i <= n && n < sizeof(lower); i++)
			lower[i] = (char)(key[i] >= 'A' && key[i] <= 'Z' ? key[i] + 32 : key[i]);
		const char *wrong = k8s_check_qualified_name(n < sizeof(lower) ? lower : key);
		if (wrong)
			k8s_invalid_str(e, path, key, "%s", wrong);
		if (!json_is_string(value))
			k8s_invalid(e, path, value, "an annotation must be a string");
		total += n + json_string_length(value);
	}
	if (total > ANNOTATIONS_MAX_BYTES)
		k8s_too_long(e, path, ANNOTATIONS_MAX_BYTES);
}

void k8s_check_label_selector(struct k8s_errors *e, const struct k8s_path *path, const json_t *selector)
{
	static const char *const operators[] = {"In", "NotIn", "Exists", "DoesNotExist", NULL};
	size_t i, v;
	json_t *expr, *value;
	k8s_check_labels(e, PATH(path, "matchLabels"), json_object_get(selector, "matchLabels"));
	json_array_foreach(json_object_get(selector, "matchExpressions"), i, expr) {
		const struct k8s_path *list = PATH(path, "matchExpressions"), *at = PATH_AT(list, i);
		const char *op = jpath_str(expr, "operator", "");
		json_t *values = json_object_get(expr, "values");
		bool set = !strcmp(op, "In") || !strcmp(op, "NotIn");
		if (!k8s_check_enum(e, PATH(at, "operator"), *op ? op : " ", operators, true))
			continue;
		if (set && json_array_size(values) == 0)
			k8s_required(e, PATH(at, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
		if (!set && json_array_size(values))
			k8s_forbidden(e, PATH(at, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
		k8s_check_rule(e, PATH(at, "key"), jpath_str(expr, "key", ""), k8s_check_qualified_name);
		json_array_foreach(values, v, value)
			k8s_check_rule(e, PATH_AT(PATH(at, "values"), v), json_string_value(value) ? json_string_value(value) : "",
				       k8s_check_label_value);
	}
}

void k8s_check_immutable(struct k8s_errors *e, const struct k8s_path *path, const json_t *now, const json_t *before)
{
	if (json_is_null(now))
		now = NULL;
	if (json_is_null(before))
		before = NULL;
	if (now == before || (now && before && json_equal(now, before)))
		return;
	own_json json_t *nothing = json_null();
	k8s_invalid(e, path, now ? now : nothing, "field is immutable");
}
