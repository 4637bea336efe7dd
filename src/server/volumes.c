// SPDX-License-Identifier: Apache-2.0
#include "server/volumes.h"

#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/quantity.h"
#include "k8s/selector.h"
#include "server/meta.h"
#include "server/registry.h"

const struct k8s_kind *volume_kind(void) { return k8s_kind_find("", "v1", "persistentvolumes"); }
const struct k8s_kind *volume_claim_kind(void) { return k8s_kind_find("", "v1", "persistentvolumeclaims"); }

static json_t *load(struct server *srv, const struct k8s_kind *k, const char *ns, const char *name)
{
	char key[REG_KEY_MAX];
	own_obj struct obj *o = *name ? store_get(srv->store, reg_key(k, ns, name, key)) : NULL;

	return o ? obj_json(o) : NULL;
}

json_t *volume_claim_load(struct server *srv, const char *ns, const char *name) { return load(srv, volume_claim_kind(), ns, name); }
json_t *volume_load(struct server *srv, const char *name) { return load(srv, volume_kind(), "", name); }

json_t *volume_class_load(struct server *srv, const char *name)
{
	return load(srv, k8s_kind_find("storage.k8s.io", "v1", "storageclasses"), "", name);
}

const char *volume_annotation(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(jpath_get(obj, "metadata.annotations"), key));

	return s ? s : "";
}

json_t *volume_class_default(struct server *srv)
{
	json_t *found = NULL;
	char prefix[REG_KEY_MAX];
	struct store_list l;

	if (store_list(srv->store, reg_prefix(k8s_kind_find("storage.k8s.io", "v1", "storageclasses"), NULL, prefix), NULL, 0, 0, &l))
		return NULL;
	for (size_t i = 0; i < l.count; i++) {
		json_t *j = obj_json(l.objs[i]);
		bool is_default = !strcmp(volume_annotation(j, "storageclass.kubernetes.io/is-default-class"), "true") && !meta_is_deleting(j);
		if (is_default && strcmp(jpath_str(j, "metadata.creationTimestamp", ""), jpath_str(found, "metadata.creationTimestamp", "")) > 0) {
			json_decref(found);
			found = j;
		} else {
			json_decref(j);
		}
	}
	store_list_fini(&l);
	return found;
}

const char *volume_class_name(const json_t *claim)
{
	const char *beta = volume_annotation(claim, "volume.beta.kubernetes.io/storage-class");

	return *beta ? beta : jpath_str(claim, "spec.storageClassName", "");
}

bool volume_class_waits(const json_t *class_)
{
	return !strcmp(jpath_str(class_, "volumeBindingMode", "Immediate"), "WaitForFirstConsumer");
}

bool volume_is_provisioned(const json_t *class_)
{
	const char *p = jpath_str(class_, "provisioner", "");

	return *p && strcmp(p, "kubernetes.io/no-provisioner");
}

bool volume_is_for(const json_t *volume, const json_t *claim)
{
	const json_t *ref = jpath_get(volume, "spec.claimRef");
	const char *uid = jpath_str(ref, "uid", "");

	return ref && !strcmp(jpath_str(ref, "name", ""), jpath_str(claim, "metadata.name", "")) &&
	       !strcmp(jpath_str(ref, "namespace", ""), jpath_str(claim, "metadata.namespace", "")) &&
	       (!*uid || !strcmp(uid, jpath_str(claim, "metadata.uid", "")));
}

bool volume_is_bound(const json_t *volume, const json_t *claim)
{
	return volume_is_for(volume, claim) && !strcmp(jpath_str(claim, "spec.volumeName", ""), jpath_str(volume, "metadata.name", ""));
}

bool volume_claim_is_bound(const json_t *claim)
{
	return *jpath_str(claim, "spec.volumeName", "") && !strcmp(jpath_str(claim, "status.phase", ""), "Bound");
}

/* Every one of these words among those. */
static bool has_all(const json_t *these, const json_t *those)
{
	size_t i, k;
	json_t *a, *b;

	json_array_foreach((json_t *)these, i, a) {
		bool found = false;
		json_array_foreach((json_t *)those, k, b)
			found |= json_equal(a, b);
		if (!found)
			return false;
	}
	return true;
}

