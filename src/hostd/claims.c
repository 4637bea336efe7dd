// SPDX-License-Identifier: Apache-2.0
// Claims, volumes and snapshots of this host; see claims.h. One worker looks at everything again whenever something has
// changed; each step finds out by itself whether it is needed, so that nothing depends on having seen an earlier event.
#include "claims.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "claim_class.h"
#include "claims_internal.h"
#include "events.h"
#include "k8s/client.h"
#include "k8s/quantity.h"
#include "volume_store.h"

#define RETRY_FIRST_NS NS_PER_S
#define RETRY_MAX_NS (60 * NS_PER_S)
#define LOOK_NS (60 * NS_PER_S)
#define SELECTED_NODE "volume.kubernetes.io/selected-node"

/* --- copies of the API's objects --- */

static const struct { const char *path, *list, *kind, *api; } kinds[] = {
	[CLAIM] = {"/api/v1/namespaces/%s/persistentvolumeclaims/%s%s%s", "/api/v1/persistentvolumeclaims", "PersistentVolumeClaim", "v1"},
	[VOLUME] = {"/api/v1/persistentvolumes%.0s/%s%s%s", "/api/v1/persistentvolumes", "PersistentVolume", "v1"},
	[SNAPSHOT] = {"/apis/snapshot.storage.k8s.io/v1/namespaces/%s/volumesnapshots/%s%s%s",
		      "/apis/snapshot.storage.k8s.io/v1/volumesnapshots", "VolumeSnapshot", "snapshot.storage.k8s.io/v1"},
	[CONTENT] = {"/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents%.0s/%s%s%s",
		     "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents", "VolumeSnapshotContent", "snapshot.storage.k8s.io/v1"},
};

static void put(struct mirror *m, const char *type, json_t *obj)
{
	char key[600];
	snprintf(key, sizeof(key), "%s/%s", jpath_str(obj, "metadata.namespace", ""), jpath_str(obj, "metadata.name", ""));
	if (!strcmp(type, "DELETED")) {
		json_object_del(m->items, key);
		return;
	}
	json_t *copy = json_copy(obj);   // objects of a list do not say what they are
	json_object_set_new(copy, "kind", json_string(kinds[m->kind].kind));
	json_object_set_new(copy, "apiVersion", json_string(kinds[m->kind].api));
	json_object_set_new(m->items, key, copy);
}

static void wake(struct claims *c)
{
	c->dirty = true;
	pthread_cond_signal(&c->wake);
}

static void on_event(void *user, const char *type, json_t *obj)
{
	struct mirror *m = user;
	pthread_mutex_lock(&m->claims->lock);
	put(m, type, obj);
	wake(m->claims);
	pthread_mutex_unlock(&m->claims->lock);
}

static void on_sync(void *user, json_t *items)
{
	struct mirror *m = user;
	size_t i;
	json_t *obj;
	pthread_mutex_lock(&m->claims->lock);
	json_object_clear(m->items);
	json_array_foreach(items, i, obj)
		put(m, "ADDED", obj);
	wake(m->claims);
	pthread_mutex_unlock(&m->claims->lock);
}

json_t *claims_items(struct claims *c, enum claims_kind k)
{
	pthread_mutex_lock(&c->lock);
	json_t *copy = json_copy(c->mirrors[k].items);
	pthread_mutex_unlock(&c->lock);
	return copy;
}

/* --- small calls --- */

const char *claims_annotation(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(jpath_get(obj, "metadata.annotations"), key));
	return s ? s : "";
}

const char *claims_volume_node(const json_t *pv)
{
	const json_t *term = json_array_get(jpath_get(pv, "spec.nodeAffinity.required.nodeSelectorTerms"), 0);
	const char *s = json_string_value(json_array_get(json_object_get(json_array_get(json_object_get(term, "matchExpressions"), 0), "values"), 0));
	return s ? s : "";
}

bool claims_volume_is_ours(const struct claims *c, const json_t *pv)
{
	return !strcmp(jpath_str(pv, "spec.csi.driver", ""), CLAIMS_DRIVER) && !strcmp(claims_volume_node(pv), c->host->node_name);
}

bool claims_has_finalizer(const json_t *obj, const char *name)
{
	size_t i;
	json_t *f;
	json_array_foreach(jpath_get(obj, "metadata.finalizers"), i, f)
		if (json_is_string(f) && !strcmp(json_string_value(f), name))
			return true;
	return false;
}

