// SPDX-License-Identifier: Apache-2.0
// The claims of a pod; see pod_claims.h. A disk that is written is in one VM at a time: of two pods that share a
// ReadWriteOnce claim the second waits for the first to end. Disks that all pods read only are shared.
#include "pod_claims.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/jpath.h"
#include "base/own.h"
#include "claims.h"
#include "k8s/client.h"
#include "pod.h"
#include "pods.h"
#include "volume_store.h"

static int api_get(struct pod *p, json_t **out, struct err *e, const char *fmt, const char *a, const char *b)
{
	char path[700];
	if (snprintf(path, sizeof(path), fmt, a, b) >= (int)sizeof(path))
		return err_set(e, ENAMETOOLONG, "name is too long");
	return k8s_client_call(p->host->api, "GET", path, NULL, NULL, 10000, out, e);
}

static bool has_mode(const json_t *modes, const char *mode)
{
	size_t i;
	json_t *m;
	json_array_foreach((json_t *)modes, i, m)
		if (json_is_string(m) && !strcmp(json_string_value(m), mode))
			return true;
	return false;
}

static bool only_reads(const json_t *claim, const json_t *volume)
{
	const json_t *modes = jpath_get(claim, "spec.accessModes");
	return jpath_bool(volume, "persistentVolumeClaim.readOnly", false) ||
	       (json_array_size(modes) == 1 && has_mode(modes, "ReadOnlyMany"));
}

/* Does any container of the pod use the volume as a device, or mount it? One that nobody uses needs no disk, but gets it. */
static int check_use(const struct pod *p, const char *volume, bool block, struct err *e)
{
	static const char *const lists[] = {"spec.initContainers", "spec.containers"};
	for (size_t l = 0; l < 2; l++) {
		size_t i, k;
		json_t *c, *use;
		json_array_foreach(jpath_get(p->seen, lists[l]), i, c) {
			json_array_foreach(json_object_get(c, block ? "volumeMounts" : "volumeDevices"), k, use)
				if (!strcmp(jpath_str(use, "name", ""), volume))
					return err_set(e, EINVAL, block ? "volume %s has volumeMode Block, but is specified in volumeMounts" :
							       "volume %s has volumeMode Filesystem, but is specified in volumeDevices", volume);
		}
	}
	return 0;
}

/* What this kind of volume is on this host. */
static int locate(struct pod *p, const json_t *pv, struct pod_claim *c, struct err *e)
{
	const json_t *csi = jpath_get(pv, "spec.csi");
	const char *name = jpath_str(pv, "metadata.name", "");
	if (!csi || strcmp(jpath_str(csi, "driver", ""), CLAIMS_DRIVER))
		return err_set(e, ENOTSUP, "volume %s is of a kind this host does not offer: claims are served from volumes of the driver %s",
			       name, CLAIMS_DRIVER);
	struct volume_info info;
	const char *id = jpath_str(csi, "volumeHandle", "");
	int rc = volume_get(p->host->volumes, id, &info, e);
	if (rc)
		return err_wrap(e, "volume %s is not on this host", name);
	c->id = strdup(id);
	c->block = info.block;
	return c->id ? 0 : err_sys(e, ENOMEM, "claim");
}

/* "pvc-<uuid>" and the like, as 20 characters that a disk's serial number may have. */
static void make_serial(const char *pv, char out[21])
{
	uint64_t h = 14695981039346656037ull;
	for (const char *c = pv; *c; c++)
		h = (h ^ (unsigned char)*c) * 1099511628211ull;
	snprintf(out, 21, "v-%016llx", (unsigned long long)h);
}

static int resolve_one(struct pod *p, const json_t *volume, const char *claim_name, struct pod_claim *c, struct err *e)
{
	own_json json_t *claim = NULL, *pv = NULL;
	int rc = api_get(p, &claim, e, "/api/v1/namespaces/%s/persistentvolumeclaims/%s", p->ns, claim_name);
	if (rc == -ENOENT)
		return err_set(e, EAGAIN, "persistentvolumeclaim \"%s\" not found", claim_name);
	if (rc)
		return rc;
	const char *pv_name = jpath_str(claim, "spec.volumeName", "");
	if (strcmp(jpath_str(claim, "status.phase", ""), "Bound") || !*pv_name)
		return err_set(e, EAGAIN, "PVC %s/%s is not bound", p->ns, claim_name);
	rc = api_get(p, &pv, e, "/api/v1/persistentvolumes/%s%s", pv_name, "");
	if (rc)
		return rc;
	if (strcmp(jpath_str(pv, "spec.claimRef.uid", ""), jpath_str(claim, "metadata.uid", "")))
		return err_set(e, EINVAL, "PVC %s/%s and PV %s are not bound to each other", p->ns, claim_name, pv_name);
	snprintf(c->volume, sizeof(c->volume), "%s", jpath_str(volume, "name", ""));
	make_serial(pv_name, c->serial);
	c->read_only = only_reads(claim, volume);
	c->pv = strdup(pv_name);
	rc = c->pv ? locate(p, pv, c, e) : err_sys(e, ENOMEM, "claim");
	return rc ? rc : check_use(p, c->volume, c->block, e);
}

