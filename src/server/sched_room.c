// SPDX-License-Identifier: Apache-2.0
#include "server/sched_room.h"

#include <errno.h>
#include <string.h>

#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "server/binding.h"
#include "server/controllers/change.h"
#include "server/recorder.h"
#include "server/registry.h"
#include "server/sched_preempt.h"
#include "server/scheduler.h"

static json_t *list_budgets(struct server *srv)
{
	json_t *list = json_array();
	char prefix[REG_KEY_MAX];
	struct store_list l;

	if (store_list(srv->store, reg_prefix(k8s_kind_find("policy", "v1", "poddisruptionbudgets"), NULL, prefix), NULL, 0, 0, &l))
		return list;
	for (size_t i = 0; i < l.count; i++)
		json_array_append_new(list, obj_json(l.objs[i]));
	store_list_fini(&l);
	return list;
}

static bool say_preempted(json_t *pod, void *user)
{
	(void)user;
	return condition_set(pod, "DisruptionTarget", "True", "PreemptionByScheduler",
			     SCHEDULER_NAME ": preempting to accommodate a higher priority pod");
}

/* False: it stays, and may be chosen again. */
static bool preempt(struct server *srv, const struct sched_pod *victim, const json_t *pod, const char *node)
{
	const struct k8s_kind *k = k8s_kind_find("", "v1", "pods");
	const char *name = victim->key + strlen(victim->ns) + 1;
	own_json json_t *about = json_pack("{s:s,s:s,s:{s:s,s:s,s:s}}", "kind", "Pod", "apiVersion", "v1", "metadata", "name", name, "namespace",
					   victim->ns, "uid", victim->uid);
	struct err e = ERR_INIT;

	change_object(srv, k, victim->ns, name, "status", say_preempted, NULL, NULL);
	if (delete_object(srv, k, victim->ns, name, victim->uid, -1, &e) && e.code != ENOENT) {
		log_warn("scheduler", "pod=%s not preempted: %s", victim->key, e.text);
		return false;
	}
	recorder_event(srv->recorder, about, SCHEDULER_NAME, "Normal", "Preempted", "Preempted by pod %s on node %s",
		       jpath_str(pod, "metadata.uid", ""), node);
	return true;
}

char *sched_make_room(struct server *srv, struct sched_cache *cache, const json_t *pod, const struct sched_need *need)
{
	own_json json_t *budgets = NULL;
	struct sched_victims v;
	char *node;

	if (!strcmp(jpath_str(pod, "spec.preemptionPolicy", ""), "Never"))
		return NULL;
	budgets = list_budgets(srv);
	if (sched_preempt(cache, pod, need, budgets, &v) <= 0)
		return NULL;
	node = strdup(v.node->name);
	for (size_t i = 0; node && i < v.count; i++) {
		if (v.pods[i]->nominated)
			sched_cache_pod_gone(cache, v.pods[i]->key);   // was only promised the room
		else
			v.pods[i]->deleting = preempt(srv, v.pods[i], pod, node);
	}
	sched_victims_fini(&v);
	return node;
}
