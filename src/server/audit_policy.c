// SPDX-License-Identifier: Apache-2.0
#include "server/audit_policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/yaml_json.h"

#define POLICY_MAX (1u << 20)

static const char standard[] =
	"{\"apiVersion\":\"audit.k8s.io/v1\",\"kind\":\"Policy\",\"omitStages\":[\"RequestReceived\",\"ResponseStarted\"],\"rules\":["
	"{\"level\":\"None\",\"nonResourceURLs\":[\"/healthz*\",\"/livez*\",\"/readyz*\",\"/metrics\",\"/version*\",\"/api\",\"/api/*\","
	"\"/apis\",\"/apis/*\",\"/openapi/*\"]},{\"level\":\"Metadata\"}]}";

static const char *const levels[] = { "None", "Metadata", "Request", "RequestResponse" };
static const char *const stages[] = { "RequestReceived", "ResponseStarted", "ResponseComplete", "Panic" };

struct audit_policy { json_t *json; };   // checked once, then only read

const char *audit_level_name(enum audit_level level)
{
	return levels[level];
}

/* --- checking it --- */

static int index_of(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(names[i], name))
			return (int)i;
	return -1;
}

static int check_keys(const json_t *obj, const char *where, const char *const *known, size_t n, struct err *e)
{
	const char *key;
	json_t *v;

	if (!json_is_object(obj))
		return err_set(e, EINVAL, "%s must be an object", where);
	json_object_foreach((json_t *)obj, key, v)
		if (index_of(known, n, key) < 0)
			return err_set(e, EINVAL, "%s has no field \"%.64s\"", where, key);
	return 0;
}

static int check_strings(const json_t *obj, const char *where, const char *field, struct err *e)
{
	json_t *list = json_object_get(obj, field), *v;
	size_t i;

	if (list && !json_is_array(list))
		return err_set(e, EINVAL, "%s.%s must be a list of strings", where, field);
	json_array_foreach(list, i, v)
		if (!json_is_string(v))
			return err_set(e, EINVAL, "%s.%s must be a list of strings", where, field);
	return 0;
}

static int check_stages(const json_t *obj, const char *where, struct err *e)
{
	json_t *v;
	size_t i;
	int r = check_strings(obj, where, "omitStages", e);

	json_array_foreach(json_object_get(obj, "omitStages"), i, v)
		if (!r && index_of(stages, 4, json_string_value(v)) < 0)
			r = err_set(e, EINVAL, "%s.omitStages: there are RequestReceived, ResponseStarted, ResponseComplete and Panic, not "
				    "\"%.64s\"", where, json_string_value(v));
	return r;
}

static int check_paths(const json_t *rule, const char *where, struct err *e)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(rule, "nonResourceURLs"), i, v) {
		const char *path = json_string_value(v), *star = strchr(path, '*');
		if (strcmp(path, "*") && (*path != '/' || (star && star[1])))
			return err_set(e, EINVAL, "%s.nonResourceURLs: \"%.64s\" must begin with / and may have one * at its end", where, path);
	}
	return 0;
}

static int check_resources(const json_t *rule, const char *where, struct err *e)
{
	static const char *const known[] = { "group", "resources", "resourceNames" };
	json_t *list = json_object_get(rule, "resources"), *v;
	char at[96];
	size_t i;
	int r = 0;

	if (list && !json_is_array(list))
		return err_set(e, EINVAL, "%s.resources must be a list", where);
	json_array_foreach(list, i, v) {
		snprintf(at, sizeof at, "%s.resources[%zu]", where, i);
		if (!r)
			r = check_keys(v, at, known, 3, e);
		if (!r)
			r = check_strings(v, at, "resources", e);
		if (!r)
			r = check_strings(v, at, "resourceNames", e);
		if (!r && json_object_get(v, "group") && !json_is_string(json_object_get(v, "group")))
			r = err_set(e, EINVAL, "%s.group must be a string", at);
		if (!r && json_array_size(json_object_get(v, "resourceNames")) && !json_array_size(json_object_get(v, "resources")))
			r = err_set(e, EINVAL, "%s.resourceNames needs resources", at);
	}
	return r;
}

