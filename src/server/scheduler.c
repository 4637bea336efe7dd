// SPDX-License-Identifier: Apache-2.0
// The scheduler: a unit of a loop. Pods without a node wait in order of priority and age; each is filtered and scored
// against all nodes, given room on the best one, and bound through the same path as the Binding subresource. A pod that
// fits nowhere may make pods of lower priority go: it is nominated then, and its room is taken while they end. Otherwise
// it waits until something that might help changes, then for a back-off.
#include "server/scheduler.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/jtext.h"
#include "base/log.h"
#include "base/own.h"
#include "server/binding.h"
#include "server/controllers/change.h"
#include "server/meta.h"
#include "server/recorder.h"
#include "server/registry.h"
#include "server/sched_cache.h"
#include "server/sched_choose.h"
#include "server/sched_fit.h"
#include "server/sched_room.h"
#include "server/sched_volumes.h"
#include "server/view.h"

#define BACKOFF_MIN_NS NS_PER_S
#define BACKOFF_MAX_NS (10 * NS_PER_S)
#define STALE_NS (300 * NS_PER_S)     // unschedulable pods are tried again after this, whatever happened
#define PASS_MAX 256                  // pods per turn: between turns the cache is brought up to date

struct pending {
	struct obj *obj;
	char *key;                    // "ns/name"
	long long priority;
	uint64_t created_rv;          // age
	int attempts;
	uint64_t not_before;          // monotonic ns; 0: now
	bool parked;                  // fits nowhere; waits for a change
};

struct scheduler {
	struct server *srv;
	struct sched_cache cache;
	struct map pending;           // key -> struct pending
	bool changed;                 // something that may help parked pods
};

static const char *pod_key(struct obj *o)
{
	return strchr(obj_key(o), '/') + 1;
}

static void pending_free(void *value)
{
	struct pending *p = value;

	if (!p)
		return;
	obj_unref(p->obj);
	free(p->key);
	free(p);
}

static bool is_over(const json_t *pod)
{
	const char *phase = jpath_str(pod, "status.phase", "");

	return !strcmp(phase, "Succeeded") || !strcmp(phase, "Failed");
}

static bool is_ours(const json_t *pod)
{
	const char *name = jpath_str(pod, "spec.schedulerName", SCHEDULER_NAME);

	return (!*name || !strcmp(name, SCHEDULER_NAME)) && !meta_is_deleting(pod) && !json_array_size(jpath_get(pod, "spec.schedulingGates"));
}

/* --- changes --- */

/* Room for a pod that is not there yet. */
static void take_nominated_room(struct scheduler *s, const char *key, const json_t *pod, const char *node)
{
	own_json json_t *there = json_deep_copy(pod);
	struct sched_pod *p;

	if (!map_get(&s->cache.nodes, node) || !there || jpath_set(there, "spec.nodeName", json_string(node)) ||
	    sched_cache_pod(&s->cache, key, there) < 0)
		return;
	p = map_get(&s->cache.pods, key);
	p->nominated = true;
}

static void enqueue(struct scheduler *s, struct obj *o, const json_t *pod)
{
	const char *key = pod_key(o);
	struct pending *p = map_get(&s->pending, key);

	if (p) {
		// Our own status writes change it too: only a new object or spec ends its waiting, which only metadata can tell here.
		if (p->created_rv != o->created_rv) {
			p->parked = false;
			p->attempts = 0;
			p->not_before = 0;
			p->created_rv = o->created_rv;
		}
		obj_unref(p->obj);
		p->obj = obj_ref(o);
		return;
	}
	p = calloc(1, sizeof *p);
	if (!p || !(p->key = strdup(key))) {
		free(p);
		return;
	}
	p->obj = obj_ref(o);
	p->priority = jpath_int(pod, "spec.priority", 0);
	p->created_rv = o->created_rv;
	if (map_put(&s->pending, key, p)) {
		pending_free(p);
		return;
	}
	if (*jpath_str(pod, "status.nominatedNodeName", ""))   // from before this server ran
		take_nominated_room(s, key, pod, jpath_str(pod, "status.nominatedNodeName", ""));
}

/* A number for what the pod's containers are (FNV-1a of their text): another one when they ask for something else. */
static uint64_t asked(struct obj *o)
{
	static const char *const paths[] = { "spec.containers", "spec.initContainers" };
	uint64_t hash = 0xcbf29ce484222325;
	const char *text;
	size_t len;

	for (int i = 0; i < 2; i++)
		if (jtext_find(obj_text(o), o->text_len, paths[i], &text, &len))
			for (size_t n = 0; n < len; n++)
				hash = (hash ^ (unsigned char)text[n]) * 0x100000001b3;
	return hash;
}

