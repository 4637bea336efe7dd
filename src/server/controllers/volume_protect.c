// SPDX-License-Identifier: Apache-2.0
// Claims that pods use, and volumes that claims use, are not removed under them: a finalizer, put there when they are made
// (admission), is taken away here when the object is being deleted and nobody uses it any more. Also makes the claims of
// generic ephemeral volumes.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/map.h"
#include "server/meta.h"
#include "server/recorder.h"
#include "server/registry.h"
#include "server/view.h"
#include "server/volumes.h"

#define RETRY_NS (2 * NS_PER_S)

struct protect {
	struct server *srv;
	struct map claims;       // "ns/name" of claims that are being deleted
	struct map volumes;      // names of volumes that are being deleted
	struct map pods;         // "ns/name" of pods with ephemeral volumes
	bool look;               // something that may set them free has happened
};

static char here[] = "";

static void keep(struct map *m, const char *key, bool in)
{
	if (!in)
		map_remove(m, key);
	else if (map_put(m, key, here))
		log_error("volumes", "out of memory: %s is not looked at", key);
}

static const char *name_of(struct obj *o) { return strchr(obj_key(o), '/') + 1; }

static void claim_changed(void *unit, int type, struct obj *o)
{
	struct protect *p = unit;
	own_json json_t *claim = obj_json(o);

	keep(&p->claims, name_of(o), type != EVENT_DELETED && meta_is_deleting(claim));
	p->look = true;
}

static void volume_changed(void *unit, int type, struct obj *o)
{
	struct protect *p = unit;
	own_json json_t *volume = obj_json(o);

	keep(&p->volumes, jpath_str(volume, "metadata.name", ""), type != EVENT_DELETED && meta_is_deleting(volume));
	p->look = true;
}

static bool has_ephemeral(const json_t *pod)
{
	size_t i;
	json_t *v;

	json_array_foreach(jpath_get(pod, "spec.volumes"), i, v)
		if (json_object_get(v, "ephemeral"))
			return true;
	return false;
}

static void pod_changed(void *unit, int type, struct obj *o)
{
	struct protect *p = unit;
	own_json json_t *pod = type == EVENT_ADDED && strstr(obj_text(o), "\"ephemeral\"") ? obj_view(o) : NULL;

	if (pod && !meta_is_deleting(pod) && has_ephemeral(pod))
		keep(&p->pods, name_of(o), true);
	p->look |= p->claims.count || p->pods.count;
}

/* --- claims --- */

static bool pod_uses(const json_t *pod, const char *claim)
{
	char buf[512];
	size_t i;
	json_t *v;

	json_array_foreach(jpath_get(pod, "spec.volumes"), i, v) {
		const char *name = volume_pod_claim(pod, v, buf);
		if (name && !strcmp(name, claim))
			return true;
	}
	return false;
}

/* By a pod that has a node and has not ended: others wait until it is gone, as they would for one that never was. */
static bool is_used(struct protect *p, const char *ns, const char *claim)
{
	char prefix[REG_KEY_MAX];
	struct store_list l;
	bool used = false;

	if (store_list(p->srv->store, reg_prefix(k8s_kind_find("", "v1", "pods"), ns, prefix), NULL, 0, 0, &l))
		return true;
	for (size_t i = 0; i < l.count && !used; i++) {
		own_json json_t *pod = obj_json(l.objs[i]);
		used = !pod || (pod_uses(pod, claim) && *jpath_str(pod, "spec.nodeName", "") && !volume_pod_is_over(pod));
	}
	store_list_fini(&l);
	return used;
}

static bool drop_finalizer(json_t *obj, void *user)
{
	json_t *list = jpath_get(obj, "metadata.finalizers");

	for (size_t i = json_array_size(list); i-- > 0;)
		if (!strcmp(jpath_str(json_array_get(list, i), "", ""), user)) {
			json_array_remove(list, i);
			if (!json_array_size(list))
				json_object_del(json_object_get(obj, "metadata"), "finalizers");
			return true;
		}
	return false;
}

static int free_claim(struct protect *p, const char *key)
{
	const char *name = strchr(key, '/') + 1;
	char ns[256];

	snprintf(ns, sizeof ns, "%.*s", (int)(name - 1 - key), key);
	if (is_used(p, ns, name))
		return 0;
	return change_object(p->srv, volume_claim_kind(), ns, name, "", drop_finalizer, (void *)VOLUME_CLAIM_FINALIZER, NULL);
}

