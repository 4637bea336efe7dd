// SPDX-License-Identifier: Apache-2.0
// Defaults and preparation of storage, network, access and the other small groups.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "hooks.h"

static json_t *object_at(json_t *obj, const char *key)
{
	if (!json_is_object(json_object_get(obj, key)))
		json_object_set_new(obj, key, json_object());
	return json_object_get(obj, key);
}

/* ---- storage ---- */

void k8s_defaults_persistentvolumeclaim(json_t *obj)
{
	k8s_default_volume_claim_spec(json_object_get(obj, "spec"));
	k8s_default(object_at(obj, "status"), "phase", json_string("Pending"));
}

void k8s_create_persistentvolumeclaim(json_t *obj)
{
	json_object_set_new(obj, "status", json_pack("{s:s}", "phase", "Pending"));
}

void k8s_defaults_persistentvolume(json_t *obj)
{
	json_t *spec = json_object_get(obj, "spec"), *path = jpath_get(spec, "hostPath");
	if (!json_is_object(spec))
		return;
	k8s_default(spec, "persistentVolumeReclaimPolicy", json_string("Retain"));
	k8s_default(spec, "volumeMode", json_string("Filesystem"));
	if (path)
		k8s_default(path, "type", json_string(""));
	k8s_default(object_at(obj, "status"), "phase", json_string("Pending"));
}

void k8s_defaults_storageclass(json_t *obj)
{
	k8s_default(obj, "reclaimPolicy", json_string("Delete"));
	k8s_default(obj, "volumeBindingMode", json_string("Immediate"));
}

void k8s_defaults_csidriver(json_t *obj)
{
	json_t *spec = object_at(obj, "spec");
	k8s_default(spec, "attachRequired", json_true());
	k8s_default(spec, "podInfoOnMount", json_false());
	k8s_default(spec, "storageCapacity", json_false());
	k8s_default(spec, "fsGroupPolicy", json_string("ReadWriteOnceWithFSType"));
	k8s_default(spec, "requiresRepublish", json_false());
	k8s_default(spec, "volumeLifecycleModes", json_pack("[s]", "Persistent"));
	k8s_default(spec, "seLinuxMount", json_false());
}

/* ---- network ---- */

void k8s_defaults_networkpolicy(json_t *obj)
{
	static const char *const directions[] = {"ingress", "egress"};
	json_t *spec = json_object_get(obj, "spec"), *rule, *port;
	size_t r, p;
	if (!json_is_object(spec))
		return;
	if (!json_object_get(spec, "policyTypes")) {
		json_object_set_new(spec, "policyTypes", json_pack("[s]", "Ingress"));
		if (json_array_size(json_object_get(spec, "egress")))
			json_array_append_new(json_object_get(spec, "policyTypes"), json_string("Egress"));
	}
	for (int d = 0; d < 2; d++)
		json_array_foreach(json_object_get(spec, directions[d]), r, rule)
			json_array_foreach(json_object_get(rule, "ports"), p, port)
				k8s_default(port, "protocol", json_string("TCP"));
}

void k8s_defaults_ingressclass(json_t *obj)
{
	json_t *parameters = jpath_get(obj, "spec.parameters");
	if (parameters)
		k8s_default(parameters, "scope", json_string("Cluster"));
}

void k8s_defaults_endpointslice(json_t *obj)
{
	size_t i;
	json_t *port;
	json_array_foreach(json_object_get(obj, "ports"), i, port) {
		k8s_default(port, "name", json_string(""));
		k8s_default(port, "protocol", json_string("TCP"));
	}
}

/* ---- access ---- */

void k8s_defaults_rolebinding(json_t *obj)
{
	static const char group[] = "rbac.authorization.k8s.io";
	json_t *role = json_object_get(obj, "roleRef"), *subject;
	size_t i;
	if (json_is_object(role))
		k8s_default(role, "apiGroup", json_string(group));
	json_array_foreach(json_object_get(obj, "subjects"), i, subject)
		if (strcmp(jpath_str(subject, "kind", ""), "ServiceAccount"))
			k8s_default(subject, "apiGroup", json_string(group));
}

void k8s_defaults_priorityclass(json_t *obj)
{
	k8s_default(obj, "preemptionPolicy", json_string("PreemptLowerPriority"));
}

/* ---- CustomResourceDefinition ---- */

void k8s_defaults_crd(json_t *obj)
{
	json_t *spec = json_object_get(obj, "spec"), *names = json_object_get(spec, "names");
	const char *kind = jpath_str(names, "kind", NULL);
	if (!json_is_object(spec))
		return;
	k8s_default(object_at(spec, "conversion"), "strategy", json_string("None"));
	if (!kind || !json_is_object(names))
		return;
	char *singular = strdup(kind);
	for (char *c = singular; c && *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (singular)
		k8s_default(names, "singular", json_string(singular));
	free(singular);
	k8s_default(names, "listKind", json_sprintf("%sList", kind));
}
