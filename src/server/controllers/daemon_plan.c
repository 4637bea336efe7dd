// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/daemon_plan.h"

#include <string.h>

#include "base/jpath.h"
#include "base/own.h"

/* The node that it runs on or is meant for. */
static const char *target(const struct child *c, json_t **holder)
{
	const char *path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
	const json_t *term;

	if (*c->pod.node)
		return c->pod.node;
	*holder = obj_json(c->obj);
	term = json_array_get(jpath_get(*holder, path), 0);
	term = json_array_get(json_object_get(term, "matchFields"), 0);
	term = json_array_get(json_object_get(term, "values"), 0);
	return json_is_string(term) ? json_string_value(term) : "";
}

static struct daemon_node *find(struct daemon_node *nodes, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(nodes[i].name, name))
			return &nodes[i];
	return NULL;
}

static void drop(struct daemon_node *n, const struct pod_info *p)
{
	if (n->drop_count < DAEMON_DROP_MAX)
		n->drop[n->drop_count++] = p;
}

void daemon_add_pod(struct daemon_node *nodes, size_t *count, const struct child *c, const char *hash, long long min_ready, uint64_t now,
		    uint64_t *next)
{
	own_json json_t *holder = NULL;
	struct daemon_node *n = find(nodes, *count, target(c, &holder));
	const struct pod_info *p = &c->pod;
	bool updated = !strcmp(p->revision, hash);

	if (!n) {
		n = &nodes[(*count)++];
		*n = (struct daemon_node){ .name = p->node };
	}
	if (p->deleting) {
		n->deleting++;
		return;
	}
	if (pod_is_over(p)) {
		drop(n, p);               // it is made again when it is gone
		n->deleting++;
		return;
	}
	n->count++;
	n->ready |= p->ready;
	n->available |= pod_is_available(p, min_ready, now, next);
	n->updated |= updated;
	if (updated)
		n->fresh = p;
	else
		n->outdated = p;
	if (!n->oldest || p->created_ns < n->oldest->created_ns) {
		if (n->oldest && n->count > 1 && (n->oldest->revision && !strcmp(n->oldest->revision, p->revision)))
			drop(n, n->oldest);   // two of the same: the older one stays
		n->oldest = p;
	} else if (!strcmp(n->oldest->revision, p->revision)) {
		drop(n, p);
	}
}

static void place(struct daemon_node *n)
{
	if (n->count && !n->stay) {
		n->drop_count = 0;
		if (n->fresh)
			drop(n, n->fresh);
		if (n->outdated)
			drop(n, n->outdated);
	} else if (n->start && !n->count && !n->deleting) {
		n->create = true;
	}
}

/* A new pod beside the old one first; the old one goes when the new one is available. */
static void surge_one(struct daemon_node *n, long long *room)
{
	if (n->outdated && n->fresh) {
		if (n->fresh->ready)
			drop(n, n->outdated);
		(*room)--;
	} else if (n->outdated && !n->deleting && *room > 0) {
		n->create = true;
		(*room)--;
	}
}

void daemon_plan(struct daemon_node *nodes, size_t n, bool on_delete, long long unavailable, long long surge)
{
	long long missing = 0, room = surge;

	for (size_t i = 0; i < n; i++) {
		place(&nodes[i]);
		missing += nodes[i].start && !nodes[i].available;
	}
	for (size_t i = 0; i < n && !on_delete; i++) {
		struct daemon_node *d = &nodes[i];
		if (!d->start || !d->outdated)
			continue;
		if (surge > 0) {
			surge_one(d, &room);
		} else if (!d->available) {
			drop(d, d->outdated);   // it serves nobody: no loss
		} else if (missing < unavailable) {
			drop(d, d->outdated);
			missing++;
		}
	}
}

void daemon_put_count(json_t *status, const char *key, long long n)
{
	if (n > 0)
		json_object_set_new(status, key, json_integer(n));
	else
		json_object_del(status, key);
}
