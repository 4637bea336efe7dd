// SPDX-License-Identifier: Apache-2.0
// Is each node alive? A node says so by renewing its lease (or its status). One that has not for 40 s gets its conditions
// set to Unknown; conditions become taints, which keep new pods away and, with NoExecute, send the others off.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "server/binding.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/map.h"
#include "server/meta.h"
#include "server/recorder.h"
#include "server/registry.h"
#include "server/view.h"

#define GRACE_NS (40 * NS_PER_S)

struct node {
	char lease_time[40];       // renewTime last seen
	char heartbeat[40];        // lastHeartbeatTime of Ready last seen
	uint64_t seen_ns;          // when (monotonic) one of them last changed
	bool unknown;              // declared so
	bool exists, dirty;        // dirty: taints to be looked at
};

struct health {
	struct server *srv;
	struct map nodes;
	bool dirty;                // a node is
	uint64_t next;             // no node can be overdue before; monotonic
};

static struct node *node_get(struct health *h, const char *name)
{
	struct node *n = map_get(&h->nodes, name);

	if (n)
		return n;
	n = calloc(1, sizeof *n);
	if (!n || map_put(&h->nodes, name, n)) {
		free(n);
		return NULL;
	}
	n->seen_ns = clock_mono_ns();
	return n;
}

static json_t *condition(const json_t *node, const char *type)
{
	json_t *c;
	size_t i;

	json_array_foreach(jpath_get(node, "status.conditions"), i, c)
		if (!strcmp(jpath_str(c, "type", ""), type))
			return c;
	return NULL;
}

static void note(char slot[40], const char *text, struct node *n)
{
	if (!*text || !strncmp(slot, text, 39))
		return;
	strncpy(slot, text, 39);
	n->seen_ns = clock_mono_ns();
}

static void node_changed(void *unit, int type, struct obj *o)
{
	struct health *h = unit;
	own_json json_t *j = obj_view(o);
	const char *name = jpath_str(j, "metadata.name", "");
	struct node *n;

	if (type == EVENT_DELETED) {
		free(map_remove(&h->nodes, name));
		return;
	}
	n = node_get(h, name);
	if (!n)
		return;
	n->exists = n->dirty = h->dirty = true;
	if (strcmp(jpath_str(condition(j, "Ready"), "status", ""), "Unknown"))
		note(n->heartbeat, jpath_str(condition(j, "Ready"), "lastHeartbeatTime", ""), n);
	n->unknown = !strcmp(jpath_str(condition(j, "Ready"), "status", ""), "Unknown");
}

static void lease_changed(void *unit, int type, struct obj *o)
{
	struct health *h = unit;
	own_json json_t *j = obj_json(o);
	struct node *n;

	if (type == EVENT_DELETED || strcmp(jpath_str(j, "metadata.namespace", ""), "kube-node-lease"))
		return;
	n = node_get(h, jpath_str(j, "metadata.name", ""));
	if (n)
		note(n->lease_time, jpath_str(j, "spec.renewTime", ""), n);
}

static void nodes_reset(void *unit)
{
	struct health *h = unit;
	struct node *n;
	size_t pos = 0;

	while ((n = map_next(&h->nodes, &pos, NULL)))
		n->exists = false;
}

/* --- conditions --- */

static bool set_unknown(json_t *node, void *user)
{
	static const char *const types[] = { "Ready", "MemoryPressure", "DiskPressure", "PIDPressure" };
	bool changed = false;

	(void)user;
	for (int i = 0; i < 4; i++)
		if (i == 0 || condition(node, types[i]))
			changed |= condition_set(node, types[i], "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.");
	return changed;
}

/* --- taints --- */

struct want { const char *key, *effect; bool wanted; };

static size_t find_taint(const json_t *taints, const char *key, const char *effect)
{
	json_t *t;
	size_t i;

	json_array_foreach((json_t *)taints, i, t)
		if (!strcmp(jpath_str(t, "key", ""), key) && !strcmp(jpath_str(t, "effect", ""), effect))
			return i;
	return json_array_size(taints);
}

static bool apply_taint(json_t *taints, const struct want *w)
{
	size_t at = find_taint(taints, w->key, w->effect);
	bool has = at < json_array_size(taints);
	char now[40];
	json_t *t;

	if (has == w->wanted)
		return false;
	if (has)
		return !json_array_remove(taints, at);
	t = json_pack("{s:s,s:s}", "key", w->key, "effect", w->effect);
	if (!strcmp(w->effect, "NoExecute"))
		json_object_set_new(t, "timeAdded", json_string(meta_now(now)));
	return !json_array_append_new(taints, t);
}