char *claims_path(enum claims_kind k, const json_t *obj, const char *subresource, char out[700])
{
	snprintf(out, 700, kinds[k].path, jpath_str(obj, "metadata.namespace", ""), jpath_str(obj, "metadata.name", ""),
		 *subresource ? "/" : "", subresource);
	return out;
}

int claims_patch(struct claims *c, enum claims_kind k, const json_t *obj, const char *subresource, json_t *patch, struct err *e)
{
	own_json json_t *owned = patch;
	char path[700];
	return k8s_client_call(c->host->api, "PATCH", claims_path(k, obj, subresource, path), "application/merge-patch+json", owned, 10000,
			       NULL, e);
}

/* The list of finalizers is written whole, so only if nobody has changed the object meanwhile. */
int claims_drop_finalizer(struct claims *c, enum claims_kind k, const json_t *obj, const char *name, struct err *e)
{
	json_t *left = json_array(), *f;
	size_t i;
	json_array_foreach(jpath_get(obj, "metadata.finalizers"), i, f)
		if (!json_is_string(f) || strcmp(json_string_value(f), name))
			json_array_append(left, f);
	int rc = claims_patch(c, k, obj, "", json_pack("{s:{s:o, s:s}}", "metadata", "finalizers", left, "resourceVersion",
						       jpath_str(obj, "metadata.resourceVersion", "")), e);
	return rc == -ENOENT ? 0 : rc;
}

/* --- making a volume --- */

static bool is_for_us(const struct claims *c, const json_t *claim)
{
	const char *by = claims_annotation(claim, "volume.kubernetes.io/storage-provisioner");
	if (!*by)
		by = claims_annotation(claim, "volume.beta.kubernetes.io/storage-provisioner");
	return !strcmp(by, CLAIMS_DRIVER) && !strcmp(claims_annotation(claim, SELECTED_NODE), c->host->node_name) &&
	       !*jpath_str(claim, "spec.volumeName", "") && !jpath_get(claim, "metadata.deletionTimestamp");
}

static int check_modes(const json_t *claim, struct err *e)
{
	size_t i;
	json_t *m;
	json_array_foreach(jpath_get(claim, "spec.accessModes"), i, m)
		if (json_is_string(m) && !strcmp(json_string_value(m), "ReadWriteMany"))
			return err_set(e, EINVAL, "access mode ReadWriteMany is not offered: a disk that is written is in one virtual machine at a "
						  "time");
	return 0;
}

static json_t *find(struct claims *c, enum claims_kind k, const char *ns, const char *name)
{
	char key[600];
	snprintf(key, sizeof(key), "%s/%s", ns, name);
	own_json json_t *items = claims_items(c, k);
	return json_incref(json_object_get(items, key));
}

/* What the claim shall be a copy of. temporary: a snapshot that was only taken for it. */
struct source { char volume[128], snapshot[128]; bool temporary; };

static int find_source(struct claims *c, const json_t *claim, struct source *s, struct err *e)
{
	const json_t *ref = jpath_get(claim, "spec.dataSource") ? jpath_get(claim, "spec.dataSource") : jpath_get(claim, "spec.dataSourceRef");
	const char *kind = jpath_str(ref, "kind", ""), *name = jpath_str(ref, "name", ""), *ns = jpath_str(claim, "metadata.namespace", "");
	*s = (struct source){.temporary = false};
	if (!ref)
		return 0;
	if (!strcmp(kind, "PersistentVolumeClaim")) {
		own_json json_t *from = find(c, CLAIM, ns, name), *pv = from ? find(c, VOLUME, "", jpath_str(from, "spec.volumeName", "")) : NULL;
		if (!pv || strcmp(jpath_str(from, "status.phase", ""), "Bound"))
			return err_set(e, EAGAIN, "claim %s in dataSource is not there or not bound", name);
		if (!claims_volume_is_ours(c, pv))
			return err_set(e, EINVAL, "claim %s in dataSource has its volume on another node or of another driver", name);
		snprintf(s->volume, sizeof(s->volume), "%s", jpath_str(pv, "spec.csi.volumeHandle", ""));
		return 0;
	}
	if (strcmp(kind, "VolumeSnapshot"))
		return err_set(e, EINVAL, "dataSource of kind %s is not offered: PersistentVolumeClaim and VolumeSnapshot are", kind);
	own_json json_t *snap = find(c, SNAPSHOT, ns, name);
	own_json json_t *content = snap ? find(c, CONTENT, "", jpath_str(snap, "status.boundVolumeSnapshotContentName", "")) : NULL;
	const char *handle = jpath_str(content, "status.snapshotHandle", ""), *slash = strchr(handle, '/');
	if (!slash || !jpath_bool(snap, "status.readyToUse", false))
		return err_set(e, EAGAIN, "snapshot %s in dataSource is not there or not ready", name);
	if (strncmp(handle, c->host->node_name, (size_t)(slash - handle)) || c->host->node_name[slash - handle])
		return err_set(e, EINVAL, "snapshot %s in dataSource is on node %.*s", name, (int)(slash - handle), handle);
	snprintf(s->snapshot, sizeof(s->snapshot), "%s", slash + 1);
	return 0;
}

