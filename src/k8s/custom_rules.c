// SPDX-License-Identifier: Apache-2.0
// x-kubernetes-validations of custom resources. Of CEL one rule is run, the one that makes a field immutable ("self == oldSelf");
// a definition with others is taken with a warning that names the first of them.
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "base/own.h"
#include "custom.h"
#include "hooks.h"
#include "kind.h"
#include "validate.h"

#define DEPTH_MAX 100

static bool is_immutability(const char *rule)
{
	static const char *const forms[] = {"self==oldSelf", "oldSelf==self"};
	char text[16];
	size_t n = 0;
	for (; *rule; rule++) {
		if (strchr(" \t\r\n", *rule))
			continue;
		if (n == sizeof(text) - 1)
			return false;
		text[n++] = *rule;
	}
	text[n] = '\0';
	return !strcmp(text, forms[0]) || !strcmp(text, forms[1]);
}

/* ---- objects ---- */

static const char *type_name(const json_t *v)
{
	return json_is_object(v) ? "object" : json_is_array(v) ? "array" : json_is_string(v) ? "string" : json_is_integer(v) ? "integer" :
	       json_is_real(v) ? "number" : json_is_boolean(v) ? "boolean" : "null";
}

static void check_rules(const json_t *schema, const struct k8s_path *path, const json_t *now, const json_t *before, struct k8s_errors *e)
{
	size_t i;
	json_t *rule;
	json_array_foreach(json_object_get(schema, "x-kubernetes-validations"), i, rule) {
		const char *message = jpath_str(rule, "message", "");
		if (!is_immutability(jpath_str(rule, "rule", "")) || json_equal(now, before))
			continue;
		if (*message)
			k8s_invalid_str(e, path, type_name(now), "%s", message);
		else
			k8s_invalid_str(e, path, type_name(now), "failed rule: %s", jpath_str(rule, "rule", ""));
	}
}

/* The element of a list map that has the keys of v; in other lists elements have no past. */
static const json_t *former(const json_t *schema, const json_t *list, const json_t *v)
{
	const json_t *keys = json_object_get(schema, "x-kubernetes-list-map-keys");
	size_t i, j;
	json_t *other, *key;
	json_array_foreach((json_t *)list, i, other) {
		bool same = json_array_size(keys) > 0;
		json_array_foreach((json_t *)keys, j, key) {
			const json_t *a = json_object_get(other, jpath_str(key, "", "")), *b = json_object_get(v, jpath_str(key, "", ""));
			same = same && a && b && json_equal(a, b);
		}
		if (same)
			return other;
	}
	return NULL;
}

static void walk(const json_t *schema, const struct k8s_path *path, const json_t *now, const json_t *before, int depth, struct k8s_errors *e)
{
	const json_t *properties = json_object_get(schema, "properties"), *others = json_object_get(schema, "additionalProperties");
	const char *key;
	json_t *v;
	size_t i;
	if (!json_is_object(schema) || !now || !before || depth > DEPTH_MAX || json_equal(now, before))
		return;   // a rule about a change says nothing of what is new, or as it was
	check_rules(schema, path, now, before, e);
	if (json_is_object(now))
		json_object_foreach((json_t *)now, key, v) {
			const json_t *below = json_object_get(properties, key);
			walk(below ? below : others, PATH(path, key), v, json_object_get(before, key), depth + 1, e);
		}
	if (json_is_array(now))
		json_array_foreach(now, i, v)
			walk(json_object_get(schema, "items"), PATH_AT(path, i), v, former(schema, before, v), depth + 1, e);
}

void k8s_custom_rules(const struct k8s_kind *k, const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	walk(jpath_get(k8s_custom_version(k), "schema.openAPIV3Schema"), PATH_ROOT(NULL), obj, old, 0, e);
}

/* ---- definitions ---- */

/* The first rule that is not run, and how many there are. */
static size_t count_others(const json_t *schema, int depth, const char **first)
{
	size_t n = 0, i;
	const char *key;
	json_t *v;
	if (depth > DEPTH_MAX || !json_is_object(schema))
		return 0;
	json_array_foreach(json_object_get(schema, "x-kubernetes-validations"), i, v)
		if (!is_immutability(jpath_str(v, "rule", ""))) {
			if (!n++ && !*first)
				*first = jpath_str(v, "rule", "");
		}
	json_object_foreach(json_object_get(schema, "properties"), key, v)
		n += count_others(v, depth + 1, first);
	return n + count_others(json_object_get(schema, "items"), depth + 1, first) +
	       count_others(json_object_get(schema, "additionalProperties"), depth + 1, first);
}

void k8s_warn_crd(const json_t *crd, json_t *texts)
{
	const char *first = NULL;
	size_t n = 0, i;
	json_t *version;
	json_array_foreach(jpath_get(crd, "spec.versions"), i, version)
		n += count_others(jpath_get(version, "schema.openAPIV3Schema"), 0, &first);
	if (n)
		json_array_append_new(texts, json_sprintf("%zu rule%s of x-kubernetes-validations %s kept but not evaluated by this server "
							  "(only \"self == oldSelf\" is): %.120s", n, n == 1 ? "" : "s", n == 1 ? "is" : "are",
							  first ? first : ""));
}
