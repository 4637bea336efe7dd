// SPDX-License-Identifier: Apache-2.0
// Defaults of pods and pod templates.
#include <string.h>

#include "base/jpath.h"
#include "hooks.h"

void k8s_default(json_t *obj, const char *key, json_t *value)
{
	if (json_object_get(obj, key))
		json_decref(value);
	else
		json_object_set_new(obj, key, value);
}

/* "latest", or no tag and no digest. */
static bool image_is_latest(const char *image)
{
	const char *digest = strchr(image, '@'), *slash = strrchr(image, '/'), *tag = strrchr(slash ? slash : image, ':');
	if (digest) {   // a tag may stand before the digest
		size_t n = (size_t)(digest - image);
		return n > 7 && !strncmp(image + n - 7, ":latest", 7);
	}
	return !tag || !strcmp(tag, ":latest");
}

static void default_http_get(json_t *http)
{
	if (!http)
		return;
	k8s_default(http, "path", json_string("/"));
	k8s_default(http, "scheme", json_string("HTTP"));
}

static void default_probe(json_t *probe)
{
	if (!probe)
		return;
	k8s_default(probe, "timeoutSeconds", json_integer(1));
	k8s_default(probe, "periodSeconds", json_integer(10));
	k8s_default(probe, "successThreshold", json_integer(1));
	k8s_default(probe, "failureThreshold", json_integer(3));
	default_http_get(json_object_get(probe, "httpGet"));
	json_t *grpc = json_object_get(probe, "grpc");
	if (grpc)
		k8s_default(grpc, "service", json_string(""));
}

static void default_field_ref(json_t *holder)
{
	json_t *ref = json_object_get(holder, "fieldRef"), *resource = json_object_get(holder, "resourceFieldRef");
	if (ref)
		k8s_default(ref, "apiVersion", json_string("v1"));
	if (resource)
		k8s_default(resource, "divisor", json_string("0"));
}

static void default_container(json_t *c)
{
	static const char *const probes[] = {"livenessProbe", "readinessProbe", "startupProbe"};
	size_t i;
	json_t *item;
	k8s_default(c, "imagePullPolicy", json_string(image_is_latest(jpath_str(c, "image", "")) ? "Always" : "IfNotPresent"));
	k8s_default(c, "terminationMessagePath", json_string("/dev/termination-log"));
	k8s_default(c, "terminationMessagePolicy", json_string("File"));
	k8s_default(c, "resources", json_object());
	for (size_t p = 0; p < 3; p++)
		default_probe(json_object_get(c, probes[p]));
	default_http_get(jpath_get(c, "lifecycle.postStart.httpGet"));
	default_http_get(jpath_get(c, "lifecycle.preStop.httpGet"));
	json_array_foreach(json_object_get(c, "ports"), i, item)
		k8s_default(item, "protocol", json_string("TCP"));
	json_array_foreach(json_object_get(c, "env"), i, item)
		default_field_ref(json_object_get(item, "valueFrom"));
}

static void default_downward_items(json_t *source)
{
	size_t i;
	json_t *item;
	json_array_foreach(json_object_get(source, "items"), i, item)
		default_field_ref(item);
}

void k8s_default_volume_claim_spec(json_t *spec)
{
	if (spec)
		k8s_default(spec, "volumeMode", json_string("Filesystem"));
}

static void default_volume(json_t *v)
{
	static const char *const with_mode[] = {"secret", "configMap", "downwardAPI", "projected"};
	size_t i;
	json_t *source, *projected = json_object_get(v, "projected"), *path = json_object_get(v, "hostPath");
	if (json_object_size(v) == (json_object_get(v, "name") ? 1u : 0u))
		json_object_set_new(v, "emptyDir", json_object());
	for (size_t m = 0; m < 4; m++)
		if (json_object_get(v, with_mode[m]))
			k8s_default(json_object_get(v, with_mode[m]), "defaultMode", json_integer(0644));
	if (path)
		k8s_default(path, "type", json_string(""));
	default_downward_items(json_object_get(v, "downwardAPI"));
	json_array_foreach(json_object_get(projected, "sources"), i, source) {
		json_t *token = json_object_get(source, "serviceAccountToken");
		if (token)
			k8s_default(token, "expirationSeconds", json_integer(3600));
		default_downward_items(json_object_get(source, "downwardAPI"));
	}
	k8s_default_volume_claim_spec(jpath_get(v, "ephemeral.volumeClaimTemplate.spec"));
}

void k8s_default_pod_spec(json_t *spec)
{
	static const char *const lists[] = {"containers", "initContainers", "ephemeralContainers"};
	size_t i;
	json_t *item, *account;
	if (!json_is_object(spec))
		return;
	k8s_default(spec, "dnsPolicy", json_string("ClusterFirst"));
	k8s_default(spec, "restartPolicy", json_string("Always"));
	k8s_default(spec, "securityContext", json_object());
	k8s_default(spec, "terminationGracePeriodSeconds", json_integer(30));
	k8s_default(spec, "schedulerName", json_string("default-scheduler"));
	if ((account = json_object_get(spec, "serviceAccountName")))
		json_object_set(spec, "serviceAccount", account);   // the old name of the field shows the same
	else if ((account = json_object_get(spec, "serviceAccount")))
		json_object_set(spec, "serviceAccountName", account);
	for (size_t l = 0; l < 3; l++)
		json_array_foreach(json_object_get(spec, lists[l]), i, item)
			default_container(item);
	json_array_foreach(json_object_get(spec, "volumes"), i, item)
		default_volume(item);
}

/* Requests that are not given equal the limits. */
static void default_requests(json_t *container)
{
	json_t *resources = json_object_get(container, "resources"), *limit;
	const char *name;
	if (!json_object_size(json_object_get(resources, "limits")))
		return;
	if (!json_object_get(resources, "requests"))
		json_object_set_new(resources, "requests", json_object());
	json_object_foreach(json_object_get(resources, "limits"), name, limit)
		if (!json_object_get(json_object_get(resources, "requests"), name))
			json_object_set(json_object_get(resources, "requests"), name, limit);
}

static void default_host_ports(json_t *container)
{
	size_t i;
	json_t *port;
	json_array_foreach(json_object_get(container, "ports"), i, port)
		if (json_object_get(port, "containerPort") && !json_object_get(port, "hostPort"))
			json_object_set(port, "hostPort", json_object_get(port, "containerPort"));
}

void k8s_defaults_pod(json_t *pod)
{
	static const char *const lists[] = {"containers", "initContainers"};
	json_t *spec = json_object_get(pod, "spec"), *c;
	bool host_network = jpath_bool(spec, "hostNetwork", false);
	size_t i;
	if (!json_is_object(spec))
		return;
	k8s_default_pod_spec(spec);
	k8s_default(spec, "enableServiceLinks", json_true());
	if (jpath_int(spec, "terminationGracePeriodSeconds", 30) < 0)
		json_object_set_new(spec, "terminationGracePeriodSeconds", json_integer(1));
	for (size_t l = 0; l < 2; l++)
		json_array_foreach(json_object_get(spec, lists[l]), i, c) {
			default_requests(c);
			if (host_network)
				default_host_ports(c);
		}
	k8s_default_pod_resources(spec);
}

void k8s_defaults_podtemplate(json_t *obj)
{
	k8s_default_pod_spec(jpath_get(obj, "template.spec"));
}
