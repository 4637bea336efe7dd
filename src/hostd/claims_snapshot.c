// SPDX-License-Identifier: Apache-2.0
// VolumeSnapshots of volumes on this host. One of a volume that nobody writes is made at once; of one that a VM has open,
// the file system is held still while the volume's own blocks are copied.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent_client.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "claims_internal.h"
#include "events.h"
#include "k8s/client.h"
#include "k8s/quantity.h"
#include "pods.h"
#include "vm.h"
#include "volume_store.h"

#define CONNECT_TIMEOUT_MS 5000
#define FREEZE_MS 60000

void claims_snapshot_id(const json_t *obj, char out[64]) { snprintf(out, 64, "snap-%.50s", jpath_str(obj, "metadata.uid", "")); }

static int freeze(struct agent_client *agent, const char *serial, bool frozen, struct err *e)
{
	Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT;
	Bulkhead__Agent__FreezeDisk f = BULKHEAD__AGENT__FREEZE_DISK__INIT;
	f.serial = (char *)serial;
	f.frozen = frozen;
	f.timeout_ms = FREEZE_MS;
	rq.what_case = BULKHEAD__AGENT__REQUEST__WHAT_FREEZE_DISK;
	rq.freeze_disk = &f;
	return agent_request(agent, &rq, AGENT_ANSWER_MS, NULL, e);
}

static int take_frozen(struct claims *c, struct vm *vm, const char *serial, const char *id, const char *volume, struct err *e)
{
	struct agent_client *agent = NULL;
	int rc = agent_client_open(vm_vsock_path(vm), CONNECT_TIMEOUT_MS, NULL, NULL, NULL, &agent, NULL, e);
	if (rc)
		return rc;
	uint64_t from = clock_mono_ns();
	rc = freeze(agent, serial, true, e);
	if (rc == -ENOENT)
		rc = err_set(e, EBUSY, "volume %s is in use as a block device, which cannot be held still: end its pod first", volume);
	if (!rc) {
		rc = volume_snapshot(c->host->volumes, id, volume, true, e);
		struct err thaw = ERR_INIT;
		if (freeze(agent, serial, false, &thaw))
			log_warn("claims", "volume=%s not thawed: %s", volume, thaw.text);
		/* The guest thaws by itself at its limit: what was copied after that is not one moment. */
		if (!rc && clock_mono_ns() - from > (uint64_t)FREEZE_MS * NS_PER_MS) {
			volume_snapshot_remove(c->host->volumes, id, NULL);
			rc = err_set(e, ETIMEDOUT, "copying volume %s took longer than %d s", volume, FREEZE_MS / 1000);
		}
	}
	agent_client_close(agent);
	return rc;
}

int claims_take(struct claims *c, const char *id, const char *volume, struct err *e)
{
	char serial[21];
	struct vm *vm = pods_volume_vm(c->host->pods, volume, serial);
	if (!vm)
		return volume_snapshot(c->host->volumes, id, volume, false, e);
	int rc = take_frozen(c, vm, serial, id, volume, e);
	vm_put(vm);
	return rc;
}

/* --- VolumeSnapshot --- */

/* The class of a snapshot, if it is ours: *policy what happens to the disk in the end. */
static int find_class(struct claims *c, const json_t *snapshot, char policy[16], bool *ours, struct err *e)
{
	const char *name = jpath_str(snapshot, "spec.volumeSnapshotClassName", "");
	char path[400];
	own_json json_t *all = NULL;
	size_t i;
	json_t *class_;
	*ours = false;
	snprintf(path, sizeof(path), "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses");
	int rc = k8s_client_call(c->host->api, "GET", path, NULL, NULL, 10000, &all, e);
	if (rc)
		return rc;
	json_array_foreach(json_object_get(all, "items"), i, class_) {
		bool is_default = !strcmp(claims_annotation(class_, "snapshot.storage.kubernetes.io/is-default-class"), "true");
		if (strcmp(jpath_str(class_, "driver", ""), CLAIMS_DRIVER) ||
		    (*name ? strcmp(name, jpath_str(class_, "metadata.name", "")) : !is_default))
			continue;
		snprintf(policy, 16, "%s", jpath_str(class_, "deletionPolicy", "Delete"));
		*ours = true;
	}
	return 0;
}

