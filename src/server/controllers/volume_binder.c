// SPDX-License-Identifier: Apache-2.0
// Brings claims and volumes together. A claim gets the smallest volume that satisfies it; if there is none and its class
// has a provisioner, the claim is marked for it, and the volume that the provisioner makes is bound. Classes that wait for
// their first consumer are left until the scheduler has chosen a node. What a claim leaves behind becomes Released; who
// made it removes it.
//
// A binding is written in three steps, each of which finds out by itself whether it is needed: the volume names the claim,
// the claim names the volume, both say Bound. Whatever interrupts them, the next look goes on.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "k8s/quantity.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/map.h"
#include "server/meta.h"
#include "server/recorder.h"
#include "server/registry.h"
#include "server/volumes.h"

#define NAME "persistentvolume-controller"
#define RETRY_NS (2 * NS_PER_S)

struct binder {
	struct server *srv;
	struct map claims;        // "ns/name" of claims to look at; the value says nothing
	struct map volumes;       // names of volumes to look at
	struct map claim_of;      // volume's name -> "ns/name" of its claimRef
	struct map waiting;       // "ns/name" of claims that have no volume yet
	bool again;               // a new volume or class may help those that wait
};

static char here[] = "";

static void mark(struct map *m, const char *key)
{
	if (*key && map_put(m, key, here))
		log_error("volumes", "out of memory: %s is not looked at", key);
}

/* --- what changed --- */

static const char *claim_key(struct obj *o) { return strchr(obj_key(o), '/') + 1; }

static void mark_volume_of(struct binder *b, const char *claim)
{
	const char *name, *key;
	size_t pos = 0;

	while ((key = map_next(&b->claim_of, &pos, &name)))
		if (!strcmp(key, claim))
			mark(&b->volumes, name);
}

static void claim_changed(void *unit, int type, struct obj *o)
{
	struct binder *b = unit;
	const char *key = claim_key(o);

	if (type == EVENT_DELETED) {
		map_remove(&b->claims, key);
		map_remove(&b->waiting, key);
		mark_volume_of(b, key);
		return;
	}
	mark(&b->claims, key);
}

static void volume_changed(void *unit, int type, struct obj *o)
{
	struct binder *b = unit;
	own_json json_t *volume = obj_json(o);
	const char *name = jpath_str(volume, "metadata.name", ""), *ns = jpath_str(volume, "spec.claimRef.namespace", "");
	char key[REG_KEY_MAX], *copy;

	snprintf(key, sizeof key, "%s/%s", ns, jpath_str(volume, "spec.claimRef.name", ""));
	free(map_remove(&b->claim_of, name));
	if (*ns)
		mark(&b->claims, key);
	else
		b->again = true;
	if (type == EVENT_DELETED) {
		map_remove(&b->volumes, name);
		return;
	}
	copy = *ns ? strdup(key) : NULL;
	if (copy && map_put(&b->claim_of, name, copy))
		free(copy);
	mark(&b->volumes, name);
}

static void class_changed(void *unit, int type, struct obj *o)
{
	struct binder *b = unit;

	(void)type, (void)o;
	b->again = true;
}

/* --- writing --- */

static json_t *annotations(json_t *obj)
{
	if (!jpath_get(obj, "metadata.annotations"))
		jpath_set(obj, "metadata.annotations", json_object());
	return jpath_get(obj, "metadata.annotations");
}

struct bind { const json_t *volume, *claim; };

static bool name_claim(json_t *volume, void *user)
{
	const struct bind *x = user;
	const json_t *claim = x->claim;

	if (!strcmp(jpath_str(volume, "spec.claimRef.uid", ""), jpath_str(claim, "metadata.uid", "")))
		return false;
	if (jpath_get(volume, "spec.claimRef") && !volume_is_for(volume, claim))
		return false;   // somebody was faster: the next look finds another
	if (!jpath_get(volume, "spec.claimRef"))
		json_object_set_new(annotations(volume), "pv.kubernetes.io/bound-by-controller", json_string("yes"));
	jpath_set(volume, "spec.claimRef", json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "kind", "PersistentVolumeClaim", "apiVersion", "v1",
		"namespace", jpath_str(claim, "metadata.namespace", ""), "name", jpath_str(claim, "metadata.name", ""), "uid",
		jpath_str(claim, "metadata.uid", ""), "resourceVersion", jpath_str(claim, "metadata.resourceVersion", "")));
	return true;
}