static void remember_asked(struct scheduler *s, struct obj *o)
{
	struct sched_pod *p = map_get(&s->cache.pods, pod_key(o));

	if (p)
		p->asks = asked(o);
}

/* Of a pod that has its room already: what else may change (sched_cache_pod) and is worth parsing, as a pod. NULL: look at all of it. */
static json_t *changing_part(struct scheduler *s, struct obj *o)
{
	const char *text = obj_text(o), *status = "{}";
	size_t len = o->text_len, status_len = 2;
	struct sched_pod *p = o->node_len ? map_get(&s->cache.pods, pod_key(o)) : NULL;
	own_json json_t *uid = p && obj_is_on(o, p->node->name) ? jtext_get(text, len, "metadata.uid") : NULL;

	if (!uid || strcmp(json_string_value(uid), p->uid) || p->asks != asked(o))
		return NULL;
	jtext_find(text, len, "status", &status, &status_len);
	return json_pack("{s:{s:O,s:o*,s:o*},s:{s:s},s:{s:o*,s:o*}}", "metadata", "uid", uid, "labels", jtext_get(text, len, "metadata.labels"),
			 "deletionTimestamp", jtext_get(text, len, "metadata.deletionTimestamp"), "spec", "nodeName", p->node->name, "status",
			 "phase", jtext_get(status, status_len, "phase"), "startTime", jtext_get(status, status_len, "startTime"));
}

static void pod_changed(void *unit, int type, struct obj *o)
{
	struct scheduler *s = unit;
	own_json json_t *pod = changing_part(s, o);
	bool bound, whole = !pod;
	int r;

	if (whole)
		pod = obj_view(o);
	bound = *jpath_str(pod, "spec.nodeName", "");

	if (type == EVENT_DELETED || is_over(pod)) {
		pending_free(map_remove(&s->pending, pod_key(o)));
		if (sched_cache_pod_gone(&s->cache, pod_key(o)))
			s->changed = true;
	} else if (bound) {
		pending_free(map_remove(&s->pending, pod_key(o)));
		r = sched_cache_pod(&s->cache, pod_key(o), pod);
		s->changed |= r > 0;
		if (whole)
			remember_asked(s, o);
		if (r < 0)
			log_error("scheduler", "out of memory: pod=%s is not counted", pod_key(o));
	} else if (is_ours(pod)) {
		enqueue(s, o, pod);
	} else {
		pending_free(map_remove(&s->pending, pod_key(o)));
		s->changed |= sched_cache_pod_gone(&s->cache, pod_key(o));
	}
}

static void pods_reset(void *unit)
{
	struct scheduler *s = unit;

	sched_cache_forget_pods(&s->cache);
	map_fini(&s->pending, pending_free);
}

static void node_changed(void *unit, int type, struct obj *o)
{
	struct scheduler *s = unit;
	own_json json_t *node = obj_json(o);

	if (type == EVENT_DELETED)
		sched_cache_node_gone(&s->cache, jpath_str(node, "metadata.name", ""));
	else
		sched_cache_node(&s->cache, node);
	s->changed = true;
}

static void nodes_reset(void *unit)
{
	struct scheduler *s = unit;

	sched_cache_forget_nodes(&s->cache);
}

static void namespace_changed(void *unit, int type, struct obj *o)
{
	struct scheduler *s = unit;
	own_json json_t *ns = obj_json(o), *none = json_object();
	json_t *labels = jpath_get(ns, "metadata.labels");

	sched_cache_namespace(&s->cache, jpath_str(ns, "metadata.name", ""), type == EVENT_DELETED ? NULL : labels ? labels : none);
	s->changed = true;
}

static void namespaces_reset(void *unit)
{
	struct scheduler *s = unit;

	sched_cache_forget_namespaces(&s->cache);
}

/* --- one pod --- */

static json_t *make_bound(struct reg_write *w, const json_t *cur, json_t **next)
{
	return binding_apply(w->kind, cur, w->user, next);
}

/* A pod that has been given its node here, to be written down together with others. */
struct assigned {
	struct pending *p;
	json_t *pod, *binding;      // owned
	char *node;                 // owned
};

