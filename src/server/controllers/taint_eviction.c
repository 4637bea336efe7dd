// SPDX-License-Identifier: Apache-2.0
// Pods on a node with NoExecute taints are deleted: at once if they do not tolerate one of them, else when the shortest
// toleration ends.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/map.h"
#include "server/meta.h"
#include "server/recorder.h"
#include "server/registry.h"
#include "server/view.h"

struct eviction {
	struct server *srv;
	struct map tainted;         // node name -> json array of its NoExecute taints; only nodes that have some
	bool dirty;
	uint64_t next;              // when the next pod's time comes; monotonic
};

static json_t *no_execute(const json_t *node)
{
	json_t *found = json_array(), *t;
	size_t i;

	json_array_foreach(jpath_get(node, "spec.taints"), i, t)
		if (!strcmp(jpath_str(t, "effect", ""), "NoExecute"))
			json_array_append(found, t);
	if (json_array_size(found))
		return found;
	json_decref(found);
	return NULL;
}

static void free_taints(void *value)
{
	json_decref(value);
}

static void node_changed(void *unit, int type, struct obj *o)
{
	struct eviction *v = unit;
	own_json json_t *node = obj_view(o);
	const char *name = jpath_str(node, "metadata.name", "");
	json_t *taints = type == EVENT_DELETED ? NULL : no_execute(node);

	json_decref(map_remove(&v->tainted, name));
	if (!taints)
		return;
	if (map_put(&v->tainted, name, taints))
		json_decref(taints);
	v->dirty = true;
}

static bool matches(const json_t *t, const json_t *taint)
{
	const char *key = jpath_str(t, "key", ""), *effect = jpath_str(t, "effect", "");

	if ((*effect && strcmp(effect, "NoExecute")) || (*key && strcmp(key, jpath_str(taint, "key", ""))))
		return false;
	return !strcmp(jpath_str(t, "operator", ""), "Exists") || (*key && !strcmp(jpath_str(t, "value", ""), jpath_str(taint, "value", "")));
}

/* When (real time, ns) the pod must go because of one taint; LOOP_NEVER: not. */
static uint64_t limit(const json_t *pod, const json_t *taint)
{
	uint64_t added = 0, at = 0;
	bool tolerated = false, forever = false;
	json_t *t;
	size_t i;

	clock_parse(jpath_str(taint, "timeAdded", ""), &added);
	json_array_foreach(jpath_get(pod, "spec.tolerations"), i, t) {
		long long s = jpath_int(t, "tolerationSeconds", 0);
		if (!matches(t, taint))
			continue;
		if (!json_object_get(t, "tolerationSeconds")) {
			forever = true;
		} else {
			uint64_t end = added + (uint64_t)(s > 0 ? s : 0) * NS_PER_S;
			if (!tolerated || end < at)
				at = end;
			tolerated = true;
		}
	}
	return tolerated ? at : forever ? LOOP_NEVER : 0;
}

/* The real time at which the pod has to go, by the taints of its node. */
static uint64_t due_at(struct eviction *v, const json_t *pod)
{
	json_t *taints = map_get(&v->tainted, jpath_str(pod, "spec.nodeName", "")), *taint;
	uint64_t at = LOOP_NEVER;
	size_t i;

	if (!taints || meta_is_deleting(pod))
		return LOOP_NEVER;
	json_array_foreach(taints, i, taint) {
		uint64_t l = limit(pod, taint);
		if (l < at)
			at = l;
	}
	return at;
}

static void pod_changed(void *unit, int type, struct obj *o)
{
	struct eviction *v = unit;
	uint64_t real = clock_real_ns(), at, now = clock_mono_ns();
	own_json json_t *pod = v->tainted.count && type != EVENT_DELETED ? obj_view(o) : NULL;

	if (!pod)
		return;
	at = due_at(v, pod);
	if (at <= real)
		v->dirty = true;
	else if (at != LOOP_NEVER && now + (at - real) < v->next)
		v->next = now + (at - real);
}

/* Delete the pod if it is time. Returns when it will be. */
static uint64_t look_at(struct eviction *v, struct obj *o, uint64_t now)
{
	own_json json_t *pod = obj_view(o);
	uint64_t at = due_at(v, pod);

	if (at > now)
		return at;
	recorder_event(v->srv->recorder, pod, "taint-eviction-controller", "Normal", "TaintManagerEviction",
		       "Marking for deletion Pod %s/%s", jpath_str(pod, "metadata.namespace", ""), jpath_str(pod, "metadata.name", ""));
	delete_object(v->srv, k8s_kind_find("", "v1", "pods"), jpath_str(pod, "metadata.namespace", ""),
		      jpath_str(pod, "metadata.name", ""), jpath_str(pod, "metadata.uid", ""), -1, NULL);
	return LOOP_NEVER;
}

static uint64_t look_at_node(struct eviction *v, const char *node, uint64_t now)
{
	uint64_t next = LOOP_NEVER;
	struct store_list l;

	if (store_list_node(v->srv->store, node, &l))
		return now + NS_PER_S;
	for (size_t i = 0; i < l.count; i++) {
		uint64_t at = look_at(v, l.objs[i], now);
		if (at < next)
			next = at;
	}
	store_list_fini(&l);
	return next;
}

static uint64_t work(void *unit, uint64_t now)
{
	struct eviction *v = unit;
	uint64_t real = clock_real_ns(), next = LOOP_NEVER;
	const char *node;
	size_t pos = 0;

	if (!v->tainted.count)
		return v->next = LOOP_NEVER;
	if (!v->dirty && now < v->next)
		return v->next;
	v->dirty = false;
	while (map_next(&v->tainted, &pos, &node)) {
		uint64_t at = look_at_node(v, node, real);
		if (at < next)
			next = at;
	}
	return v->next = next == LOOP_NEVER ? next : now + (next - real);
}

static int eviction_open(struct server *srv, void **unit, struct err *e)
{
	struct eviction *v = calloc(1, sizeof *v);

	if (!v)
		return err_set(e, ENOMEM, "out of memory");
	v->srv = srv;
	*unit = v;
	return 0;
}

static void eviction_close(void *unit)
{
	struct eviction *v = unit;

	map_fini(&v->tainted, free_taints);
	free(v);
}

static const struct unit_source sources[] = {
	{ "", "v1", "nodes", node_changed, NULL },
	{ "", "v1", "pods", pod_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops taint_eviction_unit = {
	.name = "taint eviction", .sources = sources, .open = eviction_open, .work = work, .close = eviction_close,
};
