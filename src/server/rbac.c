// SPDX-License-Identifier: Apache-2.0
#include "server/rbac.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/selector.h"
#include "server/map.h"
#include "server/registry.h"
#include "server/status.h"
#include "server/store.h"

#define GROUP "rbac.authorization.k8s.io"
#define KEPT_MAX 20000     // parsed objects; more than that are forgotten all at once

struct parsed {
	uint64_t rv;
	json_t *json;
};

struct rbac {
	struct server *srv;
	pthread_mutex_t lock;     // of kept, and of the reference counts of what is in it
	struct map kept;          // key: struct parsed
};

static void parsed_free(void *p)
{
	json_decref(((struct parsed *)p)->json);
	free(p);
}

struct rbac *rbac_new(struct server *srv)
{
	struct rbac *b = calloc(1, sizeof *b);

	if (!b)
		return NULL;
	b->srv = srv;
	pthread_mutex_init(&b->lock, NULL);
	return b;
}

void rbac_free(struct rbac *b)
{
	if (!b)
		return;
	map_fini(&b->kept, parsed_free);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* --- parsed objects; with the lock held --- */

static const json_t *parse(struct rbac *b, struct obj *o)
{
	struct parsed *p = map_get(&b->kept, obj_key(o));

	if (p && p->rv == o->rv)
		return p->json;
	if (!p) {
		p = calloc(1, sizeof *p);
		if (!p || map_put(&b->kept, obj_key(o), p)) {
			free(p);
			return NULL;
		}
	}
	json_decref(p->json);
	p->json = obj_json(o);
	p->rv = o->rv;
	return p->json;
}

static const struct k8s_kind *kind(const char *plural)
{
	return k8s_kind_find(GROUP, "v1", plural);
}

static const json_t *find(struct rbac *b, const char *plural, const char *ns, const char *name)
{
	char key[REG_KEY_MAX];
	own_obj struct obj *o = store_get(b->srv->store, reg_key(kind(plural), ns, name, key));

	return o ? parse(b, o) : NULL;
}

/* --- whose rules --- */

static bool is_account(const json_t *subject, const char *binding_ns, const char *user)
{
	const char *ns = jpath_str(subject, "namespace", binding_ns), *name = jpath_str(subject, "name", "");
	char full[600];

	snprintf(full, sizeof full, "system:serviceaccount:%s:%s", ns, name);
	return !strcmp(full, user);
}

/* The subject of a binding that who is; NULL: none. */
static const json_t *bound(const json_t *binding, const struct identity *who)
{
	const char *ns = jpath_str(binding, "metadata.namespace", "");
	json_t *s;
	size_t i;

	json_array_foreach(json_object_get(binding, "subjects"), i, s) {
		const char *what = jpath_str(s, "kind", ""), *name = jpath_str(s, "name", "");
		if ((!strcmp(what, "User") && !strcmp(name, who->name)) || (!strcmp(what, "Group") && identity_in(who, name)) ||
		    (!strcmp(what, "ServiceAccount") && is_account(s, ns, who->name)))
			return s;
	}
	return NULL;
}

/* Called for rules; true: enough. */
typedef bool rule_fn(const json_t *rule, void *user);

static bool each_rule(const json_t *role, rule_fn *fn, void *user)
{
	json_t *rule;
	size_t i;

	json_array_foreach(json_object_get(role, "rules"), i, rule)
		if (fn(rule, user))
			return true;
	return false;
}

static bool selected(const json_t *selector, const json_t *role)
{
	struct k8s_selector *s = NULL;
	bool yes;

	if (k8s_label_selector_from_json(selector, &s, NULL))
		return false;
	yes = k8s_label_selector_match(s, jpath_get(role, "metadata.labels"));
	k8s_selector_free(s);
	return yes;
}

/* Rules of the ClusterRoles that an aggregated one selects. */
static bool each_aggregated(struct rbac *b, const json_t *role, rule_fn *fn, void *user)
{
	json_t *selectors = jpath_get(role, "aggregationRule.clusterRoleSelectors"), *selector;
	char prefix[REG_KEY_MAX];
	struct store_list l;
	bool done = false;
	size_t s;

	if (!json_array_size(selectors) || store_list(b->srv->store, reg_prefix(kind("clusterroles"), NULL, prefix), NULL, 0, 0, &l))
		return false;
	for (size_t i = 0; i < l.count && !done; i++) {
		const json_t *other = parse(b, l.objs[i]);
		json_array_foreach(selectors, s, selector)
			if (other && !done && selected(selector, other))
				done = each_rule(other, fn, user);
	}
	store_list_fini(&l);
	return done;
}

static bool each_of_role(struct rbac *b, const json_t *ref, const char *ns, rule_fn *fn, void *user)
{
	bool cluster = !strcmp(jpath_str(ref, "kind", ""), "ClusterRole");
	const json_t *role = find(b, cluster ? "clusterroles" : "roles", ns, jpath_str(ref, "name", ""));

	return role && (each_rule(role, fn, user) || (cluster && each_aggregated(b, role, fn, user)));
}

static void say_why(char *why, const json_t *binding, const json_t *subject)
{
	const char *ns = jpath_str(binding, "metadata.namespace", "");

	snprintf(why, AUTH_WHY_MAX, "RBAC: allowed by %sRoleBinding \"%s%s%s\" of %s \"%s\" to %s \"%s%s%s\"", *ns ? "" : "Cluster",
		 jpath_str(binding, "metadata.name", ""), *ns ? "/" : "", ns, jpath_str(binding, "roleRef.kind", ""),
		 jpath_str(binding, "roleRef.name", ""), jpath_str(subject, "kind", ""), jpath_str(subject, "name", ""),
		 jpath_str(subject, "namespace", NULL) ? "/" : "", jpath_str(subject, "namespace", ""));
}

static bool each_binding(struct rbac *b, const char *plural, const char *ns, const struct identity *who, rule_fn *fn, void *user,
			 char *why)
{
	char prefix[REG_KEY_MAX];
	struct store_list l;
	bool done = false;

	if (store_list(b->srv->store, reg_prefix(kind(plural), ns, prefix), NULL, 0, 0, &l))
		return false;
	for (size_t i = 0; i < l.count && !done; i++) {
		const json_t *binding = parse(b, l.objs[i]);
		const json_t *subject = binding ? bound(binding, who) : NULL;
		if (!subject)
			continue;
		done = each_of_role(b, json_object_get(binding, "roleRef"), ns ? ns : "", fn, user);
		if (done && why)
			say_why(why, binding, subject);
	}
	store_list_fini(&l);
	return done;
}

/* True: fn had enough. */
static bool visit(struct rbac *b, const struct identity *who, const char *ns, rule_fn *fn, void *user, char *why)
{
	bool done;

	pthread_mutex_lock(&b->lock);
	if (b->kept.count > KEPT_MAX)
		map_fini(&b->kept, parsed_free);
	done = each_binding(b, "clusterrolebindings", NULL, who, fn, user, why) ||
	       (*ns && each_binding(b, "rolebindings", ns, who, fn, user, why));
	pthread_mutex_unlock(&b->lock);
	return done;
}

/* --- does a rule allow it? --- */

static bool lists(const json_t *rule, const char *field, const char *what)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(rule, field), i, v)
		if (json_is_string(v) && (!strcmp(json_string_value(v), "*") || !strcmp(json_string_value(v), what)))
			return true;
	return false;
}