static int check_rule(const json_t *rule, size_t i, struct err *e)
{
	static const char *const known[] = { "level", "users", "userGroups", "verbs", "resources", "namespaces", "nonResourceURLs",
					     "omitStages", "omitManagedFields" };
	static const char *const lists[] = { "users", "userGroups", "verbs", "namespaces", "nonResourceURLs" };
	char where[32];
	int r;

	snprintf(where, sizeof where, "rules[%zu]", i);
	r = check_keys(rule, where, known, sizeof known / sizeof *known, e);
	if (!r && index_of(levels, 4, jpath_str(rule, "level", "")) < 0)
		r = err_set(e, EINVAL, "%s.level: there are None, Metadata, Request and RequestResponse, not \"%.64s\"", where,
			    jpath_str(rule, "level", ""));
	for (size_t k = 0; k < sizeof lists / sizeof *lists && !r; k++)
		r = check_strings(rule, where, lists[k], e);
	if (!r)
		r = check_stages(rule, where, e);
	if (!r)
		r = check_resources(rule, where, e);
	if (!r)
		r = check_paths(rule, where, e);
	if (!r && json_array_size(json_object_get(rule, "nonResourceURLs")) &&
	    (json_array_size(json_object_get(rule, "resources")) || json_array_size(json_object_get(rule, "namespaces"))))
		r = err_set(e, EINVAL, "%s: a rule is for nonResourceURLs or for resources and namespaces, not for both", where);
	return r;
}

static int check(const json_t *policy, struct err *e)
{
	static const char *const known[] = { "apiVersion", "kind", "metadata", "omitStages", "omitManagedFields", "rules" };
	json_t *rules, *rule;
	size_t i;
	int r = check_keys(policy, "the policy", known, sizeof known / sizeof *known, e);

	if (!r && (strcmp(jpath_str(policy, "apiVersion", ""), "audit.k8s.io/v1") || strcmp(jpath_str(policy, "kind", ""), "Policy")))
		r = err_set(e, EINVAL, "must be of apiVersion audit.k8s.io/v1 and kind Policy");
	rules = json_object_get(policy, "rules");
	if (!r && !json_array_size(rules))
		r = err_set(e, EINVAL, "must have a list of rules");
	if (!r)
		r = check_stages(policy, "the policy", e);
	json_array_foreach(rules, i, rule)
		if (!r)
			r = check_rule(rule, i, e);
	return r;
}

int audit_policy_parse(const char *text, size_t len, struct audit_policy **out, struct err *e)
{
	own_json json_t *j = NULL;
	struct audit_policy *p;
	int r = k8s_yaml_parse(text, len, &j, e);

	if (!r)
		r = check(j, e);
	if (r)
		return r;
	p = calloc(1, sizeof *p);
	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	p->json = take(j);
	*out = p;
	return 0;
}

int audit_policy_open(const char *path, struct audit_policy **p, struct err *e)
{
	own_buf struct buf text = BUF_INIT;
	int r;

	if (!path)
		return audit_policy_parse(standard, sizeof standard - 1, p, e);
	r = file_read(path, POLICY_MAX, &text, e);
	if (r)
		return r;
	r = audit_policy_parse(text.data ? text.data : "", text.len, p, e);
	return r ? err_wrap(e, "audit policy %s", path) : 0;
}

void audit_policy_free(struct audit_policy *p)
{
	if (!p)
		return;
	json_decref(p->json);
	free(p);
}

/* --- choosing --- */

static bool lists(const json_t *list, const char *what)
{
	json_t *v;
	size_t i;

	json_array_foreach((json_t *)list, i, v)
		if (!strcmp(json_string_value(v), what))
			return true;
	return false;
}

static bool lists_path(const json_t *list, const char *path)
{
	json_t *v;
	size_t i;

	json_array_foreach((json_t *)list, i, v) {
		const char *p = json_string_value(v);
		size_t n = strcspn(p, "*");
		if (p[n] ? !strncmp(p, path, n) : !strcmp(p, path))
			return true;
	}
	return false;
}