static bool selected(const json_t *volume, const json_t *claim)
{
	const json_t *selector = jpath_get(claim, "spec.selector");
	struct k8s_selector *s = NULL;
	bool yes;

	if (!selector)
		return true;
	if (k8s_label_selector_from_json(selector, &s, NULL))
		return false;
	yes = k8s_label_selector_match(s, jpath_get(volume, "metadata.labels"));
	k8s_selector_free(s);
	return yes;
}

bool volume_satisfies(const json_t *volume, const json_t *claim)
{
	const char *phase = jpath_str(volume, "status.phase", "Pending");

	if (meta_is_deleting(volume) || !strcmp(phase, "Released") || !strcmp(phase, "Failed"))
		return false;
	if (jpath_get(volume, "spec.claimRef") && !volume_is_for(volume, claim))
		return false;
	return !strcmp(jpath_str(volume, "spec.storageClassName", ""), volume_class_name(claim)) &&
	       !strcmp(jpath_str(volume, "spec.volumeMode", "Filesystem"), jpath_str(claim, "spec.volumeMode", "Filesystem")) &&
	       has_all(jpath_get(claim, "spec.accessModes"), jpath_get(volume, "spec.accessModes")) &&
	       k8s_quantity_value(jpath_get(volume, "spec.capacity.storage"), 0) >=
		       k8s_quantity_value(jpath_get(claim, "spec.resources.requests.storage"), 0) &&
	       selected(volume, claim);
}

const char *volume_node(const json_t *volume)
{
	const json_t *terms = jpath_get(volume, "spec.nodeAffinity.required.nodeSelectorTerms");
	const json_t *first = json_array_get(json_object_get(json_array_get(terms, 0), "matchExpressions"), 0);
	const json_t *values = json_object_get(first, "values");

	if (json_array_size(terms) != 1 || json_array_size(values) != 1 || strcmp(jpath_str(first, "key", ""), "kubernetes.io/hostname"))
		return "";
	return jpath_str(json_array_get(values, 0), "", "");
}

void volume_source_node(struct server *srv, const json_t *claim, char node[256])
{
	const json_t *source = jpath_get(claim, "spec.dataSource");
	const char *kind = jpath_str(source, "kind", ""), *name = jpath_str(source, "name", ""), *slash;
	const char *ns = jpath_str(claim, "metadata.namespace", "");
	own_json json_t *from = NULL, *snapshot = NULL, *content = NULL, *volume = NULL;

	*node = '\0';
	if (!strcmp(kind, "PersistentVolumeClaim")) {
		from = volume_claim_load(srv, ns, name);
		volume = volume_load(srv, jpath_str(from, "spec.volumeName", ""));
		snprintf(node, 256, "%s", volume_node(volume));
	} else if (!strcmp(kind, "VolumeSnapshot")) {
		snapshot = load(srv, k8s_kind_find("snapshot.storage.k8s.io", "v1", "volumesnapshots"), ns, name);
		content = load(srv, k8s_kind_find("snapshot.storage.k8s.io", "v1", "volumesnapshotcontents"), "",
			       jpath_str(snapshot, "status.boundVolumeSnapshotContentName", ""));
		name = jpath_str(content, "status.snapshotHandle", "");   // "NODE/ID"
		slash = strchr(name, '/');
		if (slash)
			snprintf(node, 256, "%.*s", (int)(slash - name), name);
	}
}

const char *volume_pod_claim(const json_t *pod, const json_t *pod_volume, char buf[512])
{
	const json_t *claim = json_object_get(pod_volume, "persistentVolumeClaim");

	if (claim)
		return jpath_str(claim, "claimName", "");
	if (!json_object_get(pod_volume, "ephemeral"))
		return NULL;
	snprintf(buf, 512, "%s-%s", jpath_str(pod, "metadata.name", ""), jpath_str(pod_volume, "name", ""));
	return buf;
}

bool volume_pod_is_over(const json_t *pod)
{
	const char *phase = jpath_str(pod, "status.phase", "");

	return !strcmp(phase, "Succeeded") || !strcmp(phase, "Failed");
}