/* "pods/log" by "pods/log", "*", or "*" with the same subresource. */
static bool lists_resource(const json_t *rule, const char *resource, const char *subresource)
{
	char full[512], any[300];

	snprintf(full, sizeof full, "%s%s%s", resource, *subresource ? "/" : "", subresource);
	snprintf(any, sizeof any, "*/%s", subresource);
	return lists(rule, "resources", full) || (*subresource && lists(rule, "resources", any));
}

/* No names in the rule: all, and collections. Here "*" means nothing special. */
static bool lists_name(const json_t *rule, const char *name)
{
	json_t *names = json_object_get(rule, "resourceNames"), *v;
	size_t i;

	json_array_foreach(names, i, v)
		if (*name && json_is_string(v) && !strcmp(json_string_value(v), name))
			return true;
	return !json_array_size(names);
}

static bool lists_path(const json_t *rule, const char *path)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(rule, "nonResourceURLs"), i, v) {
		const char *p = json_string_value(v);
		size_t n = json_string_length(v);
		if (p && (!strcmp(p, path) || (n && p[n - 1] == '*' && !strncmp(p, path, n - 1))))
			return true;
	}
	return false;
}

static bool allows(const json_t *rule, void *user)
{
	const struct auth_ask *a = user;

	if (!lists(rule, "verbs", a->verb))
		return false;
	if (a->path)
		return lists_path(rule, a->path);
	return lists(rule, "apiGroups", a->group) && lists_resource(rule, a->resource, a->subresource) && lists_name(rule, a->name);
}

bool rbac_allows(struct rbac *b, const struct identity *who, const struct auth_ask *ask, char *why)
{
	return visit(b, who, ask->path ? "" : ask->ns, allows, (void *)ask, why);
}

static bool collect(const json_t *rule, void *user)
{
	json_array_append_new(user, json_deep_copy(rule));   // the kept ones stay behind the lock
	return false;
}

json_t *rbac_rules(struct rbac *b, const struct identity *who, const char *ns)
{
	json_t *rules = json_array();

	if (rules)
		visit(b, who, ns, collect, rules, NULL);
	return rules;
}

/* --- no giving away of what one does not have --- */