// "pods", "pods/log", "pods/*", "*" of a list of them. *named: not just as one of all.
static bool lists_resource(const json_t *list, const struct route *t, bool *named)
{
	char full[512], of_any[300], any_of[300];

	if (!json_array_size(list))
		return true;
	snprintf(full, sizeof full, "%s%s%s", t->resource, *t->subresource ? "/" : "", t->subresource);
	snprintf(of_any, sizeof of_any, "*/%s", t->subresource);
	snprintf(any_of, sizeof any_of, "%s/*", t->resource);
	*named = lists(list, full) || (*t->subresource && lists(list, any_of));
	return *named || lists(list, "*") || (*t->subresource && lists(list, of_any));
}

static bool matches_resource(const json_t *rule, const struct route *t, bool *named)
{
	json_t *resources = json_object_get(rule, "resources"), *namespaces = json_object_get(rule, "namespaces"), *g;
	size_t i;

	if (!t->is_resource || (json_array_size(namespaces) && !lists(namespaces, t->ns)))
		return false;
	json_array_foreach(resources, i, g) {
		const json_t *names = json_object_get(g, "resourceNames");
		if (!strcmp(jpath_str(g, "group", ""), t->group) && (!json_array_size(names) || lists(names, t->name)) &&
		    lists_resource(json_object_get(g, "resources"), t, named))
			return true;
	}
	return !json_array_size(resources);
}

static bool in_any(const struct identity *who, const json_t *groups)
{
	json_t *v;
	size_t i;

	json_array_foreach((json_t *)groups, i, v)
		if (who && identity_in(who, json_string_value(v)))
			return true;
	return false;
}

static bool matches(const json_t *rule, const struct identity *who, const struct route *t, bool *named)
{
	const json_t *users = json_object_get(rule, "users"), *groups = json_object_get(rule, "userGroups");
	const json_t *verbs = json_object_get(rule, "verbs"), *paths = json_object_get(rule, "nonResourceURLs");

	*named = false;
	if ((json_array_size(users) && !(who && lists(users, who->name))) || (json_array_size(groups) && !in_any(who, groups)) ||
	    (json_array_size(verbs) && !lists(verbs, t->verb)))
		return false;
	if (json_array_size(json_object_get(rule, "resources")) || json_array_size(json_object_get(rule, "namespaces")))
		return matches_resource(rule, t, named);
	return !json_array_size(paths) || (!t->is_resource && lists_path(paths, t->path));
}

static bool holds_secrets(const struct route *t)
{
	return t->is_resource && ((!*t->group && (!strcmp(t->resource, "secrets") ||
						  (!strcmp(t->resource, "serviceaccounts") && !strcmp(t->subresource, "token")))) ||
				  (!strcmp(t->group, "authentication.k8s.io") && !strcmp(t->resource, "tokenreviews")));
}

static unsigned stages_of(const json_t *policy, const json_t *rule)
{
	unsigned out = 0;

	for (unsigned i = 0; i < 3; i++)
		if (!lists(json_object_get(policy, "omitStages"), stages[i]) && !lists(json_object_get(rule, "omitStages"), stages[i]))
			out |= 1u << i;
	return out;
}

struct audit_choice audit_policy_choose(const struct audit_policy *p, const struct identity *who, const struct route *t)
{
	json_t *rule;
	bool named;
	size_t i;

	json_array_foreach(json_object_get(p->json, "rules"), i, rule) {
		if (!matches(rule, who, t, &named))
			continue;
		struct audit_choice c = {
			.level = (enum audit_level)index_of(levels, 4, jpath_str(rule, "level", "None")), .stages = stages_of(p->json, rule),
			.omit_managed_fields = jpath_bool(rule, "omitManagedFields", jpath_bool(p->json, "omitManagedFields", false)),
		};
		if (c.level > AUDIT_METADATA && holds_secrets(t) && !named)
			c.level = AUDIT_METADATA;
		return c;
	}
	return (struct audit_choice){ .level = AUDIT_NONE };
}
