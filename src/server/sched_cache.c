// SPDX-License-Identifier: Apache-2.0
#include "server/sched_cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/quantity.h"
#include "server/controllers/owner.h"

#define DEFAULT_PODS 110
#define SCORE_CPU 100                  // milli, of a container that asks for none
#define SCORE_MEMORY (200ll << 20)

/* --- amounts --- */

static void amounts_fini(struct sched_amounts *a)
{
	for (int i = 0; i < a->extra_count; i++)
		free(a->extra[i].name);
	a->extra_count = 0;
}

static int64_t *extra_slot(struct sched_amounts *a, const char *name)
{
	for (int i = 0; i < a->extra_count; i++)
		if (!strcmp(a->extra[i].name, name))
			return &a->extra[i].amount;
	if (a->extra_count == SCHED_EXTRA_MAX || !(a->extra[a->extra_count].name = strdup(name)))
		return NULL;
	a->extra[a->extra_count].amount = 0;
	return &a->extra[a->extra_count++].amount;
}

static void accumulate(int64_t *sum, int64_t value, bool max)
{
	*sum = max ? (value > *sum ? value : *sum) : *sum + value;
}

/* Add resources (a ResourceList) to a, or raise a to them. */
static int amounts_add_list(struct sched_amounts *a, const json_t *list, bool max)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)list, name, v) {
		int64_t *slot;
		if (!strcmp(name, "cpu")) {
			accumulate(&a->milli_cpu, k8s_quantity_milli(v, 0), max);
		} else if (!strcmp(name, "memory")) {
			accumulate(&a->memory, k8s_quantity_value(v, 0), max);
		} else if (!strcmp(name, "ephemeral-storage")) {
			accumulate(&a->ephemeral, k8s_quantity_value(v, 0), max);
		} else {
			slot = extra_slot(a, name);
			if (!slot)
				return -ENOMEM;
			accumulate(slot, k8s_quantity_value(v, 0), max);
		}
	}
	return 0;
}

static void amounts_raise(struct sched_amounts *a, const struct sched_amounts *b)
{
	accumulate(&a->milli_cpu, b->milli_cpu, true);
	accumulate(&a->memory, b->memory, true);
	accumulate(&a->ephemeral, b->ephemeral, true);
	for (int i = 0; i < b->extra_count; i++) {
		int64_t *slot = extra_slot(a, b->extra[i].name);
		if (slot)
			accumulate(slot, b->extra[i].amount, true);
	}
}

static void amounts_move(struct sched_amounts *a, const struct sched_amounts *b, int sign)
{
	a->milli_cpu += sign * b->milli_cpu;
	a->memory += sign * b->memory;
	a->ephemeral += sign * b->ephemeral;
	for (int i = 0; i < b->extra_count; i++) {
		int64_t *slot = extra_slot(a, b->extra[i].name);
		if (slot)
			*slot += sign * b->extra[i].amount;
	}
}

/* --- what a pod needs --- */

static bool is_sidecar(const json_t *init_container)
{
	return !strcmp(jpath_str(init_container, "restartPolicy", ""), "Always");
}

static int add_ports(struct sched_need *n, const json_t *container)
{
	json_t *ports = json_object_get(container, "ports"), *p;
	size_t i;

	json_array_foreach(ports, i, p) {
		long long port = jpath_int(p, "hostPort", 0);
		struct sched_port *grown;
		if (!port)
			continue;
		grown = realloc(n->ports, (n->port_count + 1) * sizeof *grown);
		if (!grown)
			return -ENOMEM;
		n->ports = grown;
		grown[n->port_count] = (struct sched_port){ .port = port };
		snprintf(grown[n->port_count].ip, sizeof grown->ip, "%s", jpath_str(p, "hostIP", "0.0.0.0"));
		if (!*grown[n->port_count].ip)
			strcpy(grown[n->port_count].ip, "0.0.0.0");
		snprintf(grown[n->port_count].protocol, sizeof grown->protocol, "%s", jpath_str(p, "protocol", "TCP"));
		n->port_count++;
	}
	return 0;
}

static void add_score_amounts(struct sched_need *n, const json_t *container)
{
	json_t *requests = jpath_get(container, "resources.requests");

	n->score_cpu += k8s_quantity_milli(json_object_get(requests, "cpu"), SCORE_CPU);
	n->score_memory += k8s_quantity_value(json_object_get(requests, "memory"), SCORE_MEMORY);
}

/* Init containers run one after the other, beside the sidecars that were started before them. */
static int init_amounts(const json_t *spec, struct sched_amounts *sidecars, struct sched_amounts *highest)
{
	json_t *list = json_object_get(spec, "initContainers"), *c;
	size_t i;
	int r = 0;

	json_array_foreach(list, i, c) {
		json_t *requests = jpath_get(c, "resources.requests");
		if (r)
			break;
		if (is_sidecar(c)) {
			r = amounts_add_list(sidecars, requests, false);
			amounts_raise(highest, sidecars);
		} else {
			struct sched_amounts now = { 0 };
			amounts_move(&now, sidecars, 1);
			r = amounts_add_list(&now, requests, false);
			amounts_raise(highest, &now);
			amounts_fini(&now);
		}
	}
	return r;
}