static int make_disk(struct claims *c, const char *id, const json_t *claim, const json_t *class_, struct err *e)
{
	own_free char *filters = NULL;
	struct source from;
	struct volume_new n = {.id = id, .block = !strcmp(jpath_str(claim, "spec.volumeMode", "Filesystem"), "Block"),
			       .size_bytes = (uint64_t)k8s_quantity_value(jpath_get(claim, "spec.resources.requests.storage"), 0)};
	int rc = claim_class_parse(json_object_get(class_, "parameters"), &filters, e);
	if (!rc)
		rc = check_modes(claim, e);
	if (!rc)
		rc = find_source(c, claim, &from, e);
	if (rc)
		return rc;
	n.filters = filters;
	n.from_volume = *from.volume ? from.volume : NULL;
	n.from_snapshot = *from.snapshot ? from.snapshot : NULL;
	rc = volume_create(c->host->volumes, &n, e);
	if (rc == -EBUSY && n.from_volume) {   // a VM writes it: by way of a snapshot
		snprintf(from.snapshot, sizeof(from.snapshot), "for-%.100s", id);
		rc = claims_take(c, from.snapshot, from.volume, e);
		n.from_volume = NULL;
		n.from_snapshot = from.snapshot;
		if (!rc)
			rc = volume_create(c->host->volumes, &n, e);
		if (!rc)
			rc = volume_snapshot_remove(c->host->volumes, from.snapshot, e);
	}
	return rc;
}

static json_t *volume_object(const struct claims *c, const char *name, const json_t *claim, const json_t *class_, uint64_t size)
{
	char capacity[K8S_QUANTITY_TEXT_MAX];
	const char *class_name = jpath_str(class_, "metadata.name", ""), *node = c->host->node_name;
	json_t *options = json_object_get(class_, "mountOptions");
	k8s_quantity_text((int64_t)size * 1000, 1, capacity);
	return json_pack("{s:s, s:s, s:{s:s, s:{s:s}, s:[s]}, s:{s:{s:s}, s:O, s:s, s:s, s:s, s:O?, s:{s:s, s:s, s:s, s:s, s:s, s:s*}, "
			 "s:{s:s, s:s, s:s}, s:{s:{s:[{s:[{s:s, s:s, s:[s]}]}]}}}}",
			 "apiVersion", "v1", "kind", "PersistentVolume",
			 "metadata", "name", name, "annotations", "pv.kubernetes.io/provisioned-by", CLAIMS_DRIVER, "finalizers", CLAIMS_VOLUME_FINALIZER,
			 "spec", "capacity", "storage", capacity, "accessModes", jpath_get(claim, "spec.accessModes"),
			 "persistentVolumeReclaimPolicy", jpath_str(class_, "reclaimPolicy", "Delete"), "storageClassName", class_name,
			 "volumeMode", jpath_str(claim, "spec.volumeMode", "Filesystem"), "mountOptions", options,
			 "claimRef", "kind", "PersistentVolumeClaim", "apiVersion", "v1", "namespace", jpath_str(claim, "metadata.namespace", ""),
			 "name", jpath_str(claim, "metadata.name", ""), "uid", jpath_str(claim, "metadata.uid", ""), "resourceVersion",
			 jpath_str(claim, "metadata.resourceVersion", NULL),
			 "csi", "driver", CLAIMS_DRIVER, "volumeHandle", name, "fsType", "ext4",
			 "nodeAffinity", "required", "nodeSelectorTerms", "matchExpressions", "key", "kubernetes.io/hostname", "operator", "In",
			 "values", node);
}