static void write_bindings(struct scheduler *s, struct assigned *a, struct reg_write *w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		w[i] = (struct reg_write){ .srv = s->srv, .kind = k8s_kind_find("", "v1", "pods"), .action = REG_UPDATE,
					   .ns = jpath_str(a[i].pod, "metadata.namespace", ""),
					   .name = jpath_str(a[i].pod, "metadata.name", ""), .subresource = "binding",
					   .make = make_bound, .user = a[i].binding };
	reg_run_many(w, n);
}

struct setback { const char *message, *nominated; };

static json_t *make_unschedulable(struct reg_write *w, const json_t *cur, json_t **next)
{
	const struct setback *b = w->user;

	*next = json_deep_copy(cur);
	condition_set(*next, "PodScheduled", "False", "Unschedulable", b->message);
	if (b->nominated)
		jpath_set(*next, "status.nominatedNodeName", json_string(b->nominated));
	else
		json_object_del(json_object_get(*next, "status"), "nominatedNodeName");
	return NULL;
}

/* nominated: the node where room is being made; NULL: none. */
static void report_unschedulable(struct scheduler *s, const json_t *pod, const char *message, const char *nominated)
{
	struct setback setback = { message, nominated };
	struct reg_write w = { .srv = s->srv, .kind = k8s_kind_find("", "v1", "pods"), .action = REG_UPDATE,
			       .ns = jpath_str(pod, "metadata.namespace", ""), .name = jpath_str(pod, "metadata.name", ""),
			       .subresource = "status", .make = make_unschedulable, .user = &setback };

	reg_run(&w, NULL, NULL);
	recorder_event(s->srv->recorder, pod, SCHEDULER_NAME, "Warning", "FailedScheduling", "%s", message);
}

static void back_off(struct pending *p, uint64_t now)
{
	uint64_t ns = BACKOFF_MIN_NS << (p->attempts < 4 ? p->attempts : 4);

	p->attempts++;
	p->not_before = now + (ns > BACKOFF_MAX_NS ? BACKOFF_MAX_NS : ns);
}

/* Give the pod a node and its room there, which later ones of this turn then see. False: none has room. */
static bool assign(struct scheduler *s, struct pending *p, uint64_t now, struct assigned *a)
{
	own_json json_t *pod = obj_json(p->obj);
	own_buf struct buf summary = BUF_INIT;
	__attribute__((cleanup(sched_volumes_fini))) struct sched_volumes volumes = { .count = 0 };
	struct sched_need need;
	struct sched_node *n;
	char why[256];

	if (!pod || sched_need_parse(pod, &need)) {
		back_off(p, now);
		return false;
	}
	sched_cache_pod_gone(&s->cache, p->key);   // what it was promised
	if (!sched_volumes_load(s->srv, pod, &volumes, why)) {   // no room that is made would help
		sched_need_fini(&need);
		buf_printf(&summary, "0/%zu nodes are available: %s.", s->cache.nodes.count, why);
		p->parked = true;
		back_off(p, now);
		report_unschedulable(s, pod, summary.data ? summary.data : "", NULL);
		return false;
	}
	n = sched_choose(s->srv, &s->cache, pod, &need, &volumes, &summary);
	if (!n) {
		/* Where its volumes are is not known there: no pod shall go in vain. */
		own_free char *nominated = volumes.count ? NULL : sched_make_room(s->srv, &s->cache, pod, &need);
		if (nominated)
			take_nominated_room(s, p->key, pod, nominated);
		sched_need_fini(&need);
		p->parked = true;
		back_off(p, now);
		report_unschedulable(s, pod, summary.data ? summary.data : "", nominated);
		return false;
	}
	sched_need_fini(&need);
	if (volumes.unbound) {   // the node is the pod's when its volumes are there: the claims' changes wake it
		p->parked = true;
		p->not_before = now;
		if (sched_volumes_select(s->srv, &volumes, n->name)) {
			p->parked = false;
			back_off(p, now);
		}
		return false;
	}
	jpath_set(pod, "spec.nodeName", json_string(n->name));
	*a = (struct assigned){ .p = p, .node = strdup(n->name),
				.binding = json_pack("{s:{s:s,s:s},s:{s:s}}", "target", "kind", "Node", "name", n->name, "metadata", "uid",
						     jpath_str(pod, "metadata.uid", "")) };
	if (!a->node || !a->binding || sched_cache_pod(&s->cache, p->key, pod) < 0) {
		free(a->node);
		json_decref(a->binding);
		back_off(p, now);
		return false;
	}
	remember_asked(s, p->obj);
	a->pod = take(pod);
	return true;
}

