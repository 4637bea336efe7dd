// SPDX-License-Identifier: Apache-2.0
// DaemonSets: one pod on every node that suits.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "server/controllers/controllers.h"
#include "server/controllers/daemon_plan.h"
#include "server/controllers/replicas.h"
#include "server/controllers/revisions.h"
#include "server/controllers/syncer.h"
#include "server/meta.h"
#include "server/sched_fit.h"

struct daemons {
	struct syncer base;            // first: the syncer's functions take us for one
	struct sched_cache nodes;
};

struct daemon {
	struct daemons *u;
	json_t *set, *status;
	struct revisions revs;
	json_t *sample;                // a pod as it would be made, to ask nodes about
	struct daemon_node *nodes;
	size_t n;
	uint64_t now, next;
};

/* --- which nodes suit --- */

/* Such pods stay on nodes in trouble: they are often what helps. */
static void add_tolerations(json_t *spec)
{
	static const struct { const char *key, *effect; } always[] = {
		{ "node.kubernetes.io/not-ready", "NoExecute" }, { "node.kubernetes.io/unreachable", "NoExecute" },
		{ "node.kubernetes.io/disk-pressure", "NoSchedule" }, { "node.kubernetes.io/memory-pressure", "NoSchedule" },
		{ "node.kubernetes.io/pid-pressure", "NoSchedule" }, { "node.kubernetes.io/unschedulable", "NoSchedule" },
		{ "node.kubernetes.io/network-unavailable", "NoSchedule" },
	};
	size_t n = sizeof always / sizeof *always;
	json_t *list;

	if (!json_is_array(json_object_get(spec, "tolerations")))
		json_object_set_new(spec, "tolerations", json_array());
	list = json_object_get(spec, "tolerations");
	if (!jpath_bool(spec, "hostNetwork", false))
		n--;                   // only those that bring their own network run before the node's is there
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "key", always[i].key, "operator", "Exists", "effect", always[i].effect));
}

/* With only the taints that send running pods off. */
static bool may_stay(const json_t *pod, const struct sched_node *n)
{
	own_json json_t *taints = json_array();
	struct sched_node bare = *n;
	struct sched_need nothing = { 0 };
	char why[SCHED_WHY_MAX] = "";
	json_t *t;
	size_t i;

	json_array_foreach(n->taints, i, t)
		if (!strcmp(jpath_str(t, "effect", ""), "NoExecute"))
			json_array_append(taints, t);
	bare.taints = taints;
	bare.unschedulable = false;
	return sched_fits(pod, &nothing, &bare, why);
}

static bool may_start(const json_t *pod, const struct sched_node *n)
{
	struct sched_need nothing = { 0 };
	char why[SCHED_WHY_MAX] = "";

	return sched_fits(pod, &nothing, n, why);
}

static int read_nodes(struct daemon *d, struct child *children)
{
	struct map *nodes = &d->u->nodes.nodes;
	struct sched_node *n;
	size_t pos = 0, pods = 0;
	long long min_ready = jpath_int(d->set, "spec.minReadySeconds", 0);

	for (struct child *c = children; c; c = c->next)
		pods++;
	d->nodes = calloc(nodes->count + pods + 1, sizeof *d->nodes);
	if (!d->nodes)
		return -ENOMEM;
	while ((n = map_next(nodes, &pos, NULL)))
		if (n->known)
			d->nodes[d->n++] = (struct daemon_node){ .name = n->name, .start = may_start(d->sample, n), .stay = may_stay(d->sample, n) };
	for (struct child *c = children; c; c = c->next)
		daemon_add_pod(d->nodes, &d->n, c, revision_hash(d->revs.latest), min_ready, d->now, &d->next);
	return 0;
}

/* --- pods --- */

/* Bind it to one node through affinity, as the scheduler does the binding. */
static void aim(json_t *pod, const char *node)
{
	json_t *terms, *term, *want = json_pack("[{s:s,s:s,s:[s]}]", "key", "metadata.name", "operator", "In", "values", node);
	const char *path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
	size_t i;

	terms = jpath_get(pod, path);
	if (!json_array_size(terms)) {
		jpath_set(pod, path, json_pack("[{s:O}]", "matchFields", want));
	} else {
		json_array_foreach(terms, i, term)
			json_object_set(term, "matchFields", want);
	}
	json_decref(want);
}

static json_t *make_pod(const struct daemon *d)
{
	json_t *pod = pod_from_template(jpath_get(d->set, "spec.template"), d->set);
	char base[300];

	snprintf(base, sizeof base, "%s-", jpath_str(d->set, "metadata.name", ""));
	jpath_set(pod, "metadata.generateName", json_string(base));
	if (!jpath_get(pod, "metadata.labels"))
		jpath_set(pod, "metadata.labels", json_object());
	json_object_set_new(jpath_get(pod, "metadata.labels"), "controller-revision-hash", json_string(revision_hash(d->revs.latest)));
	add_tolerations(json_object_get(pod, "spec"));
	return pod;
}