/* What the pod requests as a whole counts instead of what its containers do. */
static void take_whole(struct sched_need *n, const json_t *requests)
{
	const json_t *cpu = json_object_get(requests, "cpu"), *memory = json_object_get(requests, "memory");

	if (cpu)
		n->requests.milli_cpu = n->score_cpu = k8s_quantity_milli(cpu, 0);
	if (memory)
		n->requests.memory = n->score_memory = k8s_quantity_value(memory, 0);
}

int sched_need_parse(const json_t *pod, struct sched_need *out)
{
	json_t *spec = json_object_get(pod, "spec"), *containers = json_object_get(spec, "containers"), *c;
	struct sched_amounts sidecars = { 0 }, highest = { 0 };
	struct sched_need n = { 0 };
	size_t i;
	int r = init_amounts(spec, &sidecars, &highest);

	json_array_foreach(containers, i, c) {
		if (!r)
			r = amounts_add_list(&n.requests, jpath_get(c, "resources.requests"), false);
		if (!r)
			r = add_ports(&n, c);
		add_score_amounts(&n, c);
	}
	if (!r) {
		amounts_move(&n.requests, &sidecars, 1);
		amounts_raise(&n.requests, &highest);
		take_whole(&n, jpath_get(spec, "resources.requests"));
		r = amounts_add_list(&n.requests, json_object_get(spec, "overhead"), false);
	}
	amounts_fini(&sidecars);
	amounts_fini(&highest);
	if (r) {
		sched_need_fini(&n);
		return r;
	}
	*out = n;
	return 0;
}

void sched_need_fini(struct sched_need *n)
{
	amounts_fini(&n->requests);
	free(n->ports);
	*n = (struct sched_need){ 0 };
}

/* --- nodes --- */

static void node_free(void *value)
{
	struct sched_node *n = value;

	json_decref(n->labels);
	json_decref(n->taints);
	json_decref(n->images);
	json_decref(n->allocatable);
	amounts_fini(&n->used);
	map_fini(&n->pods, NULL);
	free(n->name);
	free(n);
}

/* Pods may be seen before their node is. */
static struct sched_node *node_get(struct sched_cache *c, const char *name)
{
	struct sched_node *n = map_get(&c->nodes, name);

	if (n)
		return n;
	n = calloc(1, sizeof *n);
	if (!n || !(n->name = strdup(name)) || map_put(&c->nodes, name, n)) {
		if (n)
			free(n->name);
		free(n);
		return NULL;
	}
	return n;
}

static void replace(json_t **slot, json_t *value)
{
	json_decref(*slot);
	*slot = json_incref(value);
}

void sched_cache_node(struct sched_cache *c, const json_t *node)
{
	struct sched_node *n = node_get(c, jpath_str(node, "metadata.name", ""));
	json_t *allocatable = jpath_get(node, "status.allocatable");

	if (!n)
		return;
	if (!allocatable)
		allocatable = jpath_get(node, "status.capacity");
	replace(&n->labels, jpath_get(node, "metadata.labels"));
	replace(&n->taints, jpath_get(node, "spec.taints"));
	replace(&n->images, jpath_get(node, "status.images"));
	replace(&n->allocatable, allocatable);
	n->unschedulable = jpath_bool(node, "spec.unschedulable", false);
	n->have.milli_cpu = k8s_quantity_milli(json_object_get(allocatable, "cpu"), 0);
	n->have.memory = k8s_quantity_value(json_object_get(allocatable, "memory"), 0);
	n->have.ephemeral = k8s_quantity_value(json_object_get(allocatable, "ephemeral-storage"), 0);
	n->max_pods = k8s_quantity_value(json_object_get(allocatable, "pods"), allocatable ? DEFAULT_PODS : 0);
	n->known = true;
}

void sched_cache_node_gone(struct sched_cache *c, const char *name)
{
	struct sched_node *n = map_get(&c->nodes, name);

	if (!n)
		return;
	n->known = false;
	if (!n->pods.count)
		node_free(map_remove(&c->nodes, name));
}

void sched_cache_forget_nodes(struct sched_cache *c)
{
	struct sched_node *n;
	size_t pos = 0;

	while ((n = map_next(&c->nodes, &pos, NULL)))
		n->known = false;
}

/* --- pods --- */

static void take_room(struct sched_pod *p, int sign)
{
	struct sched_node *n = p->node;

	amounts_move(&n->used, &p->need.requests, sign);
	n->score_cpu += sign * p->need.score_cpu;
	n->score_memory += sign * p->need.score_memory;
	n->pod_count += sign;
}

static void pod_free(void *value)
{
	struct sched_pod *p = value;

	sched_need_fini(&p->need);
	sched_terms_fini(&p->terms);
	json_decref(p->labels);
	free(p->key);
	free(p->ns);
	free(p);
}