static int make_volume(struct claims *c, const json_t *claim, struct err *e)
{
	char name[80], path[400];
	struct volume_info info;
	own_json json_t *class_ = NULL, *pv = NULL;
	snprintf(name, sizeof(name), "pvc-%.64s", jpath_str(claim, "metadata.uid", ""));
	snprintf(path, sizeof(path), "/apis/storage.k8s.io/v1/storageclasses/%.250s", jpath_str(claim, "spec.storageClassName", ""));
	int rc = k8s_client_call(c->host->api, "GET", path, NULL, NULL, 10000, &class_, e);
	if (!rc)
		rc = make_disk(c, name, claim, class_, e);
	if (!rc)
		rc = volume_get(c->host->volumes, name, &info, e);
	if (rc)
		return rc;
	pv = volume_object(c, name, claim, class_, info.size_bytes);
	rc = !pv ? err_set(e, ENOMEM, "no memory") : k8s_client_call(c->host->api, "POST", "/api/v1/persistentvolumes", NULL, pv, 10000, NULL, e);
	if (rc && rc != -EEXIST)
		return rc;
	events_emit(c->host->events, claim, NULL, "Normal", "ProvisioningSucceeded", "Successfully provisioned volume %s", name);
	log_info("claims", "made volume=%s claim=%s/%s bytes=%llu", name, jpath_str(claim, "metadata.namespace", ""),
		 jpath_str(claim, "metadata.name", ""), (unsigned long long)info.size_bytes);
	return 0;
}

static int provision(struct claims *c, const json_t *claim, struct err *e)
{
	int rc = make_volume(c, claim, e);
	if (!rc)
		return 0;
	events_emit(c->host->events, claim, NULL, "Warning", "ProvisioningFailed", "failed to provision volume with StorageClass \"%s\": %s",
		    jpath_str(claim, "spec.storageClassName", ""), e->text);
	if (rc == -ENOSPC)   // another node may have room: the scheduler chooses again
		claims_patch(c, CLAIM, claim, "", json_pack("{s:{s:{s:n}}}", "metadata", "annotations", SELECTED_NODE), NULL);
	return rc;
}

/* --- taking one away --- */

static int reclaim(struct claims *c, const json_t *pv, struct err *e)
{
	const char *phase = jpath_str(pv, "status.phase", ""), *id = jpath_str(pv, "spec.csi.volumeHandle", "");
	bool deleting = jpath_get(pv, "metadata.deletionTimestamp"), keep = strcmp(jpath_str(pv, "spec.persistentVolumeReclaimPolicy", ""), "Delete");
	char path[700];
	if (!deleting && !keep && !strcmp(phase, "Released")) {
		int rc = k8s_client_call(c->host->api, "DELETE", claims_path(VOLUME, pv, "", path), NULL, NULL, 10000, NULL, e);
		return rc == -ENOENT ? 0 : rc;
	}
	if (!deleting || !strcmp(phase, "Bound") || !claims_has_finalizer(pv, CLAIMS_VOLUME_FINALIZER))
		return 0;
	int rc = keep ? 0 : volume_remove(c->host->volumes, id, e);
	if (rc)
		return rc;
	log_info("claims", "removed volume=%s disk_kept=%d", id, keep);
	return claims_drop_finalizer(c, VOLUME, pv, CLAIMS_VOLUME_FINALIZER, e);
}

/* --- the worker --- */

/* Not again before its time after a failure. */
static bool waits(struct claims *c, const char *uid, uint64_t now, uint64_t *next)
{
	uint64_t until = (uint64_t)jpath_int(json_object_get(c->waits, uid), "until", 0);
	if (now >= until)
		return false;
	if (until < *next)
		*next = until;
	return true;
}

static void outcome(struct claims *c, const json_t *obj, int rc, const struct err *e, uint64_t now, uint64_t *next)
{
	const char *uid = jpath_str(obj, "metadata.uid", "?");
	if (!rc) {
		json_object_del(c->waits, uid);
		return;
	}
	long long tries = jpath_int(json_object_get(c->waits, uid), "tries", 0);
	uint64_t wait = RETRY_FIRST_NS << (tries < 6 ? tries : 6);
	wait = wait > RETRY_MAX_NS ? RETRY_MAX_NS : wait;
	json_object_set_new(c->waits, uid, json_pack("{s:I, s:I}", "until", (json_int_t)(now + wait), "tries", (json_int_t)tries + 1));
	if (now + wait < *next)
		*next = now + wait;
	log_warn("claims", "%s %s: %s", jpath_str(obj, "kind", ""), jpath_str(obj, "metadata.name", ""), e->text);
}

