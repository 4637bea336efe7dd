// SPDX-License-Identifier: Apache-2.0
// Evictions ask the disruption budget of the pod.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/selector.h"
#include "server/controllers/syncer.h"
#include "server/meta.h"
#include "server/quota.h"
#include "server/registry.h"
#include "server/status.h"

static bool is_ready(const json_t *pod)
{
	return !strcmp(jpath_str(status_condition_find(json_object_get(pod, "status"), "Ready"), "status", ""), "True");
}

/* Pods that do no work may go whatever their budget says. */
static bool needs_leave(const json_t *pod, const json_t *budget)
{
	const char *phase = jpath_str(pod, "status.phase", "");

	if (!strcmp(phase, "Succeeded") || !strcmp(phase, "Failed") || !strcmp(phase, "Pending") || meta_is_deleting(pod))
		return false;
	if (is_ready(pod))
		return true;
	if (!strcmp(jpath_str(budget, "spec.unhealthyPodEvictionPolicy", "IfHealthyBudget"), "AlwaysAllow"))
		return false;
	return jpath_int(budget, "status.currentHealthy", 0) < jpath_int(budget, "status.desiredHealthy", 0) ||
	       !jpath_int(budget, "status.desiredHealthy", 0);
}

static json_t *too_many(const char *cause, int retry_after)
{
	json_t *s = status_new(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.");

	status_cause(s, "DisruptionBudget", cause, NULL);
	if (retry_after)
		jpath_set(s, "details.retryAfterSeconds", json_integer(retry_after));
	return s;
}

static json_t *take_one(const struct obj *o, json_t *budget, const json_t *pod, struct quota_note *n)
{
	long long allowed = jpath_int(budget, "status.disruptionsAllowed", 0);
	char why[400], now[40];
	const char *name = jpath_str(budget, "metadata.name", "");
	int r;

	if (jpath_int(budget, "status.observedGeneration", 0) < jpath_int(budget, "metadata.generation", 0)) {
		snprintf(why, sizeof why, "The disruption budget %.253s is still being processed by the server.", name);
		return too_many(why, 10);
	}
	if (allowed <= 0) {
		snprintf(why, sizeof why, "The disruption budget %.253s needs %lld healthy pods and has %lld currently", name,
			 jpath_int(budget, "status.desiredHealthy", 0), jpath_int(budget, "status.currentHealthy", 0));
		return too_many(why, 0);
	}
	jpath_set(budget, "status.disruptionsAllowed", json_integer(allowed - 1));
	if (!json_is_object(jpath_get(budget, "status.disruptedPods")))
		jpath_set(budget, "status.disruptedPods", json_object());
	json_object_set_new(jpath_get(budget, "status.disruptedPods"), jpath_str(pod, "metadata.name", ""), json_string(meta_now(now)));
	n->expect = o->rv;
	r = obj_encode(obj_key(o), budget, &n->obj);
	return r ? status_errno(r) : NULL;
}

json_t *budget_admit(struct server *srv, const struct k8s_kind *k, const json_t *pod, const json_t *noted, struct quota_note *n)
{
	const struct k8s_kind *budgets = k8s_kind_find("policy", "v1", "poddisruptionbudgets");
	own_json json_t *budget = NULL;
	own_obj struct obj *found = NULL;
	char prefix[REG_KEY_MAX];
	struct store_list l;
	int count = 0, r;

	(void)k;
	*n = (struct quota_note){ 0 };
	r = store_list(srv->store, reg_prefix(budgets, jpath_str(pod, "metadata.namespace", ""), prefix), NULL, 0, 0, &l);
	if (r)
		return status_errno(r);
	for (size_t i = 0; i < l.count; i++) {
		json_t *b = obj_json(l.objs[i]);
		struct k8s_selector *sel = NULL;
		if (b && !k8s_label_selector_from_json(jpath_get(b, "spec.selector"), &sel, NULL) &&
		    k8s_label_selector_match(sel, jpath_get(pod, "metadata.labels")) && ++count == 1) {
			budget = json_incref(b);
			found = obj_ref(l.objs[i]);
		}
		k8s_selector_free(sel);
		json_decref(b);
	}
	store_list_fini(&l);
	if (count > 1)
		return status_new(500, "InternalError", "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
	if (!count || !needs_leave(pod, budget) || json_object_get(noted, obj_key(found)))
		return NULL;
	return take_one(found, budget, pod, n);
}