static bool has_path(const json_t *have, const char *verb, const char *path)
{
	json_t *rule;
	size_t i;

	json_array_foreach((json_t *)have, i, rule)
		if (lists(rule, "verbs", verb) && lists_path(rule, path))
			return true;
	return false;
}

/* name "": all names. */
static bool has_resource(const json_t *have, const char *verb, const char *group, const char *resource, const char *name)
{
	const char *slash = strchr(resource, '/');
	char plain[256];
	json_t *rule;
	size_t i;

	snprintf(plain, sizeof plain, "%.*s", (int)strcspn(resource, "/"), resource);
	json_array_foreach((json_t *)have, i, rule)
		if (lists(rule, "verbs", verb) && lists(rule, "apiGroups", group) &&
		    lists_resource(rule, plain, slash ? slash + 1 : "") && lists_name(rule, name))
			return true;
	return false;
}

static bool covers_resources(const json_t *have, const json_t *rule, const char *verb)
{
	json_t *names = json_object_get(rule, "resourceNames"), *g, *r, *n;
	size_t i, j, l;

	json_array_foreach(json_object_get(rule, "apiGroups"), i, g)
		json_array_foreach(json_object_get(rule, "resources"), j, r) {
			if (!json_array_size(names) && !has_resource(have, verb, json_string_value(g), json_string_value(r), ""))
				return false;
			json_array_foreach(names, l, n)
				if (!has_resource(have, verb, json_string_value(g), json_string_value(r), json_string_value(n)))
					return false;
		}
	return true;
}

static bool covers(const json_t *have, const json_t *rule)
{
	json_t *v, *p;
	size_t i, j;

	json_array_foreach(json_object_get(rule, "verbs"), i, v) {
		if (!covers_resources(have, rule, json_string_value(v)))
			return false;
		json_array_foreach(json_object_get(rule, "nonResourceURLs"), j, p)
			if (!has_path(have, json_string_value(v), json_string_value(p)))
				return false;
	}
	return true;
}

static json_t *check_held(struct rbac *b, const struct identity *who, const struct k8s_kind *k, const json_t *obj, const json_t *wanted)
{
	const char *ns = jpath_str(obj, "metadata.namespace", "");
	own_json json_t *have = rbac_rules(b, who, ns);
	json_t *rule;
	size_t i;

	json_array_foreach((json_t *)wanted, i, rule)
		if (!covers(have, rule)) {
			own_free char *text = json_dumps(rule, JSON_COMPACT);
			char why[1024];
			snprintf(why, sizeof why, "user \"%.200s\" is attempting to grant RBAC permissions not currently held: %.600s",
				 who->name, text ? text : "");
			return status_forbidden(k, jpath_str(obj, "metadata.name", ""), why);
		}
	return NULL;
}

static json_t *admit_binding(struct rbac *b, const struct identity *who, const struct k8s_kind *k, const json_t *obj)
{
	json_t *ref = json_object_get(obj, "roleRef");
	const char *ns = jpath_str(obj, "metadata.namespace", "");
	bool cluster = !strcmp(jpath_str(ref, "kind", ""), "ClusterRole");
	const struct auth_ask bind = { .verb = "bind", .group = GROUP, .resource = cluster ? "clusterroles" : "roles",
				       .subresource = "", .ns = ns, .name = jpath_str(ref, "name", "") };
	own_json json_t *wanted = json_array();

	if (rbac_allows(b, who, &bind, NULL))
		return NULL;
	pthread_mutex_lock(&b->lock);
	each_of_role(b, ref, ns, collect, wanted);
	pthread_mutex_unlock(&b->lock);
	return check_held(b, who, k, obj, wanted);
}

json_t *rbac_admit(struct rbac *b, const struct identity *who, const struct k8s_kind *k, const json_t *obj, const json_t *old)
{
	bool role = !strcmp(k->plural, "roles") || !strcmp(k->plural, "clusterroles");
	const struct auth_ask escalate = { .verb = "escalate", .group = GROUP, .resource = k->plural, .subresource = "",
					   .ns = jpath_str(obj, "metadata.namespace", ""), .name = jpath_str(obj, "metadata.name", "") };

	if (!b || !who || strcmp(k->group, GROUP) || identity_in(who, "system:masters"))
		return NULL;
	if (!role)
		return admit_binding(b, who, k, obj);
	if (old && json_equal(json_object_get(obj, "rules"), json_object_get(old, "rules")) &&
	    json_equal(json_object_get(obj, "aggregationRule"), json_object_get(old, "aggregationRule")))
		return NULL;
	if (rbac_allows(b, who, &escalate, NULL))
		return NULL;
	if (json_object_get(obj, "aggregationRule")) {   // may come to mean anything
		own_json json_t *all = json_loads("[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]}]", 0, NULL);
		return check_held(b, who, k, obj, all);
	}
	return check_held(b, who, k, obj, json_object_get(obj, "rules"));
}
