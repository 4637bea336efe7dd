// SPDX-License-Identifier: Apache-2.0
#include "server/quota_usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/hooks.h"
#include "k8s/quantity.h"

#define ONE 1000

static void add(json_t *sums, const char *name, long long milli)
{
	long long sum;

	if (__builtin_add_overflow((long long)json_integer_value(json_object_get(sums, name)), milli, &sum))
		sum = INT64_MAX;
	json_object_set_new(sums, name, json_integer(sum));
}

static void raise_to(json_t *sums, const json_t *floor)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)floor, name, v)
		if (json_integer_value(v) > json_integer_value(json_object_get(sums, name)))
			json_object_set(sums, name, v);
}

static void add_list(json_t *sums, const json_t *amounts)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)amounts, name, v)
		add(sums, name, k8s_quantity_milli(v, 0));
}

static void add_sums(json_t *sums, const json_t *more)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)more, name, v)
		add(sums, name, json_integer_value(v));
}

json_t *quota_pod_amounts(const json_t *pod, const char *what)
{
	static const char *const wholes[] = { "cpu", "memory" };
	json_t *sums = json_object(), *c, *whole;
	own_json json_t *sidecars = json_object(), *highest = json_object();
	char path[32];
	size_t i;

	snprintf(path, sizeof path, "resources.%s", what);
	json_array_foreach(jpath_get(pod, "spec.initContainers"), i, c) {
		own_json json_t *now = NULL;
		if (!strcmp(jpath_str(c, "restartPolicy", ""), "Always")) {
			add_list(sidecars, jpath_get(c, path));
			raise_to(highest, sidecars);
			continue;
		}
		now = json_deep_copy(sidecars);
		add_list(now, jpath_get(c, path));
		raise_to(highest, now);
	}
	json_array_foreach(jpath_get(pod, "spec.containers"), i, c)
		add_list(sums, jpath_get(c, path));
	add_sums(sums, sidecars);
	raise_to(sums, highest);
	for (int w = 0; w < 2; w++)   // what is said of the pod as a whole counts instead
		if ((whole = json_object_get(jpath_get(pod, !strcmp(what, "limits") ? "spec.resources.limits" : "spec.resources.requests"), wholes[w])))
			json_object_set_new(sums, wholes[w], json_integer(k8s_quantity_milli(whole, 0)));
	if (!strcmp(what, "requests") || json_object_size(sums))
		add_list(sums, jpath_get(pod, "spec.overhead"));
	return sums;
}

static bool is_core(const struct k8s_kind *k, const char *plural)
{
	return !*k->group && !strcmp(k->plural, plural);
}

/* --- pods --- */

static bool is_over(const json_t *pod)
{
	const char *phase = jpath_str(pod, "status.phase", "");

	return !strcmp(phase, "Succeeded") || !strcmp(phase, "Failed");
}

static bool is_plain(const char *name)
{
	return !strcmp(name, "cpu") || !strcmp(name, "memory") || !strcmp(name, "ephemeral-storage");
}

static void put_pod(json_t *usage, const json_t *pod)
{
	static const char *const whats[] = { "requests", "limits" };

	add(usage, "pods", ONE);
	for (int w = 0; w < 2; w++) {
		own_json json_t *sums = quota_pod_amounts(pod, whats[w]);
		const char *name;
		json_t *v;
		json_object_foreach(sums, name, v) {
			char full[300];
			if (w && !is_plain(name))
				continue;   // of other resources only requests are limited
			snprintf(full, sizeof full, "%s.%.256s", whats[w], name);
			json_object_set(usage, full, v);
			if (!w && is_plain(name))
				json_object_set(usage, name, v);
		}
	}
}

/* --- services and claims --- */

static void put_service(json_t *usage, const json_t *service)
{
	const char *type = jpath_str(service, "spec.type", "ClusterIP");
	bool balanced = !strcmp(type, "LoadBalancer");

	add(usage, "services.loadbalancers", balanced ? ONE : 0);
	add(usage, "services.nodeports", balanced || !strcmp(type, "NodePort") ? ONE * (long long)json_array_size(jpath_get(service, "spec.ports")) : 0);
}

static void put_claim(json_t *usage, const json_t *claim)
{
	const char *class = jpath_str(claim, "spec.storageClassName", "");
	long long size = k8s_quantity_milli(jpath_get(claim, "spec.resources.requests.storage"), 0);
	char name[400];

	add(usage, "requests.storage", size);
	if (!*class)
		return;
	snprintf(name, sizeof name, "%.253s.storageclass.storage.k8s.io/requests.storage", class);
	add(usage, name, size);
	snprintf(name, sizeof name, "%.253s.storageclass.storage.k8s.io/persistentvolumeclaims", class);
	add(usage, name, ONE);
}

/* Kinds that are counted under their own names, too. */
static bool has_own_count(const struct k8s_kind *k)
{
	static const char *const plurals[] = { "services", "secrets", "configmaps", "persistentvolumeclaims", "replicationcontrollers",
					       "resourcequotas" };

	for (size_t i = 0; i < sizeof plurals / sizeof *plurals; i++)
		if (is_core(k, plurals[i]))
			return true;
	return false;
}

static void count_name(const struct k8s_kind *k, char *out, size_t size)
{
	snprintf(out, size, "count/%s%s%s", k->plural, *k->group ? "." : "", k->group);
}