static bool is_status(const json_t *node, const char *type, const char *status)
{
	return !strcmp(jpath_str(condition(node, type), "status", ""), status);
}

static bool set_taints(json_t *node, void *user)
{
	bool ready_known = condition(node, "Ready") != NULL;
	bool not_ready = is_status(node, "Ready", "False") || !ready_known, unknown = is_status(node, "Ready", "Unknown");
	const struct want wants[] = {
		{ "node.kubernetes.io/not-ready", "NoSchedule", not_ready },
		{ "node.kubernetes.io/not-ready", "NoExecute", not_ready && ready_known },
		{ "node.kubernetes.io/unreachable", "NoSchedule", unknown },
		{ "node.kubernetes.io/unreachable", "NoExecute", unknown },
		{ "node.kubernetes.io/memory-pressure", "NoSchedule", is_status(node, "MemoryPressure", "True") },
		{ "node.kubernetes.io/disk-pressure", "NoSchedule", is_status(node, "DiskPressure", "True") },
		{ "node.kubernetes.io/pid-pressure", "NoSchedule", is_status(node, "PIDPressure", "True") },
		{ "node.kubernetes.io/network-unavailable", "NoSchedule", is_status(node, "NetworkUnavailable", "True") },
		{ "node.kubernetes.io/unschedulable", "NoSchedule", jpath_bool(node, "spec.unschedulable", false) },
	};
	json_t *taints = jpath_get(node, "spec.taints");
	bool changed = false;

	(void)user;
	if (!json_is_array(taints)) {
		jpath_set(node, "spec.taints", json_array());
		taints = jpath_get(node, "spec.taints");
	}
	for (size_t i = 0; i < sizeof wants / sizeof *wants; i++)
		changed |= apply_taint(taints, &wants[i]);
	if (!json_array_size(taints))
		json_object_del(json_object_get(node, "spec"), "taints");
	return changed;
}

/* --- work --- */

static void declare_unknown(struct health *h, struct node *n, const char *name)
{
	const struct k8s_kind *k = k8s_kind_find("", "v1", "nodes");
	struct err e = ERR_INIT;
	int r = change_object(h->srv, k, "", name, "status", set_unknown, NULL, &e);
	own_json json_t *about = json_pack("{s:s,s:s,s:{s:s,s:s}}", "kind", "Node", "apiVersion", "v1", "metadata", "name", name, "uid", name);

	if (r && r != -ENOENT) {
		log_warn("nodes", "node=%s: %s", name, e.text);
		return;
	}
	n->unknown = true;
	n->dirty = true;
	if (!r)
		recorder_event(h->srv->recorder, about, "node-controller", "Normal", "NodeNotReady", "Node %s status is now: NodeNotReady", name);
}

static uint64_t work(void *unit, uint64_t now)
{
	struct health *h = unit;
	uint64_t next = LOOP_NEVER;
	struct node *n;
	const char *name;
	size_t pos = 0;

	if (!h->dirty && now < h->next)   // a node that has been heard of since is due later
		return h->next;
	h->dirty = false;
	while ((n = map_next(&h->nodes, &pos, &name))) {
		struct err e = ERR_INIT;
		if (!n->exists)
			continue;
		if (!n->unknown && now >= n->seen_ns + GRACE_NS)
			declare_unknown(h, n, name);
		if (!n->unknown && n->seen_ns + GRACE_NS < next)
			next = n->seen_ns + GRACE_NS;
		if (!n->dirty)
			continue;
		n->dirty = false;
		int r = change_object(h->srv, k8s_kind_find("", "v1", "nodes"), "", name, "", set_taints, NULL, &e);
		if (r && r != -ENOENT)
			log_warn("nodes", "node=%s taints: %s", name, e.text);
	}
	return h->next = next;
}

static int health_open(struct server *srv, void **unit, struct err *e)
{
	struct health *h = calloc(1, sizeof *h);

	if (!h)
		return err_set(e, ENOMEM, "out of memory");
	h->srv = srv;
	*unit = h;
	return 0;
}

static void health_close(void *unit)
{
	struct health *h = unit;

	map_fini(&h->nodes, free);
	free(h);
}

static const struct unit_source sources[] = {
	{ "", "v1", "nodes", node_changed, nodes_reset },
	{ "coordination.k8s.io", "v1", "leases", lease_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops node_health_unit = {
	.name = "node health", .sources = sources, .open = health_open, .work = work, .close = health_close,
};
