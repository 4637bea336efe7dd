// SPDX-License-Identifier: Apache-2.0
#include "server/sched_term.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/selector.h"

static void term_fini(struct sched_term *t)
{
	free(t->topology);
	free(t->ns);
	k8s_selector_free(t->selector);
	k8s_selector_free(t->of_namespaces);
	json_decref(t->namespaces);
}

void sched_terms_fini(struct sched_terms *t)
{
	for (int i = 0; i < t->count; i++)
		term_fini(&t->list[i]);
	free(t->list);
	*t = (struct sched_terms){ 0 };
}

/* The selector with the values that the pod itself has for matchLabelKeys (and must not have for mismatchLabelKeys). */
static json_t *whole_selector(const json_t *term, const json_t *labels)
{
	static const struct { const char *list, *operator; } keys[] = { { "matchLabelKeys", "In" }, { "mismatchLabelKeys", "NotIn" } };
	json_t *selector = json_object_get(term, "labelSelector");

	if (!selector)
		return NULL;
	selector = json_deep_copy(selector);
	for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
		json_t *key;
		size_t i;
		json_array_foreach(json_object_get(term, keys[k].list), i, key) {
			json_t *value = json_object_get(labels, json_is_string(key) ? json_string_value(key) : "");
			json_t *list = json_object_get(selector, "matchExpressions");
			if (!value)
				continue;
			if (!list && !json_object_set_new(selector, "matchExpressions", json_array()))
				list = json_object_get(selector, "matchExpressions");
			json_array_append_new(list, json_pack("{s:O,s:s,s:[O]}", "key", key, "operator", keys[k].operator, "values", value));
		}
	}
	return selector;
}

/* 1: added; 0: makes no sense; -ENOMEM. */
static int add(struct sched_terms *t, enum sched_term_kind kind, const json_t *term, const json_t *pod, int weight)
{
	own_json json_t *selector = whole_selector(term, jpath_get(pod, "metadata.labels"));
	const json_t *of_namespaces = json_object_get(term, "namespaceSelector");
	struct sched_term *grown = realloc(t->list, (t->count + 1) * sizeof *grown), *n;

	if (!grown)
		return -ENOMEM;
	t->list = grown;
	n = &grown[t->count];
	*n = (struct sched_term){ .kind = kind, .weight = weight, .max_skew = jpath_int(term, "maxSkew", 1),
				  .min_domains = jpath_int(term, "minDomains", 1) };
	n->honors_taints = !strcmp(jpath_str(term, "nodeTaintsPolicy", "Ignore"), "Honor");
	n->honors_affinity = !strcmp(jpath_str(term, "nodeAffinityPolicy", "Honor"), "Honor");
	n->topology = strdup(jpath_str(term, "topologyKey", ""));
	n->ns = strdup(jpath_str(pod, "metadata.namespace", ""));
	if (json_array_size(json_object_get(term, "namespaces")))
		n->namespaces = json_incref(json_object_get(term, "namespaces"));
	if (!n->topology || !n->ns) {
		term_fini(n);
		return -ENOMEM;
	}
	if (!*n->topology || k8s_label_selector_from_json(selector, &n->selector, NULL) ||
	    (json_is_object(of_namespaces) && k8s_label_selector_from_json(of_namespaces, &n->of_namespaces, NULL))) {
		term_fini(n);
		return 0;
	}
	t->count++;
	return 1;
}

static int add_required(struct sched_terms *t, enum sched_term_kind kind, const json_t *pod, const char *path)
{
	json_t *term;
	size_t i;
	int r = 0;

	json_array_foreach(jpath_get(pod, path), i, term)
		if (r >= 0)
			r = add(t, kind, term, pod, 0);
	return r < 0 ? r : 0;
}

static int add_preferred(struct sched_terms *t, enum sched_term_kind kind, const json_t *pod, const char *path)
{
	json_t *term;
	size_t i;
	int r = 0;

	json_array_foreach(jpath_get(pod, path), i, term)
		if (r >= 0)
			r = add(t, kind, json_object_get(term, "podAffinityTerm"), pod, jpath_int(term, "weight", 1));
	return r < 0 ? r : 0;
}

static int add_spread(struct sched_terms *t, const json_t *pod)
{
	json_t *c;
	size_t i;
	int r = 0;

	json_array_foreach(jpath_get(pod, "spec.topologySpreadConstraints"), i, c)
		if (r >= 0)
			r = add(t, strcmp(jpath_str(c, "whenUnsatisfiable", ""), "ScheduleAnyway") ? TERM_SPREAD : TERM_RATHER_SPREAD, c, pod, 0);
	return r < 0 ? r : 0;
}

int sched_terms_parse(const json_t *pod, struct sched_terms *out)
{
	struct sched_terms t = { 0 };
	int r = 0;

	if (jpath_get(pod, "spec.affinity.podAffinity")) {
		r = add_required(&t, TERM_WITH, pod, "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution");
		r = r ? r : add_preferred(&t, TERM_RATHER_WITH, pod, "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution");
	}
	if (!r && jpath_get(pod, "spec.affinity.podAntiAffinity")) {
		r = add_required(&t, TERM_APART, pod, "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution");
		r = r ? r : add_preferred(&t, TERM_RATHER_APART, pod,
					  "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution");
	}
	if (!r)
		r = add_spread(&t, pod);
	if (r) {
		sched_terms_fini(&t);
		return r;
	}
	*out = t;
	return 0;
}

static bool names(const json_t *list, const char *name)
{
	json_t *v;
	size_t i;

	json_array_foreach((json_t *)list, i, v)
		if (json_is_string(v) && !strcmp(json_string_value(v), name))
			return true;
	return false;
}

bool sched_term_matches(const struct sched_term *t, const struct map *namespaces, const char *ns, const json_t *labels)
{
	bool meant = t->namespaces || t->of_namespaces ?
		names(t->namespaces, ns) ||
			(t->of_namespaces && k8s_label_selector_match(t->of_namespaces, map_get(namespaces, ns))) :
		!strcmp(t->ns, ns);

	return meant && k8s_label_selector_match(t->selector, labels);
}