static int free_volume(struct protect *p, const char *name)
{
	own_json json_t *volume = volume_load(p->srv, name);

	if (!volume || !strcmp(jpath_str(volume, "status.phase", ""), "Bound"))
		return 0;
	return change_object(p->srv, volume_kind(), "", name, "", drop_finalizer, (void *)VOLUME_FINALIZER, NULL);
}

/* --- generic ephemeral volumes --- */

static int make_claim(struct protect *p, const json_t *pod, const json_t *volume)
{
	const json_t *template_ = jpath_get(volume, "ephemeral.volumeClaimTemplate");
	const char *ns = jpath_str(pod, "metadata.namespace", "");
	char name[512];
	struct err e = ERR_INIT;
	own_json json_t *there = NULL, *claim = NULL;
	json_t *meta;

	if (!template_)
		return 0;
	there = volume_claim_load(p->srv, ns, volume_pod_claim(pod, volume, name));
	if (there)
		return 0;
	claim = json_pack("{s:s,s:s,s:o*,s:O*}", "apiVersion", "v1", "kind", "PersistentVolumeClaim", "metadata",
			  json_deep_copy(json_object_get(template_, "metadata")), "spec", json_object_get(template_, "spec"));
	if (claim && !json_object_get(claim, "metadata"))
		json_object_set_new(claim, "metadata", json_object());
	meta = json_object_get(claim, "metadata");
	json_object_set_new(meta, "name", json_string(name));
	json_object_set_new(meta, "namespace", json_string(ns));
	json_object_set_new(meta, "ownerReferences", json_pack("[{s:s,s:s,s:s,s:s,s:b,s:b}]", "apiVersion", "v1", "kind", "Pod", "name",
			    jpath_str(pod, "metadata.name", ""), "uid", jpath_str(pod, "metadata.uid", ""), "controller", 1,
			    "blockOwnerDeletion", 1));
	if (!create_object(p->srv, volume_claim_kind(), ns, claim, &e) || e.code == EEXIST)
		return 0;
	recorder_event(p->srv->recorder, pod, "ephemeral-volume-controller", "Warning", "FailedCreate", "ephemeral volume %s: %s",
		       jpath_str(volume, "name", ""), e.text);
	return -e.code;
}

static int make_claims(struct protect *p, const char *key)
{
	const struct k8s_kind *k = k8s_kind_find("", "v1", "pods");
	char full[REG_KEY_MAX];
	size_t i;
	json_t *v;
	own_obj struct obj *o = NULL;
	own_json json_t *pod = NULL;
	int r = 0, one;

	snprintf(full, sizeof full, "pods/%s", key);
	o = k ? store_get(p->srv->store, full) : NULL;
	pod = o ? obj_json(o) : NULL;
	json_array_foreach(jpath_get(pod, "spec.volumes"), i, v)
		if ((one = make_claim(p, pod, v)))
			r = one;
	return r;
}

/* --- the unit --- */

static uint64_t work(void *unit, uint64_t now)
{
	struct protect *p = unit;
	struct map pods = p->pods;
	const char *key;
	size_t pos = 0;
	bool failed = false;

	p->pods = (struct map)MAP_INIT;
	while (map_next(&pods, &pos, &key))
		if (make_claims(p, key)) {
			keep(&p->pods, key, true);
			failed = true;
		}
	map_fini(&pods, NULL);
	for (pos = 0; p->look && map_next(&p->claims, &pos, &key);)
		failed |= free_claim(p, key) != 0;
	for (pos = 0; p->look && map_next(&p->volumes, &pos, &key);)
		failed |= free_volume(p, key) != 0;
	p->look = failed;
	return failed ? now + RETRY_NS : LOOP_NEVER;
}

static int protect_open(struct server *srv, void **unit, struct err *e)
{
	struct protect *p = calloc(1, sizeof *p);

	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	p->srv = srv;
	*unit = p;
	return 0;
}

static void protect_close(void *unit)
{
	struct protect *p = unit;

	map_fini(&p->claims, NULL);
	map_fini(&p->volumes, NULL);
	map_fini(&p->pods, NULL);
	free(p);
}

static const struct unit_source sources[] = {
	{ "", "v1", "persistentvolumeclaims", claim_changed, NULL },
	{ "", "v1", "persistentvolumes", volume_changed, NULL },
	{ "", "v1", "pods", pod_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops volume_protect_unit = {
	.name = "volume protection", .sources = sources, .open = protect_open, .work = work, .close = protect_close,
};