/* The outcome of one binding. */
static void assigned_done(struct scheduler *s, struct assigned *a, struct reg_write *w, uint64_t now)
{
	struct pending *p = a->p;
	struct err e = ERR_INIT;
	int r = reg_outcome(w, &e);

	if (!r)
		recorder_event(s->srv->recorder, a->pod, SCHEDULER_NAME, "Normal", "Scheduled", "Successfully assigned %s to %s", p->key, a->node);
	else
		sched_cache_pod_gone(&s->cache, p->key);
	if (!r || r == -ENOENT || r == -ESTALE) {   // or deleted, bound by somebody else, another pod now: its watch event tells
		pending_free(map_remove(&s->pending, p->key));
	} else {
		log_warn("scheduler", "pod=%s node=%s not bound: %s", p->key, a->node, e.text);
		back_off(p, now);
	}
	reg_fini(w);
	json_decref(a->pod);
	json_decref(a->binding);
	free(a->node);
}

static void bind_assigned(struct scheduler *s, struct assigned *a, size_t n, uint64_t now)
{
	struct reg_write w[REG_MANY];

	write_bindings(s, a, w, n);
	for (size_t i = 0; i < n; i++)
		assigned_done(s, &a[i], &w[i], now);
}

/* --- the queue --- */

static int queue_cmp(const void *a, const void *b)
{
	const struct pending *x = *(struct pending *const *)a, *y = *(struct pending *const *)b;

	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	return x->created_rv < y->created_rv ? -1 : x->created_rv > y->created_rv;
}

/* The pods whose turn it is, best first. *next: when the next one's turn comes. */
static struct pending **due(struct scheduler *s, uint64_t now, size_t *count, uint64_t *next)
{
	struct pending **list = calloc(s->pending.count + 1, sizeof *list), *p;
	size_t pos = 0;

	*count = 0;
	*next = LOOP_NEVER;
	while (list && (p = map_next(&s->pending, &pos, NULL))) {
		uint64_t at = p->parked ? p->not_before + STALE_NS : p->not_before;
		if (at <= now)
			list[(*count)++] = p;
		else if (at < *next)
			*next = at;
	}
	if (list)
		qsort(list, *count, sizeof *list, queue_cmp);
	return list;
}

static uint64_t work(void *unit, uint64_t now)
{
	struct scheduler *s = unit;
	own_free struct pending **list = NULL;
	struct pending *p;
	struct assigned assigned[REG_MANY];
	uint64_t next;
	size_t count, pos = 0, n = 0;

	while (s->changed && (p = map_next(&s->pending, &pos, NULL)))
		p->parked = false;
	s->changed = false;
	list = due(s, now, &count, &next);
	for (size_t i = 0; list && i < count && i < PASS_MAX; i++) {
		n += assign(s, list[i], now, &assigned[n]);
		if (n == REG_MANY) {
			bind_assigned(s, assigned, n, now);
			n = 0;
		}
	}
	bind_assigned(s, assigned, n, now);
	return !list || count > PASS_MAX || s->changed ? now : next;
}

static int scheduler_open(struct server *srv, void **unit, struct err *e)
{
	struct scheduler *s = calloc(1, sizeof *s);

	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	s->srv = srv;
	*unit = s;
	return 0;
}

static void scheduler_close(void *unit)
{
	struct scheduler *s = unit;

	map_fini(&s->pending, pending_free);
	sched_cache_fini(&s->cache);
	free(s);
}

static void volume_changed(void *unit, int type, struct obj *o)
{
	struct scheduler *s = unit;

	(void)type, (void)o;
	s->changed = true;
}

static const struct unit_source sources[] = {
	{ "", "v1", "nodes", node_changed, nodes_reset },
	{ "", "v1", "persistentvolumeclaims", volume_changed, NULL },
	{ "", "v1", "persistentvolumes", volume_changed, NULL },
	{ "storage.k8s.io", "v1", "storageclasses", volume_changed, NULL },
	{ "", "v1", "namespaces", namespace_changed, namespaces_reset },
	{ "", "v1", "pods", pod_changed, pods_reset },
	{ .plural = NULL },
};

const struct unit_ops scheduler_unit = {
	.name = "scheduler",
	.sources = sources,
	.open = scheduler_open,
	.work = work,
	.close = scheduler_close,
};