json_t *quota_usage(const struct k8s_kind *k, const json_t *obj)
{
	json_t *usage = json_object();
	char name[400];

	if (is_core(k, "pods")) {
		if (is_over(obj))
			return usage;
		put_pod(usage, obj);
	} else if (is_core(k, "services")) {
		put_service(usage, obj);
	} else if (is_core(k, "persistentvolumeclaims")) {
		put_claim(usage, obj);
	}
	if (has_own_count(k))
		add(usage, k->plural, ONE);
	count_name(k, name, sizeof name);
	add(usage, name, ONE);
	return usage;
}

static bool starts(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

bool quota_counts(const struct k8s_kind *k, const char *resource)
{
	char name[400];

	count_name(k, name, sizeof name);
	if (!strcmp(resource, name) || (has_own_count(k) && !strcmp(resource, k->plural)))
		return true;
	if (is_core(k, "persistentvolumeclaims"))
		return !strcmp(resource, "requests.storage") || strstr(resource, ".storageclass.storage.k8s.io/");
	if (is_core(k, "services"))
		return starts(resource, "services.");
	return is_core(k, "pods") && strcmp(resource, "requests.storage") &&
	       (!strcmp(resource, "pods") || is_plain(resource) || starts(resource, "requests.") || starts(resource, "limits."));
}

/* --- scopes --- */

static bool is_best_effort(const json_t *pod)
{
	return !strcmp(k8s_pod_qos(pod), "BestEffort");
}

static bool reaches_across(const json_t *pod)
{
	static const char *const lists[] = { "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution",
					     "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution" };

	for (int l = 0; l < 2; l++) {
		json_t *t;
		size_t i;
		json_array_foreach(jpath_get(pod, lists[l]), i, t)
			if (json_array_size(json_object_get(t, "namespaces")) || json_object_get(t, "namespaceSelector"))
				return true;
	}
	return false;
}

static bool has_priority(const json_t *pod, const char *operator, const json_t *values)
{
	const char *class = jpath_str(pod, "spec.priorityClassName", "");
	bool among = false;
	json_t *v;
	size_t i;

	json_array_foreach((json_t *)values, i, v)
		among |= json_is_string(v) && !strcmp(json_string_value(v), class);
	if (!strcmp(operator, "In"))
		return *class && among;
	if (!strcmp(operator, "NotIn"))
		return !among;
	return !strcmp(operator, "DoesNotExist") ? !*class : *class != '\0';
}

static bool in_scope(const char *scope, const char *operator, const json_t *values, const json_t *pod)
{
	bool ends = jpath_get(pod, "spec.activeDeadlineSeconds") != NULL;

	if (!strcmp(scope, "Terminating"))
		return ends;
	if (!strcmp(scope, "NotTerminating"))
		return !ends;
	if (!strcmp(scope, "BestEffort"))
		return is_best_effort(pod);
	if (!strcmp(scope, "NotBestEffort"))
		return !is_best_effort(pod);
	if (!strcmp(scope, "CrossNamespacePodAffinity"))
		return reaches_across(pod);
	return !strcmp(scope, "PriorityClass") && has_priority(pod, operator, values);
}

bool quota_includes(const json_t *quota, const struct k8s_kind *k, const json_t *obj)
{
	json_t *scopes = jpath_get(quota, "spec.scopes"), *expressions = jpath_get(quota, "spec.scopeSelector.matchExpressions"), *s;
	size_t i;

	if (!is_core(k, "pods"))
		return !json_array_size(scopes) && !json_array_size(expressions);
	json_array_foreach(scopes, i, s)
		if (!json_is_string(s) || !in_scope(json_string_value(s), "Exists", NULL, obj))
			return false;
	json_array_foreach(expressions, i, s)
		if (!in_scope(jpath_str(s, "scopeName", ""), jpath_str(s, "operator", ""), json_object_get(s, "values"), obj))
			return false;
	return true;
}

/* --- what must be stated --- */

char *quota_unstated(const json_t *quota, const struct k8s_kind *k, const json_t *obj)
{
	struct buf out = BUF_INIT;
	const char *resource;
	json_t *hard;

	if (!is_core(k, "pods") || k8s_pod_states_whole(obj, "requests") || k8s_pod_states_whole(obj, "limits"))
		return NULL;
	json_object_foreach(jpath_get(quota, "spec.hard"), resource, hard) {
		const char *what = starts(resource, "limits.") ? "limits" : "requests", *dot = strchr(resource, '.');
		const char *name = is_plain(resource) ? resource : dot ? dot + 1 : "";
		int missing = 0;
		json_t *c;
		size_t i;
		if (!is_plain(name) || (!is_plain(resource) && !starts(resource, "limits.") && !starts(resource, "requests.")))
			continue;
		json_array_foreach(jpath_get(obj, "spec.containers"), i, c) {
			if (json_object_get(json_object_get(json_object_get(c, "resources"), what), name))
				continue;
			if (!missing++)
				buf_printf(&out, "%s%s for: ", out.len ? "; " : "", resource);
			buf_printf(&out, "%s%s", missing > 1 ? "," : "", jpath_str(c, "name", ""));
		}
	}
	return out.data;
}

json_t *quota_text(const char *resource, long long milli)
{
	char text[K8S_QUANTITY_TEXT_MAX];
	bool binary = strstr(resource, "memory") || strstr(resource, "storage") || strstr(resource, "hugepages");

	return json_string(k8s_quantity_text(milli, binary && milli % (1024 * 1000) == 0, text));
}
