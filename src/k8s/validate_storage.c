// SPDX-License-Identifier: Apache-2.0
// Validation of persistent volumes, claims, storage classes, attachments.
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "hooks.h"
#include "name_rules.h"
#include "quantity.h"
#include "validate.h"

static bool same(const json_t *a, const json_t *b)
{
	return a == b || (a && b && json_equal(a, b));
}

void k8s_validate_persistentvolumeclaim(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	const json_t *spec = json_object_get(obj, "spec"), *before = json_object_get(old, "spec");
	const struct k8s_path *path = PATH_ROOT("spec"), *requests = PATH(PATH(path, "resources"), "requests");
	k8s_validate_volume_claim_spec(path, spec, e);
	if (!old)
		return;
	own_json json_t *copy = json_deep_copy(spec);
	const char *volume = jpath_str(before, "volumeName", "");
	json_t *size = jpath_get(spec, "resources.requests.storage"), *old_size = jpath_get(before, "resources.requests.storage");
	bool bound = !strcmp(jpath_str(old, "status.phase", ""), "Bound");
	if (!*volume && json_object_get(copy, "volumeName"))
		json_object_del(copy, "volumeName");            // binding sets it once
	if (!json_object_get(before, "storageClassName") && json_object_get(copy, "storageClassName"))
		json_object_del(copy, "storageClassName");      // the default class may be filled in later
	if (bound && old_size && json_object_get(json_object_get(copy, "resources"), "requests"))
		json_object_set(jpath_get(copy, "resources.requests"), "storage", old_size);
	if (!same(copy, before))
		k8s_forbidden(e, path, "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
			      "claims");
	else if (bound && size && old_size && k8s_quantity_milli(size, 0) < k8s_quantity_milli(old_size, 0))
		k8s_forbidden(e, PATH_KEY(requests, "storage"), "field can not be less than status.capacity");
}

static void check_volume_source(const struct k8s_path *path, const json_t *spec, struct k8s_errors *e)
{
	static const char *const sources[] = {"hostPath", "local", "nfs", "csi", "iscsi", "rbd", "cephfs", "cinder", "fc", "flexVolume",
		"flocker", "glusterfs", "quobyte", "azureFile", "azureDisk", "awsElasticBlockStore", "gcePersistentDisk", "vsphereVolume",
		"photonPersistentDisk", "portworxVolume", "scaleIO", "storageos"};
	static const char *const needs[][2] = {{"hostPath", "path"}, {"local", "path"}, {"nfs", "server"}, {"nfs", "path"}, {"csi", "driver"},
		{"csi", "volumeHandle"}};
	size_t found = 0;
	for (size_t i = 0; i < sizeof(sources) / sizeof(*sources); i++)
		if (json_object_get(spec, sources[i]) && found++)
			k8s_forbidden(e, PATH(path, sources[i]), "may not specify more than 1 volume type");
	if (!found)
		k8s_required(e, path, "must specify a volume type");
	for (size_t i = 0; i < sizeof(needs) / sizeof(*needs); i++) {
		const json_t *source = json_object_get(spec, needs[i][0]);
		if (source && !*jpath_str(source, needs[i][1], ""))
			k8s_required(e, PATH(PATH(path, needs[i][0]), needs[i][1]), NULL);
	}
	if (json_object_get(spec, "local") && !json_object_get(spec, "nodeAffinity"))
		k8s_required(e, PATH(path, "nodeAffinity"), "Local volume requires node affinity");
}

