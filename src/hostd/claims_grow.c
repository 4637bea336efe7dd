// SPDX-License-Identifier: Apache-2.0
// Claims that ask for more than their volume has: the disk grows, then the VM that has it open learns of it, then the file
// system in it; a volume that no VM has open gets its file system grown when the next one mounts it.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent_client.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "claims_internal.h"
#include "events.h"
#include "k8s/quantity.h"
#include "pods.h"
#include "vm.h"
#include "volume_store.h"

#define AGENT_TIMEOUT_MS 10000
#define CONNECT_TIMEOUT_MS 5000

static int grow_in_guest(struct vm *vm, const char *serial, uint64_t bytes, struct err *e)
{
	struct agent_client *agent = NULL;
	Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT;
	Bulkhead__Agent__GrowDisk grow = BULKHEAD__AGENT__GROW_DISK__INIT;
	int rc = agent_client_open(vm_vsock_path(vm), CONNECT_TIMEOUT_MS, NULL, NULL, NULL, &agent, NULL, e);
	if (rc)
		return rc;
	grow.serial = (char *)serial;
	grow.bytes = bytes;
	grow.timeout_ms = AGENT_TIMEOUT_MS / 2;
	rq.what_case = BULKHEAD__AGENT__REQUEST__WHAT_GROW_DISK;
	rq.grow_disk = &grow;
	rc = agent_request(agent, &rq, AGENT_TIMEOUT_MS, NULL, e);
	agent_client_close(agent);
	return rc;
}

static int show_volume(struct claims *c, const json_t *pv, const char *size, struct err *e)
{
	if (!strcmp(jpath_str(pv, "spec.capacity.storage", ""), size))
		return 0;
	return claims_patch(c, VOLUME, pv, "", json_pack("{s:{s:{s:s}}}", "spec", "capacity", "storage", size), e);
}

static int show_done(struct claims *c, const json_t *claim, const char *size, struct err *e)
{
	events_emit(c->host->events, claim, NULL, "Normal", "FileSystemResizeSuccessful", "the volume has %s", size);
	return claims_patch(c, CLAIM, claim, "status", json_pack("{s:{s:{s:s}, s:[]}}", "status", "capacity", "storage", size, "conditions"), e);
}

static int show_pending(struct claims *c, const json_t *claim, struct err *e)
{
	size_t i;
	json_t *cond;
	char now[CLOCK_TEXT_MAX];
	json_array_foreach(jpath_get(claim, "status.conditions"), i, cond)
		if (!strcmp(jpath_str(cond, "type", ""), "FileSystemResizePending"))
			return 0;
	clock_text(clock_real_ns(), 0, now);
	events_emit(c->host->events, claim, NULL, "Normal", "FileSystemResizeRequired", "Require file system resize of volume on node");
	return claims_patch(c, CLAIM, claim, "status", json_pack("{s:{s:[{s:s, s:s, s:s, s:s}]}}", "status", "conditions", "type",
		"FileSystemResizePending", "status", "True", "lastTransitionTime", now, "message",
		"Waiting for user to (re-)start a pod to finish file system resize of volume on node."), e);
}

static int resize(struct claims *c, const json_t *claim, const json_t *pv, uint64_t want, struct err *e)
{
	const char *id = jpath_str(pv, "spec.csi.volumeHandle", "");
	struct volume_info info;
	char serial[21], size[K8S_QUANTITY_TEXT_MAX];
	int rc = volume_get(c->host->volumes, id, &info, e);
	if (rc)
		return rc;
	struct vm *vm = pods_volume_vm(c->host->pods, id, serial);
	if (info.size_bytes < want)
		rc = volume_grow(c->host->volumes, id, want, vm != NULL, e);
	if (!rc)
		rc = volume_get(c->host->volumes, id, &info, e);
	k8s_quantity_text((int64_t)info.size_bytes * 1000, 1, size);
	if (!rc)
		rc = show_volume(c, pv, size, e);
	if (!rc && vm) {
		rc = vm_resize(vm, serial, info.size_bytes, e);
		rc = rc == -EALREADY ? 0 : rc;
	}
	if (!rc && vm)
		rc = grow_in_guest(vm, serial, info.size_bytes, e);
	if (!rc)
		rc = vm || info.block ? show_done(c, claim, size, e) : show_pending(c, claim, e);
	if (vm)
		vm_put(vm);
	return rc;
}

int claims_grow(struct claims *c, const json_t *claim, const json_t *pv, struct err *e)
{
	int64_t want = k8s_quantity_value(jpath_get(claim, "spec.resources.requests.storage"), 0);
	int64_t has = k8s_quantity_value(jpath_get(claim, "status.capacity.storage"), 0);
	if (strcmp(jpath_str(claim, "status.phase", ""), "Bound") || want <= has)
		return 0;
	int rc = resize(c, claim, pv, (uint64_t)want, e);
	if (rc)
		events_emit(c->host->events, claim, NULL, "Warning", "VolumeResizeFailed", "resize volume %s: %s",
			    jpath_str(pv, "metadata.name", ""), e->text);
	return rc;
}
