// SPDX-License-Identifier: Apache-2.0
// Defaults and preparation of the core group besides pods.
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "base64.h"
#include "hooks.h"

void k8s_drop_status(json_t *obj)
{
	json_object_del(obj, "status");
}

/* ---- Namespace ---- */

void k8s_defaults_namespace(json_t *ns)
{
	json_t *meta = json_object_get(ns, "metadata");
	const char *name = jpath_str(meta, "name", NULL);
	if (!name || !json_is_object(meta))
		return;
	if (!json_is_object(json_object_get(meta, "labels")))
		json_object_set_new(meta, "labels", json_object());
	json_object_set_new(json_object_get(meta, "labels"), "kubernetes.io/metadata.name", json_string(name));
}

void k8s_create_namespace(json_t *ns)
{
	if (!json_is_object(json_object_get(ns, "spec")))
		json_object_set_new(ns, "spec", json_object());
	json_t *finalizers = jpath_get(ns, "spec.finalizers"), *f;
	size_t i;
	bool there = false;
	if (!finalizers) {
		finalizers = json_array();
		json_object_set_new(json_object_get(ns, "spec"), "finalizers", finalizers);
	}
	json_array_foreach(finalizers, i, f)
		there |= !strcmp(jpath_str(f, "", ""), "kubernetes");
	if (!there)
		json_array_append_new(finalizers, json_string("kubernetes"));
	json_object_set_new(ns, "status", json_pack("{s:s}", "phase", "Active"));
}

/* Finalizers of the spec go only through /finalize. */
void k8s_update_namespace(json_t *ns, const json_t *old)
{
	json_t *spec = json_object_get(old, "spec");
	if (spec)
		json_object_set(ns, "spec", spec);
}

/* ---- Secret ---- */

/* stringData is a convenience for writing: it ends up in data. */
void k8s_defaults_secret(json_t *secret)
{
	json_t *plain = json_object_get(secret, "stringData"), *value;
	const char *key;
	k8s_default(secret, "type", json_string("Opaque"));
	if (!plain)
		return;
	if (!json_object_get(secret, "data"))
		json_object_set_new(secret, "data", json_object());
	json_object_foreach(plain, key, value) {
		own_free char *text = base64_encode(json_string_value(value), json_string_length(value));
		if (text)
			json_object_set_new(json_object_get(secret, "data"), key, json_string(text));
	}
	json_object_del(secret, "stringData");
}

/* ---- Service ---- */

void k8s_defaults_service(json_t *svc)
{
	json_t *spec = json_object_get(svc, "spec"), *p;
	size_t i;
	if (!json_is_object(spec))
		return;
	k8s_default(spec, "sessionAffinity", json_string("None"));
	k8s_default(spec, "type", json_string("ClusterIP"));
	const char *type = jpath_str(spec, "type", "");
	bool external = !strcmp(type, "ExternalName"), balancer = !strcmp(type, "LoadBalancer");
	if (!strcmp(jpath_str(spec, "sessionAffinity", ""), "ClientIP") && !jpath_get(spec, "sessionAffinityConfig.clientIP"))
		json_object_set_new(spec, "sessionAffinityConfig", json_pack("{s:{s:i}}", "clientIP", "timeoutSeconds", 10800));
	if (!strcmp(jpath_str(spec, "sessionAffinity", ""), "None"))
		json_object_del(spec, "sessionAffinityConfig");
	json_array_foreach(json_object_get(spec, "ports"), i, p) {
		json_t *target = json_object_get(p, "targetPort");
		k8s_default(p, "protocol", json_string("TCP"));
		bool unset = !target || (json_is_integer(target) && !json_integer_value(target)) ||
			     (json_is_string(target) && !json_string_length(target));
		if (unset && json_object_get(p, "port"))
			json_object_set(p, "targetPort", json_object_get(p, "port"));
	}
	if (!external)
		k8s_default(spec, "internalTrafficPolicy", json_string("Cluster"));
	if (balancer || !strcmp(type, "NodePort"))
		k8s_default(spec, "externalTrafficPolicy", json_string("Cluster"));
	if (balancer)
		k8s_default(spec, "allocateLoadBalancerNodePorts", json_true());
}

/* ---- Endpoints ---- */

void k8s_defaults_endpoints(json_t *ep)
{
	size_t s, p;
	json_t *subset, *port;
	json_array_foreach(json_object_get(ep, "subsets"), s, subset)
		json_array_foreach(json_object_get(subset, "ports"), p, port)
			k8s_default(port, "protocol", json_string("TCP"));
}