void k8s_validate_persistentvolume(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	static const char *const modes[] = {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod", NULL};
	static const char *const policies[] = {"Delete", "Recycle", "Retain", NULL};
	static const char *const volume_modes[] = {"Block", "Filesystem", NULL};
	static const char *const sources[] = {"hostPath", "local", "nfs", "csi", "iscsi"};
	const json_t *spec = json_object_get(obj, "spec"), *access = json_object_get(spec, "accessModes");
	const json_t *size = jpath_get(spec, "capacity.storage"), *nodes = jpath_get(spec, "nodeAffinity.required");
	const struct k8s_path *path = PATH_ROOT("spec");
	size_t i;
	json_t *mode;
	if (json_array_size(access) == 0)
		k8s_required(e, PATH(path, "accessModes"), NULL);
	json_array_foreach(access, i, mode)
		k8s_check_enum(e, PATH(path, "accessModes"), jpath_str(mode, "", ""), modes, true);
	if (!json_object_size(json_object_get(spec, "capacity")))
		k8s_required(e, PATH(path, "capacity"), NULL);
	else if (!size)
		k8s_required(e, PATH_KEY(PATH(path, "capacity"), "storage"), NULL);
	else if (k8s_quantity_milli(size, 0) <= 0)
		k8s_invalid(e, PATH_KEY(PATH(path, "capacity"), "storage"), size, "must be greater than zero");
	k8s_check_enum(e, PATH(path, "persistentVolumeReclaimPolicy"), jpath_str(spec, "persistentVolumeReclaimPolicy", ""), policies, false);
	k8s_check_enum(e, PATH(path, "volumeMode"), jpath_str(spec, "volumeMode", ""), volume_modes, false);
	if (nodes)
		k8s_validate_node_selector(PATH(PATH(path, "nodeAffinity"), "required"), nodes, e);
	check_volume_source(path, spec, e);
	for (i = 0; old && i < 5; i++)
		if (!same(json_object_get(spec, sources[i]), jpath_get(json_object_get(old, "spec"), sources[i]))) {
			k8s_forbidden(e, PATH(path, "persistentvolumesource"), "spec.persistentvolumesource is immutable after creation");
			break;
		}
	if (old)
		k8s_check_immutable(e, PATH(path, "volumeMode"), json_object_get(spec, "volumeMode"), jpath_get(old, "spec.volumeMode"));
}

void k8s_validate_storageclass(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	static const char *const reclaims[] = {"Delete", "Retain", NULL};
	static const char *const bindings[] = {"Immediate", "WaitForFirstConsumer", NULL};
	static const char *const fixed[] = {"parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"};
	const char *provisioner = jpath_str(obj, "provisioner", "");
	if (!*provisioner)
		k8s_required(e, PATH_ROOT("provisioner"), NULL);
	else
		k8s_check_rule(e, PATH_ROOT("provisioner"), provisioner, k8s_check_qualified_name);
	k8s_check_enum(e, PATH_ROOT("reclaimPolicy"), jpath_str(obj, "reclaimPolicy", ""), reclaims, true);
	k8s_check_enum(e, PATH_ROOT("volumeBindingMode"), jpath_str(obj, "volumeBindingMode", ""), bindings, true);
	for (size_t i = 0; old && i < 4; i++)
		if (!same(json_object_get(obj, fixed[i]), json_object_get(old, fixed[i])))
			k8s_forbidden(e, PATH_ROOT(fixed[i]), "updates to %s are forbidden.", fixed[i]);
}

/* Exactly one of two ways to say where it comes from, for good. */
static void check_snapshot_source(const json_t *obj, const json_t *old, const char *one, const char *other, struct k8s_errors *e)
{
	const struct k8s_path *path = PATH(PATH_ROOT("spec"), "source");
	const json_t *source = jpath_get(obj, "spec.source");
	bool first = *jpath_str(source, one, ""), second = *jpath_str(source, other, "");
	if (first && second)
		k8s_forbidden(e, path, "may not specify both %s and %s", one, other);
	if (!first && !second)
		k8s_required(e, path, "must specify exactly one of the two sources");
	if (old)
		k8s_check_immutable(e, path, source, jpath_get(old, "spec.source"));
}

static void check_deletion_policy(const struct k8s_path *path, const char *policy, struct k8s_errors *e)
{
	static const char *const policies[] = {"Delete", "Retain", NULL};
	k8s_check_enum(e, path, policy, policies, true);
}

void k8s_validate_volumesnapshot(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	check_snapshot_source(obj, old, "persistentVolumeClaimName", "volumeSnapshotContentName", e);
}

void k8s_validate_volumesnapshotclass(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	(void)old;
	check_deletion_policy(PATH_ROOT("deletionPolicy"), jpath_str(obj, "deletionPolicy", ""), e);
	if (!*jpath_str(obj, "driver", ""))
		k8s_required(e, PATH_ROOT("driver"), NULL);
}

void k8s_validate_volumesnapshotcontent(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	const struct k8s_path *path = PATH_ROOT("spec");
	check_snapshot_source(obj, old, "volumeHandle", "snapshotHandle", e);
	check_deletion_policy(PATH(path, "deletionPolicy"), jpath_str(obj, "spec.deletionPolicy", ""), e);
	if (!*jpath_str(obj, "spec.driver", ""))
		k8s_required(e, PATH(path, "driver"), NULL);
	if (!*jpath_str(obj, "spec.volumeSnapshotRef.name", "") || !*jpath_str(obj, "spec.volumeSnapshotRef.namespace", ""))
		k8s_required(e, PATH(path, "volumeSnapshotRef"), "name and namespace of the VolumeSnapshot are needed");
}

void k8s_validate_volumeattachment(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	const struct k8s_path *path = PATH_ROOT("spec");
	const json_t *source = jpath_get(obj, "spec.source");
	if (!*jpath_str(obj, "spec.attacher", ""))
		k8s_required(e, PATH(path, "attacher"), NULL);
	if (!json_object_get(source, "persistentVolumeName") && !json_object_get(source, "inlineVolumeSpec"))
		k8s_required(e, PATH(path, "source"), "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
	if (!*jpath_str(obj, "spec.nodeName", ""))
		k8s_required(e, PATH(path, "nodeName"), NULL);
	if (old)
		k8s_check_immutable(e, path, json_object_get(obj, "spec"), json_object_get(old, "spec"));
}