static bool name_volume(json_t *claim, void *user)
{
	const struct bind *x = user;
	json_t *notes = annotations(claim), *capacity = jpath_get(x->volume, "spec.capacity");
	bool changed = false;

	if (strcmp(jpath_str(claim, "metadata.uid", ""), jpath_str(x->claim, "metadata.uid", "")))
		return false;
	if (!*jpath_str(claim, "spec.volumeName", "")) {
		jpath_set(claim, "spec.volumeName", json_string(jpath_str(x->volume, "metadata.name", "")));
		json_object_set_new(notes, "pv.kubernetes.io/bound-by-controller", json_string("yes"));
		changed = true;
	}
	if (!json_object_get(notes, "pv.kubernetes.io/bind-completed")) {
		json_object_set_new(notes, "pv.kubernetes.io/bind-completed", json_string("yes"));
		changed = true;
	}
	if (strcmp(jpath_str(claim, "status.phase", ""), "Bound")) {
		jpath_set(claim, "status.phase", json_string("Bound"));
		jpath_set(claim, "status.accessModes", json_deep_copy(jpath_get(x->volume, "spec.accessModes")));
		jpath_set(claim, "status.capacity", json_deep_copy(capacity));
		changed = true;
	}
	return changed;
}

struct phase { const char *phase; };

static bool set_phase(json_t *obj, void *user)
{
	const struct phase *p = user;

	if (!strcmp(jpath_str(obj, "status.phase", ""), p->phase))
		return false;
	jpath_set(obj, "status.phase", json_string(p->phase));
	return true;
}

static int volume_phase(struct binder *b, const json_t *volume, const char *phase)
{
	struct phase p = { .phase = phase };

	if (!strcmp(jpath_str(volume, "status.phase", ""), phase))
		return 0;
	return change_object(b->srv, volume_kind(), "", jpath_str(volume, "metadata.name", ""), "status", set_phase, &p, NULL);
}

/* "bind": a write that may change spec and status alike. */
static int bind(struct binder *b, const json_t *volume, const json_t *claim)
{
	struct bind x = { .volume = volume, .claim = claim };
	struct err e = ERR_INIT;
	int r = change_object(b->srv, volume_kind(), "", jpath_str(volume, "metadata.name", ""), "bind", name_claim, &x, &e);
	own_json json_t *now = r ? NULL : volume_load(b->srv, jpath_str(volume, "metadata.name", ""));

	if (!r && now && strcmp(jpath_str(now, "spec.claimRef.uid", ""), jpath_str(claim, "metadata.uid", "")))
		return -EAGAIN;
	if (!r)
		r = change_object(b->srv, volume_claim_kind(), jpath_str(claim, "metadata.namespace", ""),
				  jpath_str(claim, "metadata.name", ""), "bind", name_volume, &x, &e);
	if (!r)
		r = volume_phase(b, volume, "Bound");
	if (r && r != -ENOENT)
		log_warn("volumes", "bind claim=%s/%s volume=%s: %s", jpath_str(claim, "metadata.namespace", ""),
			 jpath_str(claim, "metadata.name", ""), jpath_str(volume, "metadata.name", ""), e.text);
	return r == -ENOENT ? 0 : r;
}

/* --- a claim --- */

/* The node for a claim that nobody waits for: that of what it is a copy of, else the ready one with the fewest volumes. */
struct choice { char name[256]; long volumes; };

static bool node_takes_pods(const json_t *node)
{
	size_t i;
	json_t *c;

	if (jpath_bool(node, "spec.unschedulable", false))
		return false;
	json_array_foreach(jpath_get(node, "status.conditions"), i, c)
		if (!strcmp(jpath_str(c, "type", ""), "Ready"))
			return !strcmp(jpath_str(c, "status", ""), "True");
	return false;
}

static long volumes_on(struct binder *b, const char *node)
{
	struct store_list l;
	long n = 0;

	if (store_list(b->srv->store, "persistentvolumes/", NULL, 0, 0, &l))
		return 0;
	for (size_t i = 0; i < l.count; i++) {
		own_json json_t *v = obj_json(l.objs[i]);
		n += !strcmp(volume_node(v), node);
	}
	store_list_fini(&l);
	return n;
}