void sched_cache_hide(struct sched_pod *p, bool hide)
{
	if (p->hidden == hide)
		return;
	p->hidden = hide;
	take_room(p, hide ? -1 : 1);
}

bool sched_cache_pod_gone(struct sched_cache *c, const char *key)
{
	struct sched_pod *p = map_remove(&c->pods, key);
	struct sched_node *n;

	if (!p)
		return false;
	n = p->node;
	take_room(p, -1);
	c->pods_with_terms -= p->terms.count > 0;
	map_remove(&n->pods, key);
	pod_free(p);
	if (!n->known && !n->pods.count)
		node_free(map_remove(&c->nodes, n->name));
	return true;
}

const char *sched_owner_uid(const json_t *pod)
{
	return jpath_str(owner_controller(pod), "uid", "");
}

/* What may change in a pod's life. */
static void refresh(struct sched_pod *p, const json_t *pod)
{
	replace(&p->labels, jpath_get(pod, "metadata.labels"));
	p->deleting = *jpath_str(pod, "metadata.deletionTimestamp", "");
	snprintf(p->started, sizeof p->started, "%s", jpath_str(pod, "status.startTime", ""));
}

static struct sched_pod *pod_new(const char *key, const json_t *pod)
{
	struct sched_pod *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->key = strdup(key);
	p->ns = strndup(key, strcspn(key, "/"));
	if (!p->key || !p->ns || sched_need_parse(pod, &p->need) || sched_terms_parse(pod, &p->terms)) {
		pod_free(p);
		return NULL;
	}
	snprintf(p->uid, sizeof p->uid, "%s", jpath_str(pod, "metadata.uid", ""));
	snprintf(p->owner, sizeof p->owner, "%s", sched_owner_uid(pod));
	p->priority = jpath_int(pod, "spec.priority", 0);
	refresh(p, pod);
	return p;
}

static bool same_amounts(const struct sched_amounts *a, const struct sched_amounts *b)
{
	bool same = a->milli_cpu == b->milli_cpu && a->memory == b->memory && a->ephemeral == b->ephemeral && a->extra_count == b->extra_count;

	for (int i = 0; same && i < a->extra_count; i++)
		same = !strcmp(a->extra[i].name, b->extra[i].name) && a->extra[i].amount == b->extra[i].amount;
	return same;
}

/* A resized pod takes other room. 1 if it does. */
static int count_again(struct sched_pod *p, const json_t *pod)
{
	struct sched_need need;
	bool same;

	if (sched_need_parse(pod, &need))
		return -ENOMEM;
	same = same_amounts(&need.requests, &p->need.requests);
	take_room(p, -1);
	sched_need_fini(&p->need);
	p->need = need;
	take_room(p, 1);
	return !same;
}

int sched_cache_pod(struct sched_cache *c, const char *key, const json_t *pod)
{
	const char *node = jpath_str(pod, "spec.nodeName", ""), *uid = jpath_str(pod, "metadata.uid", "");
	struct sched_pod *p = map_get(&c->pods, key);

	if (p && !strcmp(p->node->name, node) && !strcmp(p->uid, uid)) {
		p->nominated = false;
		refresh(p, pod);
		return jpath_get(pod, "spec.containers") ? count_again(p, pod) : 0;
	}
	sched_cache_pod_gone(c, key);
	p = pod_new(key, pod);
	if (!p)
		return -ENOMEM;
	p->node = node_get(c, node);
	if (!p->node || map_put(&p->node->pods, key, p) || map_put(&c->pods, key, p)) {
		if (p->node)
			map_remove(&p->node->pods, key);
		pod_free(p);
		return -ENOMEM;
	}
	c->pods_with_terms += p->terms.count > 0;
	take_room(p, 1);
	return 0;
}

/* --- namespaces --- */

static void labels_free(void *value)
{
	json_decref(value);
}

void sched_cache_namespace(struct sched_cache *c, const char *name, json_t *labels)
{
	json_decref(map_remove(&c->namespaces, name));
	if (labels && map_put(&c->namespaces, name, labels) == 0)
		json_incref(labels);
}

void sched_cache_forget_namespaces(struct sched_cache *c)
{
	map_fini(&c->namespaces, labels_free);
}

void sched_cache_forget_pods(struct sched_cache *c)
{
	struct sched_node *n;
	size_t pos = 0;

	while ((n = map_next(&c->nodes, &pos, NULL))) {
		map_fini(&n->pods, NULL);
		amounts_fini(&n->used);
		n->used = (struct sched_amounts){ 0 };
		n->score_cpu = n->score_memory = 0;
		n->pod_count = 0;
	}
	map_fini(&c->pods, pod_free);
	c->pods_with_terms = 0;
}

void sched_cache_fini(struct sched_cache *c)
{
	sched_cache_forget_namespaces(c);
	map_fini(&c->pods, pod_free);
	map_fini(&c->nodes, node_free);
}