/* hostPath of type BlockDevice: a disk of the VM. */
static int resolve_device(const json_t *volume, const char *path, struct pod_claim *c, struct err *e)
{
	struct stat st;
	if (stat(path, &st))
		return err_set(e, EAGAIN, "hostPath type check failed: %s does not exist", path);
	if (!S_ISBLK(st.st_mode))
		return err_set(e, EINVAL, "hostPath type check failed: %s is not a block device", path);
	snprintf(c->volume, sizeof(c->volume), "%s", jpath_str(volume, "name", ""));
	make_serial(c->volume, c->serial);
	c->block = true;
	c->path = strdup(path);
	c->pv = strdup(path);
	return c->path && c->pv ? 0 : err_sys(e, ENOMEM, "device %s", path);
}

static void claims_reset(struct pod_claim *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(list[i].id), free(list[i].path), free(list[i].pv);
	free(list);
}

void pod_claims_free(struct pod *p)
{
	claims_reset(p->claims, p->claims_count);
	p->claims = NULL;
	p->claims_count = 0;
}

const struct pod_claim *pod_claim_find(const struct pod *p, const char *volume)
{
	for (size_t i = 0; i < p->claims_count; i++)
		if (!strcmp(p->claims[i].volume, volume))
			return &p->claims[i];
	return NULL;
}

static const char *claim_of(const struct pod *p, const json_t *volume, char buf[512])
{
	const json_t *source = json_object_get(volume, "persistentVolumeClaim");
	if (source)
		return jpath_str(source, "claimName", "");
	if (!json_object_get(volume, "ephemeral"))
		return NULL;
	snprintf(buf, 512, "%s-%s", p->name, jpath_str(volume, "name", ""));
	return buf;
}

static int resolve_all(struct pod *p, struct pod_claim *list, size_t *count, struct err *e)
{
	char buf[512], user[400];
	size_t i;
	json_t *volume;
	json_array_foreach(jpath_get(p->seen, "spec.volumes"), i, volume) {
		const char *name = claim_of(p, volume, buf);
		const json_t *device = json_object_get(volume, "hostPath");
		if (strcmp(jpath_str(device, "type", ""), "BlockDevice"))
			device = NULL;
		if (!name && !device)
			continue;
		if (*count == POD_CLAIMS_MAX)
			return err_set(e, EINVAL, "a pod can have %d claims and devices at most", POD_CLAIMS_MAX);
		struct pod_claim *c = &list[(*count)++];
		int rc = name ? resolve_one(p, volume, name, c, e) : resolve_device(volume, jpath_str(device, "path", ""), c, e);
		if (rc)
			return err_wrap(e, "MountVolume.SetUp failed for volume \"%s\" ", jpath_str(volume, "name", ""));
		if (c->id && pods_volume_user(p->host->pods, c->id, p->uid, !c->read_only, user, sizeof(user)))
			return err_set(e, EAGAIN, "Multi-Attach error for volume \"%s\" Volume is already used by pod(s) %s: a disk that is "
						  "written is in one virtual machine at a time", c->pv, user);
	}
	return 0;
}

int pod_claims_resolve(struct pod *p, struct err *e)
{
	struct pod_claim *list = calloc(POD_CLAIMS_MAX, sizeof(*list)), *old;
	size_t count = 0;
	if (!list)
		return err_sys(e, ENOMEM, "claims");
	int rc = resolve_all(p, list, &count, e);
	if (rc) {
		claims_reset(list, count);
		return rc == -ECONNREFUSED || rc == -ETIMEDOUT || rc == -EREMOTEIO || rc == -ENOTSUP || rc == -EINVAL || rc == -ENOENT ? -EAGAIN : rc;
	}
	pthread_mutex_lock(&p->lock);
	old = p->claims;
	size_t old_count = p->claims_count;
	p->claims = list;
	p->claims_count = count;
	pthread_mutex_unlock(&p->lock);
	claims_reset(old, old_count);
	return 0;
}

json_t *pod_claims_to_json(const struct pod *p)
{
	json_t *list = json_array();
	for (size_t i = 0; i < p->claims_count; i++) {
		const struct pod_claim *c = &p->claims[i];
		json_array_append_new(list, json_pack("{s:s, s:s, s:s*, s:s*, s:s*, s:b, s:b}", "volume", c->volume, "serial", c->serial, "id",
						      c->id, "path", c->path, "pv", c->pv, "block", c->block, "readOnly", c->read_only));
	}
	return list;
}

static char *text_of(const json_t *j, const char *key)
{
	const char *s = jpath_str(j, key, NULL);
	return s ? strdup(s) : NULL;
}

void pod_claims_from_json(struct pod *p, const json_t *list)
{
	size_t i;
	json_t *j;
	p->claims = calloc(json_array_size(list) + 1, sizeof(*p->claims));
	if (!p->claims)
		return;
	json_array_foreach((json_t *)list, i, j) {
		struct pod_claim *c = &p->claims[p->claims_count++];
		snprintf(c->volume, sizeof(c->volume), "%s", jpath_str(j, "volume", ""));
		snprintf(c->serial, sizeof(c->serial), "%s", jpath_str(j, "serial", ""));
		c->id = text_of(j, "id");
		c->path = text_of(j, "path");
		c->pv = text_of(j, "pv");
		c->block = jpath_bool(j, "block", false);
		c->read_only = jpath_bool(j, "readOnly", false);
	}
}