static void choose_node(struct binder *b, const json_t *claim, char node[256])
{
	struct choice best = { .volumes = -1 };
	struct store_list l;

	volume_source_node(b->srv, claim, node);
	if (*node || store_list(b->srv->store, "nodes/", NULL, 0, 0, &l))
		return;
	for (size_t i = 0; i < l.count; i++) {
		own_json json_t *n = obj_json(l.objs[i]);
		const char *name = jpath_str(n, "metadata.name", "");
		long count = node_takes_pods(n) ? volumes_on(b, name) : -1;
		if (count >= 0 && (best.volumes < 0 || count < best.volumes)) {
			best.volumes = count;
			snprintf(best.name, sizeof best.name, "%s", name);
		}
	}
	store_list_fini(&l);
	snprintf(node, 256, "%s", best.name);
}

struct ask { const char *provisioner, *node; };

static bool ask_provisioner(json_t *claim, void *user)
{
	const struct ask *a = user;
	json_t *notes = annotations(claim);
	bool changed = false;

	if (strcmp(volume_annotation(claim, VOLUME_PROVISIONER_KEY), a->provisioner)) {
		json_object_set_new(notes, VOLUME_PROVISIONER_KEY, json_string(a->provisioner));
		json_object_set_new(notes, VOLUME_PROVISIONER_BETA, json_string(a->provisioner));
		changed = true;
	}
	if (*a->node && !*volume_annotation(claim, VOLUME_SELECTED_NODE)) {
		json_object_set_new(notes, VOLUME_SELECTED_NODE, json_string(a->node));
		changed = true;
	}
	return changed;
}

static int provision(struct binder *b, const json_t *claim, const json_t *class_)
{
	char node[256] = "";
	struct ask a = { jpath_str(class_, "provisioner", ""), node };
	bool ours = !strcmp(a.provisioner, VOLUME_PROVISIONER);

	if (ours && !volume_class_waits(class_) && !*volume_annotation(claim, VOLUME_SELECTED_NODE)) {
		choose_node(b, claim, node);
		if (!*node)
			return -EAGAIN;
	}
	if (!strcmp(volume_annotation(claim, VOLUME_PROVISIONER_KEY), a.provisioner) && !*node)
		return 0;
	recorder_event(b->srv->recorder, claim, NAME, "Normal", "ExternalProvisioning", "Waiting for a volume to be created either by the "
		       "external provisioner '%s' or manually by the system administrator.", a.provisioner);
	return change_object(b->srv, volume_claim_kind(), jpath_str(claim, "metadata.namespace", ""),
			     jpath_str(claim, "metadata.name", ""), "", ask_provisioner, &a, NULL);
}

/* The smallest volume that satisfies the claim; one that names it goes first. */
static json_t *find_volume(struct binder *b, const json_t *claim)
{
	json_t *best = NULL;
	bool best_named = false;
	struct store_list l;

	if (store_list(b->srv->store, "persistentvolumes/", NULL, 0, 0, &l))
		return NULL;
	for (size_t i = 0; i < l.count; i++) {
		json_t *v = obj_json(l.objs[i]);
		bool named = volume_is_for(v, claim);
		if (volume_satisfies(v, claim) && (!best || (named && !best_named) ||
		    (named == best_named && k8s_quantity_value(jpath_get(v, "spec.capacity.storage"), 0) <
					    k8s_quantity_value(jpath_get(best, "spec.capacity.storage"), 0)))) {
			json_decref(best);
			best = json_incref(v);
			best_named = named;
		}
		json_decref(v);
	}
	store_list_fini(&l);
	return best;
}

static int set_lost(struct binder *b, const json_t *claim, const char *why)
{
	struct phase p = { .phase = "Lost" };

	if (strcmp(jpath_str(claim, "status.phase", ""), "Lost"))
		recorder_event(b->srv->recorder, claim, NAME, "Warning", "ClaimLost", "%s", why);
	return change_object(b->srv, volume_claim_kind(), jpath_str(claim, "metadata.namespace", ""),
			     jpath_str(claim, "metadata.name", ""), "status", set_phase, &p, NULL);
}

/* A claim that names its volume: bound, bound by its user in advance, or robbed of it. */
static int look_at_named(struct binder *b, const json_t *claim)
{
	own_json json_t *volume = volume_load(b->srv, jpath_str(claim, "spec.volumeName", ""));
	bool completed = *volume_annotation(claim, "pv.kubernetes.io/bind-completed");

	if (!volume)
		return completed ? set_lost(b, claim, "Bound claim has lost its PersistentVolume. Data on the volume is lost!") : 0;
	if (jpath_get(volume, "spec.claimRef") && !volume_is_for(volume, claim))
		return completed ? set_lost(b, claim, "Bound claim has lost reference to PersistentVolume: the volume is bound to another "
					    "claim") : 0;
	return bind(b, volume, claim);
}