static json_t *content_object(const struct claims *c, const char *name, const char *volume, const char *mode, const char *policy,
			      const json_t *snapshot)
{
	return json_pack("{s:s, s:s, s:{s:s, s:{s:s}, s:[s]}, s:{s:s, s:s, s:s, s:{s:s}, s:s*, s:{s:s, s:s, s:s, s:s, s:s}}}",
			 "apiVersion", "snapshot.storage.k8s.io/v1", "kind", "VolumeSnapshotContent",
			 "metadata", "name", name, "annotations", CLAIMS_NODE_KEY, c->host->node_name, "finalizers", CLAIMS_CONTENT_FINALIZER,
			 "spec", "driver", CLAIMS_DRIVER, "deletionPolicy", policy, "sourceVolumeMode", mode, "source", "volumeHandle", volume,
			 "volumeSnapshotClassName", jpath_str(snapshot, "spec.volumeSnapshotClassName", NULL),
			 "volumeSnapshotRef", "apiVersion", "snapshot.storage.k8s.io/v1", "kind", "VolumeSnapshot", "namespace",
			 jpath_str(snapshot, "metadata.namespace", ""), "name", jpath_str(snapshot, "metadata.name", ""), "uid",
			 jpath_str(snapshot, "metadata.uid", ""));
}

/* What the API shall say of a snapshot that is on disk. */
static int publish(struct claims *c, const json_t *snapshot, const char *id, const char *volume, const char *policy, struct err *e)
{
	char name[80], handle[400], size[K8S_QUANTITY_TEXT_MAX], now[CLOCK_TEXT_MAX];
	struct volume_info info;
	uint64_t at = clock_real_ns();
	int rc = volume_snapshot_get(c->host->volumes, id, &info, e);
	if (rc)
		return rc;
	snprintf(name, sizeof(name), "snapcontent-%.50s", jpath_str(snapshot, "metadata.uid", ""));
	snprintf(handle, sizeof(handle), "%s/%s", c->host->node_name, id);
	own_json json_t *content = content_object(c, name, volume, info.block ? "Block" : "Filesystem", policy, snapshot);
	rc = k8s_client_call(c->host->api, "POST", "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents", NULL, content, 10000, NULL, e);
	if (rc && rc != -EEXIST)
		return rc;
	rc = claims_patch(c, CONTENT, content, "status", json_pack("{s:{s:s, s:b, s:I, s:I}}", "status", "snapshotHandle", handle, "readyToUse",
		1, "restoreSize", (json_int_t)info.size_bytes, "creationTime", (json_int_t)at), e);
	if (rc)
		return rc;
	k8s_quantity_text((int64_t)info.size_bytes * 1000, 1, size);
	clock_text(at, 0, now);
	return claims_patch(c, SNAPSHOT, snapshot, "status", json_pack("{s:{s:s, s:b, s:s, s:s, s:n}}", "status",
		"boundVolumeSnapshotContentName", name, "readyToUse", 1, "restoreSize", size, "creationTime", now, "error"), e);
}

static json_t *volume_of(struct claims *c, const json_t *snapshot)
{
	char key[600];
	own_json json_t *claims = claims_items(c, CLAIM), *pvs = claims_items(c, VOLUME);
	snprintf(key, sizeof(key), "%s/%s", jpath_str(snapshot, "metadata.namespace", ""),
		 jpath_str(snapshot, "spec.source.persistentVolumeClaimName", ""));
	const json_t *claim = json_object_get(claims, key);
	if (strcmp(jpath_str(claim, "status.phase", ""), "Bound"))
		return NULL;
	snprintf(key, sizeof(key), "/%s", jpath_str(claim, "spec.volumeName", ""));
	return json_incref(json_object_get(pvs, key));
}