static int look_at_claim(struct claims *c, const json_t *claim, const json_t *pvs, struct err *e)
{
	char key[600];
	if (is_for_us(c, claim))
		return provision(c, claim, e);
	snprintf(key, sizeof(key), "/%s", jpath_str(claim, "spec.volumeName", ""));
	const json_t *pv = json_object_get(pvs, key);
	return pv && claims_volume_is_ours(c, pv) ? claims_grow(c, claim, pv, e) : 0;
}

static int look(struct claims *c, enum claims_kind k, const json_t *obj, const json_t *pvs, struct err *e)
{
	switch (k) {
	case CLAIM: return look_at_claim(c, obj, pvs, e);
	case VOLUME: return claims_volume_is_ours(c, obj) ? reclaim(c, obj, e) : 0;
	case SNAPSHOT: return claims_snapshot(c, obj, e);
	case CONTENT: return claims_content(c, obj, e);
	default: return 0;
	}
}

static uint64_t look_at_all(struct claims *c)
{
	uint64_t next = clock_mono_ns() + LOOK_NS;
	own_json json_t *pvs = claims_items(c, VOLUME);
	for (int k = 0; k < CLAIMS_KINDS; k++) {
		own_json json_t *items = claims_items(c, (enum claims_kind)k);
		const char *key;
		json_t *obj;
		json_object_foreach(items, key, obj) {
			uint64_t now = clock_mono_ns();
			struct err e = ERR_INIT;
			if (waits(c, jpath_str(obj, "metadata.uid", "?"), now, &next))
				continue;
			int rc = look(c, (enum claims_kind)k, obj, pvs, &e);
			outcome(c, obj, rc, &e, now, &next);
		}
	}
	return next;
}

static void *run(void *arg)
{
	struct claims *c = arg;
	uint64_t next = 0;
	pthread_mutex_lock(&c->lock);
	while (!c->stop) {
		if (!c->dirty && clock_mono_ns() < next) {
			struct timespec until = {.tv_sec = (time_t)(next / NS_PER_S), .tv_nsec = (long)(next % NS_PER_S)};
			pthread_cond_timedwait(&c->wake, &c->lock, &until);
			continue;
		}
		c->dirty = false;
		pthread_mutex_unlock(&c->lock);
		next = look_at_all(c);
		pthread_mutex_lock(&c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

void claims_poke(struct claims *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	wake(c);
	pthread_mutex_unlock(&c->lock);
}

static int watch(struct claims *c, struct err *e)
{
	static const struct k8s_informer_ops ops = {.on_sync = on_sync, .on_event = on_event};
	int rc = 0;
	for (int k = 0; k < CLAIMS_KINDS && !rc; k++)
		rc = k8s_informer_start(c->host->api, kinds[k].list, &ops, &c->mirrors[k], &c->informers[k], e);
	return rc;
}

int claims_start(const struct host *h, struct claims **out, struct err *e)
{
	struct claims *c = calloc(1, sizeof(*c));
	if (!c)
		return err_sys(e, ENOMEM, "start claims");
	c->host = h;
	c->waits = json_object();
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &attr);
	pthread_condattr_destroy(&attr);
	for (int k = 0; k < CLAIMS_KINDS; k++)
		c->mirrors[k] = (struct mirror){.claims = c, .kind = (enum claims_kind)k, .items = json_object()};
	int rc = pthread_create(&c->thread, NULL, run, c);
	if (rc) {
		free(c);
		return err_sys(e, rc, "start claims");
	}
	rc = watch(c, e);
	if (rc)
		claims_stop(c);
	else
		*out = c;
	return rc;
}

void claims_stop(struct claims *c)
{
	if (!c)
		return;
	for (int k = 0; k < CLAIMS_KINDS; k++)
		if (c->informers[k])
			k8s_informer_stop(c->informers[k]);
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	for (int k = 0; k < CLAIMS_KINDS; k++)
		json_decref(c->mirrors[k].items);
	json_decref(c->waits);
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
