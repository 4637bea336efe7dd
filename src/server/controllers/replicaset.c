// SPDX-License-Identifier: Apache-2.0
// ReplicaSets and ReplicationControllers: as many pods of a template as are asked for.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/jpath.h"
#include "server/controllers/controllers.h"
#include "server/controllers/replicas.h"
#include "server/controllers/syncer.h"
#include "server/meta.h"
#include "server/store.h"

#define BURST 500   // pods created or deleted in one go

struct counts { long long active, labeled, ready, available, terminating; };

static bool has_labels(const json_t *pod, const json_t *labels)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)labels, key, value)
		if (!json_equal(json_object_get(jpath_get(pod, "metadata.labels"), key), value))
			return false;
	return true;
}

static bool fully_labeled(struct child *c, const json_t *owner)
{
	const json_t *labels = jpath_get(owner, "spec.template.metadata.labels");
	json_t *pod = obj_json(c->obj);
	bool yes = has_labels(pod, labels);

	json_decref(pod);
	return yes;
}

static struct counts count(struct child *children, const json_t *owner, uint64_t now, uint64_t *next)
{
	long long min_ready = jpath_int(owner, "spec.minReadySeconds", 0);
	struct counts n = { 0 };

	for (struct child *c = children; c; c = c->next) {
		if (!pod_is_active(&c->pod)) {
			n.terminating += c->pod.deleting;
			continue;
		}
		n.active++;
		n.labeled += fully_labeled(c, owner);
		n.ready += c->pod.ready;
		n.available += pod_is_available(&c->pod, min_ready, now, next);
	}
	return n;
}

static int create_pods(struct syncer *s, json_t *owner, long long n, struct err *e)
{
	json_t *pod = pod_from_template(jpath_get(owner, "spec.template"), owner);
	char base[300];
	int r = 0;

	snprintf(base, sizeof base, "%s-", jpath_str(owner, "metadata.name", ""));
	jpath_set(pod, "metadata.generateName", json_string(base));
	for (long long i = 0; i < n && !r; i++)
		r = syncer_create_pod(s, owner, pod, e);
	json_decref(pod);
	return r;
}

static int delete_pods(struct syncer *s, json_t *owner, struct child *children, size_t active, size_t n, struct err *e)
{
	const struct pod_info **pods = calloc(active, sizeof *pods);
	size_t have = 0;
	int r = 0;

	if (!pods)
		return err_set(e, 12, "out of memory");
	for (struct child *c = children; c; c = c->next)
		if (pod_is_active(&c->pod))
			pods[have++] = &c->pod;
	replicas_choose(pods, have);
	for (size_t i = 0; i < n && !r; i++)
		r = syncer_delete_pod(s, owner, pods[i], e);
	free(pods);
	return r;
}

static int manage(struct syncer *s, json_t *owner, struct child *children, long long active, struct err *e)
{
	long long missing = jpath_int(owner, "spec.replicas", 1) - active;

	if (missing > 0)
		return create_pods(s, owner, missing < BURST ? missing : BURST, e);
	if (missing < 0)
		return delete_pods(s, owner, children, (size_t)active, (size_t)(-missing < BURST ? -missing : BURST), e);
	return 0;
}

static void put_count(json_t *status, const char *key, long long n)
{
	if (n)
		json_object_set_new(status, key, json_integer(n));
	else
		json_object_del(status, key);
}

static int put_status(struct syncer *s, json_t *owner, const struct counts *n, int failed, const char *why)
{
	json_t *old = json_object_get(owner, "status"), *status = old ? json_deep_copy(old) : json_object();
	bool shrinking = n->active > jpath_int(owner, "spec.replicas", 1);
	int r;

	json_object_set_new(status, "replicas", json_integer(n->active));
	put_count(status, "fullyLabeledReplicas", n->labeled);
	put_count(status, "readyReplicas", n->ready);
	put_count(status, "availableReplicas", n->available);
	json_object_set_new(status, "observedGeneration", json_integer(jpath_int(owner, "metadata.generation", 0)));
	if (failed)
		status_condition(status, "ReplicaFailure", "True", shrinking ? "FailedDelete" : "FailedCreate", why, false);
	else
		status_condition_drop(status, "ReplicaFailure");
	if (!json_array_size(json_object_get(status, "conditions")))
		json_object_del(status, "conditions");
	r = syncer_set_status(s, owner, status);
	json_decref(status);
	return r;
}

static uint64_t sync_one(struct syncer *s, json_t *owner, struct child *children, uint64_t now)
{
	uint64_t next = LOOP_NEVER;
	struct counts n = count(children, owner, now, &next);
	struct err e = ERR_INIT;
	int r = meta_is_deleting(owner) ? 0 : manage(s, owner, children, n.active, &e);
	int w = put_status(s, owner, &n, r, e.text);

	return r || w ? SYNC_RETRY : next;
}

static const struct sync_ops rs_ops = {
	.component = "replicaset-controller", .group = "apps", .version = "v1", .plural = "replicasets", .kind = "ReplicaSet",
	.child_group = "", .child_version = "v1", .child_plural = "pods", .takes_orphans = true, .sync = sync_one,
};
static const struct sync_ops rc_ops = {
	.component = "replication-controller", .group = "", .version = "v1", .plural = "replicationcontrollers",
	.kind = "ReplicationController", .child_group = "", .child_version = "v1", .child_plural = "pods", .takes_orphans = true,
	.sync = sync_one,
};

static int rs_open(struct server *srv, void **unit, struct err *e)
{
	return syncer_new(srv, &rs_ops, unit, e);
}

static int rc_open(struct server *srv, void **unit, struct err *e)
{
	return syncer_new(srv, &rc_ops, unit, e);
}

static const struct unit_source rs_sources[] = {
	{ "apps", "v1", "replicasets", syncer_owner_changed, NULL },
	{ "", "v1", "pods", syncer_child_changed, syncer_children_reset },
	{ .plural = NULL },
};
static const struct unit_source rc_sources[] = {
	{ "", "v1", "replicationcontrollers", syncer_owner_changed, NULL },
	{ "", "v1", "pods", syncer_child_changed, syncer_children_reset },
	{ .plural = NULL },
};

const struct unit_ops replicaset_unit = {
	.name = "replica sets", .sources = rs_sources, .open = rs_open, .work = syncer_work, .close = syncer_close,
};
const struct unit_ops replication_controller_unit = {
	.name = "replication controllers", .sources = rc_sources, .open = rc_open, .work = syncer_work, .close = syncer_close,
};
