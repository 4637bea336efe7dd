// SPDX-License-Identifier: Apache-2.0
#include "server/sched_fit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "k8s/quantity.h"

static bool say(char *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Add a reason. Returns false, so that "return say(...)" works. */
static bool say(char *why, const char *fmt, ...)
{
	size_t len = strlen(why);
	va_list args;

	if (len && len + 1 < SCHED_WHY_MAX)
		why[len++] = '\n';
	va_start(args, fmt);
	vsnprintf(why + len, SCHED_WHY_MAX - len, fmt, args);
	va_end(args);
	return false;
}

/* --- taints --- */

static bool toleration_matches(const json_t *t, const json_t *taint)
{
	const char *key = jpath_str(t, "key", ""), *effect = jpath_str(t, "effect", ""), *op = jpath_str(t, "operator", "");

	if (*effect && strcmp(effect, jpath_str(taint, "effect", "")))
		return false;
	if (*key && strcmp(key, jpath_str(taint, "key", "")))
		return false;
	if (!strcmp(op, "Exists"))
		return true;
	return *key && !strcmp(jpath_str(t, "value", ""), jpath_str(taint, "value", ""));
}

static bool tolerated(const json_t *pod, const json_t *taint)
{
	json_t *t;
	size_t i;

	json_array_foreach(jpath_get(pod, "spec.tolerations"), i, t)
		if (toleration_matches(t, taint))
			return true;
	return false;
}

static bool fits_unschedulable(const json_t *pod, const struct sched_need *need, const struct sched_node *n, char *why)
{
	json_t *taint;
	bool ok;

	(void)need;
	if (!n->unschedulable)
		return true;
	taint = json_pack("{s:s,s:s}", "key", "node.kubernetes.io/unschedulable", "effect", "NoSchedule");
	ok = tolerated(pod, taint);
	json_decref(taint);
	return ok || say(why, "node(s) were unschedulable");
}

/* The first taint that keeps the pod away; NULL: none. */
static const json_t *intolerable(const json_t *pod, const struct sched_node *n)
{
	json_t *taint;
	size_t i;

	json_array_foreach(n->taints, i, taint) {
		const char *effect = jpath_str(taint, "effect", "");
		if ((!strcmp(effect, "NoSchedule") || !strcmp(effect, "NoExecute")) && !tolerated(pod, taint))
			return taint;
	}
	return NULL;
}

bool sched_node_tolerated(const json_t *pod, const struct sched_node *n)
{
	return !intolerable(pod, n);
}

static bool fits_taints(const json_t *pod, const struct sched_need *need, const struct sched_node *n, char *why)
{
	const json_t *taint = intolerable(pod, n);

	(void)need;
	return !taint || say(why, "node(s) had untolerated taint {%s: %s}", jpath_str(taint, "key", ""), jpath_str(taint, "value", ""));
}

/* --- node selector and affinity --- */

static bool has_value(const json_t *values, const char *value)
{
	json_t *v;
	size_t i;

	json_array_foreach((json_t *)values, i, v)
		if (json_is_string(v) && !strcmp(json_string_value(v), value))
			return true;
	return false;
}

static bool requirement_met(const json_t *req, const char *value)
{
	const char *op = jpath_str(req, "operator", "");
	json_t *values = json_object_get(req, "values");

	if (!strcmp(op, "In"))
		return value && has_value(values, value);
	if (!strcmp(op, "NotIn"))
		return !value || !has_value(values, value);
	if (!strcmp(op, "Exists"))
		return value != NULL;
	if (!strcmp(op, "DoesNotExist"))
		return !value;
	if ((!strcmp(op, "Gt") || !strcmp(op, "Lt")) && value) {
		const char *text = json_string_value(json_array_get(values, 0));
		char *end, *end2;
		long long have = strtoll(value, &end, 10), want = strtoll(text ? text : "", &end2, 10);
		return !*end && *value && text && *text && !*end2 && (*op == 'G' ? have > want : have < want);
	}
	return false;
}

static bool term_met(const json_t *term, const struct sched_node *n)
{
	json_t *expressions = json_object_get(term, "matchExpressions"), *fields = json_object_get(term, "matchFields"), *req;
	size_t i;

	if (!json_array_size(expressions) && !json_array_size(fields))
		return false;   // an empty term selects nothing
	json_array_foreach(expressions, i, req)
		if (!requirement_met(req, json_string_value(json_object_get(n->labels, jpath_str(req, "key", "")))))
			return false;
	json_array_foreach(fields, i, req)
		if (strcmp(jpath_str(req, "key", ""), "metadata.name") || !requirement_met(req, n->name))
			return false;
	return true;
}

bool sched_terms_met(const json_t *selector, const struct sched_node *n)
{
	size_t i;
	json_t *term;

	json_array_foreach(json_object_get(selector, "nodeSelectorTerms"), i, term)
		if (term_met(term, n))
			return true;
	return false;
}

bool sched_node_selected(const json_t *pod, const struct sched_node *n)
{
	json_t *required = jpath_get(pod, "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"), *v;
	const char *key;

	json_object_foreach(jpath_get(pod, "spec.nodeSelector"), key, v) {
		const char *have = json_string_value(json_object_get(n->labels, key)), *want = json_string_value(v);
		if (!have || !want || strcmp(have, want))
			return false;
	}
	return !required || sched_terms_met(required, n);
}

static bool fits_affinity(const json_t *pod, const struct sched_need *need, const struct sched_node *n, char *why)
{
	(void)need;
	return sched_node_selected(pod, n) || say(why, "node(s) didn't match Pod's node affinity/selector");
}

/* --- host ports --- */

static bool ports_clash(const struct sched_port *a, const struct sched_port *b)
{
	return a->port == b->port && !strcmp(a->protocol, b->protocol) &&
	       (!strcmp(a->ip, "0.0.0.0") || !strcmp(b->ip, "0.0.0.0") || !strcmp(a->ip, b->ip));
}

static bool fits_ports(const json_t *pod, const struct sched_need *need, const struct sched_node *n, char *why)
{
	struct sched_pod *p;
	size_t pos = 0;

	(void)pod;
	if (!need->port_count)
		return true;
	while ((p = map_next(&n->pods, &pos, NULL)))
		for (int i = 0; i < p->need.port_count && !p->hidden; i++)
			for (int j = 0; j < need->port_count; j++)
				if (ports_clash(&p->need.ports[i], &need->ports[j]))
					return say(why, "node(s) didn't have free ports for the requested pod ports");
	return true;
}

/* --- resources --- */

static int64_t used_extra(const struct sched_node *n, const char *name)
{
	for (int i = 0; i < n->used.extra_count; i++)
		if (!strcmp(n->used.extra[i].name, name))
			return n->used.extra[i].amount;
	return 0;
}

static bool fits_resources(const json_t *pod, const struct sched_need *need, const struct sched_node *n, char *why)
{
	const struct sched_amounts *want = &need->requests;
	bool ok = true;

	(void)pod;
	if (n->pod_count + 1 > n->max_pods)
		ok = say(why, "Too many pods");
	if (want->milli_cpu && want->milli_cpu > n->have.milli_cpu - n->used.milli_cpu)
		ok = say(why, "Insufficient cpu");
	if (want->memory && want->memory > n->have.memory - n->used.memory)
		ok = say(why, "Insufficient memory");
	if (want->ephemeral && want->ephemeral > n->have.ephemeral - n->used.ephemeral)
		ok = say(why, "Insufficient ephemeral-storage");
	for (int i = 0; i < want->extra_count; i++) {
		const char *name = want->extra[i].name;
		int64_t have = k8s_quantity_value(json_object_get(n->allocatable, name), 0);
		if (want->extra[i].amount && want->extra[i].amount > have - used_extra(n, name))
			ok = say(why, "Insufficient %s", name);
	}
	return ok;
}

static bool (*const filters[])(const json_t *pod, const struct sched_need *need, const struct sched_node *n, char *why) = {
	fits_unschedulable, fits_taints, fits_affinity, fits_ports, fits_resources,
};

bool sched_fits(const json_t *pod, const struct sched_need *need, const struct sched_node *n, char *why)
{
	*why = '\0';
	for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
		if (!filters[i](pod, need, n, why))
			return false;
	return true;
}

/* --- scores --- */

static double free_share(int64_t have, int64_t used)
{
	return have <= 0 || used >= have ? 0 : 100.0 * (have - used) / have;
}

static double score_least_allocated(const json_t *pod, const struct sched_need *need, const struct sched_node *n)
{
	(void)pod;
	return (free_share(n->have.milli_cpu, n->score_cpu + need->score_cpu) +
		free_share(n->have.memory, n->score_memory + need->score_memory)) / 2;
}

static bool node_has_image(const struct sched_node *n, const char *image)
{
	json_t *entry;
	size_t i;

	json_array_foreach(n->images, i, entry)
		if (has_value(json_object_get(entry, "names"), image))
			return true;
	return false;
}

/* Share of the pod's images that are there. */
static double score_images(const json_t *pod, const struct sched_need *need, const struct sched_node *n)
{
	json_t *containers = jpath_get(pod, "spec.containers"), *c;
	size_t i, present = 0;

	(void)need;
	json_array_foreach(containers, i, c)
		present += node_has_image(n, jpath_str(c, "image", ""));
	return json_array_size(containers) ? 100.0 * present / json_array_size(containers) : 0;
}

static double score_affinity(const json_t *pod, const struct sched_need *need, const struct sched_node *n)
{
	json_t *preferred = jpath_get(pod, "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution"), *p;
	double sum = 0, all = 0;
	size_t i;

	(void)need;
	json_array_foreach(preferred, i, p) {
		double weight = jpath_int(p, "weight", 0);
		all += weight;
		if (term_met(json_object_get(p, "preference"), n))
			sum += weight;
	}
	return all > 0 ? 100 * sum / all : 0;
}

static double score_soft_taints(const json_t *pod, const struct sched_need *need, const struct sched_node *n)
{
	int unwanted = 0;
	json_t *taint;
	size_t i;

	(void)need;
	json_array_foreach(n->taints, i, taint)
		if (!strcmp(jpath_str(taint, "effect", ""), "PreferNoSchedule") && !tolerated(pod, taint))
			unwanted++;
	return 100.0 / (1 + unwanted);
}

static const struct {
	double (*score)(const json_t *pod, const struct sched_need *need, const struct sched_node *n);
	double weight;
} scores[] = {
	{ score_least_allocated, 1 }, { score_images, 1 }, { score_affinity, 2 }, { score_soft_taints, 3 },
};

double sched_score(const json_t *pod, const struct sched_need *need, const struct sched_node *n)
{
	double sum = 0;

	for (size_t i = 0; i < sizeof scores / sizeof *scores; i++)
		sum += scores[i].weight * scores[i].score(pod, need, n);
	return sum;
}
