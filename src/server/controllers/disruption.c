// SPDX-License-Identifier: Apache-2.0
// PodDisruptionBudgets: how many of the pods that a budget selects may be evicted now.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/selector.h"
#include "server/controllers/controllers.h"
#include "server/controllers/owner.h"
#include "server/controllers/replicas.h"
#include "server/controllers/syncer.h"
#include "server/meta.h"
#include "server/registry.h"

#define LEAVE_NS (120 * NS_PER_S)     // an eviction that was allowed shows within this time or does not happen

struct tally { long long pods, healthy, expected; };

/* How many pods their controllers want: each controller counts once. */
static long long expected(struct syncer *s, const json_t *pods)
{
	own_json json_t *seen = json_object();
	long long total = 0;
	json_t *pod;
	size_t i;

	json_array_foreach((json_t *)pods, i, pod) {
		const json_t *ref = owner_controller(pod);
		const struct k8s_kind *k = k8s_kind_by_name(jpath_str(ref, "apiVersion", ""), jpath_str(ref, "kind", ""));
		const char *uid = jpath_str(ref, "uid", "");
		char key[REG_KEY_MAX];
		own_obj struct obj *o = NULL;
		own_json json_t *owner = NULL;
		if (!k || json_object_get(seen, uid))
			continue;
		json_object_set_new(seen, uid, json_true());
		o = store_get(s->srv->store, reg_key(k, jpath_str(pod, "metadata.namespace", ""), jpath_str(ref, "name", ""), key));
		owner = o ? obj_json(o) : NULL;
		total += jpath_int(owner, "spec.replicas", 0);
	}
	return total;
}

/* disrupted: pods whose eviction was allowed; they count as gone already. */
static bool is_healthy(const json_t *pod, const json_t *disrupted)
{
	const json_t *ready = status_condition_find(json_object_get(pod, "status"), "Ready");

	return !meta_is_deleting(pod) && !strcmp(jpath_str(ready, "status", ""), "True") &&
	       !json_object_get(disrupted, jpath_str(pod, "metadata.name", ""));
}

/* Evictions that were allowed and have not shown yet; those that did, or that never came, are forgotten. *next: when. */
static json_t *still_disrupted(const json_t *old, const json_t *pods, uint64_t now, uint64_t *next)
{
	json_t *disrupted = json_object(), *pod;
	size_t i;

	json_array_foreach((json_t *)pods, i, pod) {
		const char *name = jpath_str(pod, "metadata.name", "");
		json_t *when = json_object_get(old, name);
		uint64_t at;
		if (!when || meta_is_deleting(pod) || clock_parse(json_string_value(when), &at) || at + LEAVE_NS <= now)
			continue;
		json_object_set(disrupted, name, when);
		if (at + LEAVE_NS < *next)
			*next = at + LEAVE_NS;
	}
	return disrupted;
}

static json_t *selected(struct syncer *s, const json_t *budget)
{
	struct k8s_selector *sel = NULL;
	json_t *pods = json_array();
	char prefix[REG_KEY_MAX];
	struct store_list l;

	if (k8s_label_selector_from_json(jpath_get(budget, "spec.selector"), &sel, NULL))
		return pods;
	if (!store_list(s->srv->store, reg_prefix(k8s_kind_find("", "v1", "pods"), jpath_str(budget, "metadata.namespace", ""), prefix),
			NULL, 0, 0, &l)) {
		for (size_t i = 0; i < l.count; i++) {
			own_json json_t *pod = obj_json(l.objs[i]);
			const char *phase = jpath_str(pod, "status.phase", "");
			if (strcmp(phase, "Succeeded") && strcmp(phase, "Failed") &&
			    k8s_label_selector_match(sel, jpath_get(pod, "metadata.labels")))
				json_array_append(pods, pod);
		}
		store_list_fini(&l);
	}
	k8s_selector_free(sel);
	return pods;
}

/* How many must stay healthy. */
static long long desired(const json_t *budget, struct tally *t, const json_t *pods, struct syncer *s)
{
	const json_t *most_out = jpath_get(budget, "spec.maxUnavailable"), *least = jpath_get(budget, "spec.minAvailable");
	long long want;

	t->expected = most_out || json_is_string(least) ? expected(s, pods) : t->pods;
	if (!most_out)
		return replicas_resolve(least, t->expected, true, 0);
	want = t->expected - replicas_resolve(most_out, t->expected, true, 0);
	return want > 0 ? want : 0;
}

static uint64_t sync_one(struct syncer *s, json_t *budget, struct child *children, uint64_t now)
{
	json_t *old = json_object_get(budget, "status");
	own_json json_t *status = old ? json_deep_copy(old) : json_object(), *pods = selected(s, budget);
	own_json json_t *disrupted = NULL;
	struct tally t = { .pods = (long long)json_array_size(pods) };
	uint64_t next = LOOP_NEVER;
	long long want, allowed;
	json_t *pod;
	size_t i;

	(void)children;
	disrupted = still_disrupted(json_object_get(status, "disruptedPods"), pods, now, &next);
	json_array_foreach(pods, i, pod)
		t.healthy += is_healthy(pod, disrupted);
	want = desired(budget, &t, pods, s);
	allowed = t.expected > 0 && t.healthy > want ? t.healthy - want : 0;
	json_object_set_new(status, "currentHealthy", json_integer(t.healthy));
	json_object_set_new(status, "desiredHealthy", json_integer(want));
	json_object_set_new(status, "expectedPods", json_integer(t.expected));
	json_object_set_new(status, "disruptionsAllowed", json_integer(allowed));
	json_object_set_new(status, "observedGeneration", json_integer(jpath_int(budget, "metadata.generation", 0)));
	status_condition(status, "DisruptionAllowed", allowed ? "True" : "False", allowed ? "SufficientPods" : "InsufficientPods", "", false);
	if (json_object_size(disrupted))
		json_object_set(status, "disruptedPods", disrupted);
	else
		json_object_del(status, "disruptedPods");
	return syncer_set_status(s, budget, status) ? SYNC_RETRY : next;
}

/* A pod or its controller has changed: the budgets of its namespace look again. */
static void other_changed(void *unit, int type, struct obj *o)
{
	struct obj_name n = obj_name(o);
	char ns[256];

	(void)type;
	snprintf(ns, sizeof ns, "%.*s", (int)n.ns_len, n.ns);
	syncer_look_in(unit, ns);
}

static const struct sync_ops ops = {
	.component = "controllermanager", .group = "policy", .version = "v1", .plural = "poddisruptionbudgets",
	.kind = "PodDisruptionBudget", .sync = sync_one,
};

static int disruption_open(struct server *srv, void **unit, struct err *e)
{
	return syncer_new(srv, &ops, unit, e);
}

static const struct unit_source sources[] = {
	{ "policy", "v1", "poddisruptionbudgets", syncer_owner_changed, NULL },
	{ "", "v1", "pods", other_changed, NULL },
	{ "apps", "v1", "replicasets", other_changed, NULL },
	{ "apps", "v1", "statefulsets", other_changed, NULL },
	{ "", "v1", "replicationcontrollers", other_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops disruption_unit = {
	.name = "disruption budgets", .sources = sources, .open = disruption_open, .work = syncer_work, .close = syncer_close,
};