static int look_at_claim(struct binder *b, const char *key)
{
	const char *slash = strchr(key, '/');
	char ns[256];
	own_json json_t *claim = NULL, *class_ = NULL, *volume = NULL;
	bool waits;

	snprintf(ns, sizeof ns, "%.*s", (int)(slash - key), key);
	claim = volume_claim_load(b->srv, ns, slash + 1);
	map_remove(&b->waiting, key);
	if (!claim || meta_is_deleting(claim))
		return 0;
	if (*jpath_str(claim, "spec.volumeName", ""))
		return look_at_named(b, claim);
	class_ = volume_class_load(b->srv, volume_class_name(claim));
	volume = find_volume(b, claim);
	waits = volume_class_waits(class_) && !*volume_annotation(claim, VOLUME_SELECTED_NODE);
	/* Of a class that waits, only what already names the claim: the scheduler or a provisioner has chosen it. */
	if (volume && (volume_is_for(volume, claim) || !volume_class_waits(class_)))
		return bind(b, volume, claim);
	mark(&b->waiting, key);
	if (waits) {
		recorder_event(b->srv->recorder, claim, NAME, "Normal", "WaitForFirstConsumer", "waiting for first consumer to be created "
			       "before binding");
		return 0;
	}
	if (volume_is_provisioned(class_))
		return provision(b, claim, class_);
	if (*volume_class_name(claim) && !class_)
		recorder_event(b->srv->recorder, claim, NAME, "Warning", "ProvisioningFailed", "storageclass.storage.k8s.io \"%s\" not found",
			       volume_class_name(claim));
	else
		recorder_event(b->srv->recorder, claim, NAME, "Normal", "FailedBinding", "no persistent volumes available for this claim "
			       "and no storage class is set");
	return 0;
}

/* --- a volume --- */

static int look_at_volume(struct binder *b, const char *name)
{
	own_json json_t *volume = volume_load(b->srv, name), *claim = NULL;
	const json_t *ref = jpath_get(volume, "spec.claimRef");

	if (!volume)
		return 0;
	if (!ref)
		return volume_phase(b, volume, "Available");
	claim = volume_claim_load(b->srv, jpath_str(ref, "namespace", ""), jpath_str(ref, "name", ""));
	if (!*jpath_str(ref, "uid", ""))
		return volume_phase(b, volume, "Available");   // kept for a claim that may not be there yet
	if (claim && volume_is_bound(volume, claim))
		return volume_phase(b, volume, "Bound");
	return claim && volume_is_for(volume, claim) ? 0 : volume_phase(b, volume, "Released");
}

/* --- the unit --- */

/* Look at each of a set once; those that failed stay for later. */
static int each(struct binder *b, struct map *set, int (*look)(struct binder *b, const char *key))
{
	struct map now = *set;
	const char *key;
	size_t pos = 0;
	int failed = 0;

	*set = (struct map)MAP_INIT;
	while (map_next(&now, &pos, &key)) {
		if (!look(b, key))
			continue;
		mark(set, key);
		failed++;
	}
	map_fini(&now, NULL);
	return failed;
}

static uint64_t work(void *unit, uint64_t now)
{
	struct binder *b = unit;
	const char *key;
	size_t pos = 0;
	int failed;

	while (b->again && map_next(&b->waiting, &pos, &key))
		mark(&b->claims, key);
	b->again = false;
	failed = each(b, &b->volumes, look_at_volume);
	failed += each(b, &b->claims, look_at_claim);
	return failed ? now + RETRY_NS : LOOP_NEVER;
}

static int binder_open(struct server *srv, void **unit, struct err *e)
{
	struct binder *b = calloc(1, sizeof *b);

	if (!b)
		return err_set(e, ENOMEM, "out of memory");
	b->srv = srv;
	*unit = b;
	return 0;
}

static void binder_close(void *unit)
{
	struct binder *b = unit;

	map_fini(&b->claims, NULL);
	map_fini(&b->volumes, NULL);
	map_fini(&b->waiting, NULL);
	map_fini(&b->claim_of, free);
	free(b);
}

static const struct unit_source sources[] = {
	{ "", "v1", "persistentvolumes", volume_changed, NULL },
	{ "", "v1", "persistentvolumeclaims", claim_changed, NULL },
	{ "storage.k8s.io", "v1", "storageclasses", class_changed, NULL },
	{ "", "v1", "nodes", class_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops volume_binder_unit = {
	.name = "volume binding", .sources = sources, .open = binder_open, .work = work, .close = binder_close,
};