static int create_on(struct daemon *d, const char *node)
{
	own_json json_t *pod = json_deep_copy(d->sample);

	aim(pod, node);
	return syncer_create_pod(&d->u->base, d->set, pod, NULL);
}

static int act(struct daemon *d)
{
	const json_t *rolling = jpath_get(d->set, "spec.updateStrategy.rollingUpdate");
	bool on_delete = !strcmp(jpath_str(d->set, "spec.updateStrategy.type", ""), "OnDelete");
	long long wanted = 0, unavailable, surge;
	int r = 0;

	for (size_t i = 0; i < d->n; i++)
		wanted += d->nodes[i].start;
	surge = replicas_resolve(json_object_get(rolling, "maxSurge"), wanted, true, 0);
	unavailable = replicas_resolve(json_object_get(rolling, "maxUnavailable"), wanted, true, 1);
	daemon_plan(d->nodes, d->n, on_delete, unavailable, surge);
	for (size_t i = 0; i < d->n && !r; i++) {
		struct daemon_node *n = &d->nodes[i];
		for (int k = 0; k < n->drop_count && !r; k++)
			r = syncer_delete_pod(&d->u->base, d->set, n->drop[k], NULL);
		if (n->create && !r)
			r = create_on(d, n->name);
	}
	return r;
}

/* --- status --- */

static int put_status(struct daemon *d)
{
	long long desired = 0, current = 0, wrong = 0, ready = 0, available = 0, updated = 0;

	for (size_t i = 0; i < d->n; i++) {
		const struct daemon_node *n = &d->nodes[i];
		bool has = n->count > 0;
		if (!n->start) {
			wrong += has;
			continue;
		}
		desired++;
		current += has;
		ready += n->ready;
		available += n->available;
		updated += n->updated;
	}
	json_object_set_new(d->status, "desiredNumberScheduled", json_integer(desired));
	json_object_set_new(d->status, "currentNumberScheduled", json_integer(current));
	json_object_set_new(d->status, "numberMisscheduled", json_integer(wrong));
	json_object_set_new(d->status, "numberReady", json_integer(ready));
	json_object_set_new(d->status, "observedGeneration", json_integer(jpath_int(d->set, "metadata.generation", 0)));
	daemon_put_count(d->status, "updatedNumberScheduled", updated);
	daemon_put_count(d->status, "numberAvailable", available);
	daemon_put_count(d->status, "numberUnavailable", desired - available);
	return syncer_set_status(&d->u->base, d->set, d->status);
}

/* --- sync --- */

static uint64_t sync_one(struct syncer *s, json_t *set, struct child *children, uint64_t now)
{
	struct daemon d = { .u = (struct daemons *)s, .set = set, .now = now, .next = LOOP_NEVER };
	json_t *old = json_object_get(set, "status");
	int r;

	if (meta_is_deleting(set))
		return LOOP_NEVER;
	d.status = old ? json_deep_copy(old) : json_object();
	r = revisions_open(s, set, &d.revs);
	if (!r) {
		d.sample = make_pod(&d);
		r = read_nodes(&d, children);
	}
	if (!r) {
		r = act(&d);
		if (put_status(&d))
			r = -EAGAIN;
		revisions_trim(s, set, &d.revs, children, "");
	}
	revisions_close(&d.revs);
	json_decref(d.sample);
	json_decref(d.status);
	free(d.nodes);
	return r ? SYNC_RETRY : d.next;
}

static void node_changed(void *unit, int type, struct obj *o)
{
	struct daemons *u = unit;
	own_json json_t *node = obj_json(o);

	if (type == EVENT_DELETED)
		sched_cache_node_gone(&u->nodes, jpath_str(node, "metadata.name", ""));
	else
		sched_cache_node(&u->nodes, node);
	syncer_look_all(&u->base);
}

static void nodes_reset(void *unit)
{
	struct daemons *u = unit;

	sched_cache_forget_nodes(&u->nodes);
}

static const struct sync_ops ops = {
	.component = "daemonset-controller", .group = "apps", .version = "v1", .plural = "daemonsets", .kind = "DaemonSet",
	.child_group = "", .child_version = "v1", .child_plural = "pods", .takes_orphans = true, .sync = sync_one,
};

static int open_daemons(struct server *srv, void **unit, struct err *e)
{
	struct daemons *u = calloc(1, sizeof *u);

	if (!u)
		return err_set(e, ENOMEM, "out of memory");
	syncer_init(&u->base, srv, &ops);
	*unit = u;
	return 0;
}

static void close_daemons(void *unit)
{
	struct daemons *u = unit;

	sched_cache_fini(&u->nodes);
	syncer_close(unit);
}

static const struct unit_source sources[] = {
	{ "apps", "v1", "daemonsets", syncer_owner_changed, NULL },
	{ "", "v1", "nodes", node_changed, nodes_reset },
	{ "", "v1", "pods", syncer_child_changed, syncer_children_reset },
	{ .plural = NULL },
};

const struct unit_ops daemonset_unit = {
	.name = "daemon sets", .sources = sources, .open = open_daemons, .work = syncer_work, .close = close_daemons,
};