static int take_snapshot(struct claims *c, const json_t *snapshot, const json_t *pv, struct err *e)
{
	const char *volume = jpath_str(pv, "spec.csi.volumeHandle", "");
	char id[64], policy[16];
	bool ours;
	int rc = find_class(c, snapshot, policy, &ours, e);
	if (rc || !ours)
		return rc;
	if (!claims_has_finalizer(snapshot, CLAIMS_SNAPSHOT_FINALIZER))   // the change brings us here again
		return claims_patch(c, SNAPSHOT, snapshot, "", json_pack("{s:{s:[s], s:{s:s}}}", "metadata", "finalizers",
			CLAIMS_SNAPSHOT_FINALIZER, "annotations", CLAIMS_NODE_KEY, c->host->node_name), e);
	claims_snapshot_id(snapshot, id);
	rc = claims_take(c, id, volume, e);
	if (!rc)
		rc = publish(c, snapshot, id, volume, policy, e);
	if (!rc)
		events_emit(c->host->events, snapshot, NULL, "Normal", "SnapshotReady", "Snapshot %s/%s is ready to use.",
			    jpath_str(snapshot, "metadata.namespace", ""), jpath_str(snapshot, "metadata.name", ""));
	else
		events_emit(c->host->events, snapshot, NULL, "Warning", "SnapshotCreationFailed", "%s", e->text);
	return rc;
}

/* Its content goes first, and with it the disk, if its policy is Delete. */
static int let_go(struct claims *c, const json_t *snapshot, struct err *e)
{
	const char *name = jpath_str(snapshot, "status.boundVolumeSnapshotContentName", "");
	char key[300], path[700], id[64];
	own_json json_t *contents = claims_items(c, CONTENT);
	int rc = 0;
	snprintf(key, sizeof(key), "/%s", name);
	const json_t *content = json_object_get(contents, key);
	if (content && !strcmp(jpath_str(content, "spec.deletionPolicy", ""), "Delete")) {
		if (!jpath_get(content, "metadata.deletionTimestamp"))
			rc = k8s_client_call(c->host->api, "DELETE", claims_path(CONTENT, content, "", path), NULL, NULL, 10000, NULL, e);
		return rc == -ENOENT ? 0 : rc;   // the rest when it is gone
	}
	claims_snapshot_id(snapshot, id);
	if (!content)
		rc = volume_snapshot_remove(c->host->volumes, id, e);   // taken, but never published
	return rc ? rc : claims_drop_finalizer(c, SNAPSHOT, snapshot, CLAIMS_SNAPSHOT_FINALIZER, e);
}

int claims_snapshot(struct claims *c, const json_t *snapshot, struct err *e)
{
	bool here = !strcmp(claims_annotation(snapshot, CLAIMS_NODE_KEY), c->host->node_name);
	if (jpath_get(snapshot, "metadata.deletionTimestamp"))
		return here && claims_has_finalizer(snapshot, CLAIMS_SNAPSHOT_FINALIZER) ? let_go(c, snapshot, e) : 0;
	if (jpath_bool(snapshot, "status.readyToUse", false))
		return 0;
	own_json json_t *pv = volume_of(c, snapshot);
	return pv && claims_volume_is_ours(c, pv) ? take_snapshot(c, snapshot, pv, e) : 0;
}

int claims_content(struct claims *c, const json_t *content, struct err *e)
{
	const char *handle = jpath_str(content, "status.snapshotHandle", ""), *slash = strchr(handle, '/');
	if (strcmp(claims_annotation(content, CLAIMS_NODE_KEY), c->host->node_name) || !jpath_get(content, "metadata.deletionTimestamp") ||
	    !claims_has_finalizer(content, CLAIMS_CONTENT_FINALIZER))
		return 0;
	int rc = slash && !strcmp(jpath_str(content, "spec.deletionPolicy", ""), "Delete") ?
		 volume_snapshot_remove(c->host->volumes, slash + 1, e) : 0;
	return rc ? rc : claims_drop_finalizer(c, CONTENT, content, CLAIMS_CONTENT_FINALIZER, e);
}
