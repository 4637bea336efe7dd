// SPDX-License-Identifier: Apache-2.0
// Static pods' files; see static_manifest.h. Such a pod must run without an API server, so it may name nothing that only
// the API has.
#include "static_manifest.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/kind.h"
#include "k8s/pod_refs.h"
#include "k8s/schema.h"
#include "k8s/yaml_json.h"

#define CRITICAL_CLUSTER 2000000000
#define CRITICAL_NODE 2000001000

const char *static_annotation(const json_t *pod, const char *key)
{
	const char *text = json_string_value(json_object_get(jpath_get(pod, "metadata.annotations"), key));
	return text ? text : "";
}

static int stands_alone(const json_t *pod, struct err *e)
{
	static const char *const parts[] = {"spec.volumes", "spec.containers", "spec.initContainers", "spec.resourceClaims"};
	if (*jpath_str(pod, "spec.serviceAccountName", ""))
		return err_set(e, EINVAL, "spec.serviceAccountName: a pod from a file cannot use a service account");
	if (json_array_size(jpath_get(pod, "spec.imagePullSecrets")))
		return err_set(e, EINVAL, "spec.imagePullSecrets: a pod from a file cannot use Secrets; name the registry's credentials on the host");
	if (json_array_size(jpath_get(pod, "spec.ephemeralContainers")))
		return err_set(e, EINVAL, "spec.ephemeralContainers: a pod from a file cannot have any");
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		const char *what = k8s_pod_reference(jpath_get(pod, parts[i]));
		if (what)
			return err_set(e, EINVAL, "%s: a pod from a file cannot use objects of the API (%s)", parts[i], what);
	}
	return 0;
}

static int checked(json_t *pod, struct err *e)
{
	const struct k8s_kind *k = k8s_kind_find("", "v1", "pods");
	if (!json_is_object(pod) || strcmp(jpath_str(pod, "apiVersion", ""), "v1") || strcmp(jpath_str(pod, "kind", ""), "Pod"))
		return err_set(e, EINVAL, "not a Pod: expected apiVersion: v1 and kind: Pod");
	int rc = k8s_decode(k, pod, NULL, e);
	if (rc)
		return rc;
	json_object_del(pod, "status");
	rc = stands_alone(pod, e);
	if (rc)
		return rc;
	if (!*jpath_str(pod, "metadata.namespace", ""))
		jpath_set(pod, "metadata.namespace", json_string("default"));
	k->set_defaults(pod);
	struct k8s_errors *faults = k8s_errors_new();
	if (!faults)
		return err_sys(e, ENOMEM, "check a pod");
	k8s_validate(k, pod, NULL, faults);
	if (k8s_errors_count(faults)) {
		own_json json_t *status = k8s_errors_status(faults, k, jpath_str(pod, "metadata.name", ""));
		rc = err_set(e, EINVAL, "%s", jpath_str(status, "message", "invalid"));
	}
	k8s_errors_free(faults);
	return rc;
}

static int hash_of(const json_t *pod, const char *file, const char *node, char out[33])
{
	unsigned char sum[32];
	own_free char *text = json_dumps(pod, JSON_COMPACT | JSON_SORT_KEYS), *all = NULL;
	if (!text || asprintf(&all, "%s\n%s\n%s", node, file, text) < 0 || gnutls_hash_fast(GNUTLS_DIG_SHA256, all, strlen(all), sum) < 0)
		return -ENOMEM;
	for (int i = 0; i < 16; i++)
		snprintf(out + 2 * i, 3, "%02x", sum[i]);
	return 0;
}

/* The two classes that every cluster has; admission, which resolves the others, is the API's. */
static void resolve_priority(json_t *pod)
{
	const char *class_ = jpath_str(pod, "spec.priorityClassName", "");
	if (!strcmp(class_, "system-node-critical"))
		jpath_set(pod, "spec.priority", json_integer(CRITICAL_NODE));
	else if (!strcmp(class_, "system-cluster-critical"))
		jpath_set(pod, "spec.priority", json_integer(CRITICAL_CLUSTER));
}

static void annotate(json_t *pod, const char *key, const char *value)
{
	json_t *all = jpath_get(pod, "metadata.annotations");
	if (json_is_object(all))
		json_object_set_new(all, key, json_string(value));
	else
		jpath_set(pod, "metadata.annotations", json_pack("{s:s}", key, value));
}

/* The name it has in the cluster, where it runs, who is told when the host goes. */
static int place(json_t *pod, const char *file, const char *node, const char *uid, struct err *e)
{
	char name[512], now[CLOCK_TEXT_MAX];
	json_t *meta = json_object_get(pod, "metadata"), *spec = json_object_get(pod, "spec");
	json_t *tolerations = json_object_get(spec, "tolerations");
	if (snprintf(name, sizeof(name), "%s-%s", jpath_str(pod, "metadata.name", ""), node) > 253)
		return err_set(e, EINVAL, "metadata.name: with the node's name behind it, it has more than 253 characters");
	for (char *c = name; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	json_object_set_new(meta, "name", json_string(name));
	json_object_set_new(meta, "uid", json_string(uid));
	json_object_set_new(meta, "creationTimestamp", json_string(clock_text(clock_real_ns(), 0, now)));
	json_object_set_new(spec, "nodeName", json_string(node));
	json_t *stay = json_pack("{s:s, s:s}", "operator", "Exists", "effect", "NoExecute");
	if (json_is_array(tolerations))
		json_array_append_new(tolerations, stay);
	else
		json_object_set_new(spec, "tolerations", json_pack("[o]", stay));
	annotate(pod, STATIC_HASH_KEY, uid);
	annotate(pod, STATIC_SOURCE_KEY, "file");
	annotate(pod, STATIC_SEEN_KEY, now);
	annotate(pod, STATIC_FILE_KEY, file);
	resolve_priority(pod);
	return 0;
}

int static_manifest_read(const char *text, size_t len, const char *file, const char *node, json_t **out, struct err *e)
{
	own_json json_t *pod = NULL;
	char uid[33];
	int rc = k8s_yaml_parse(text, len, &pod, e);   // JSON is YAML
	if (!rc)
		rc = checked(pod, e);
	if (rc)
		return rc;
	if (hash_of(pod, file, node, uid))
		return err_sys(e, ENOMEM, "read %s", file);
	rc = place(pod, file, node, uid, e);
	if (!rc)
		*out = take(pod);
	return rc;
}

json_t *static_manifest_mirror(const json_t *pod, const char *node, const char *node_uid)
{
	json_t *m = json_deep_copy(pod), *meta = json_object_get(m, "metadata");
	if (!m)
		return NULL;
	json_object_del(m, "status");
	json_object_del(meta, "uid");
	json_object_del(meta, "creationTimestamp");
	json_object_del(meta, "deletionTimestamp");
	annotate(m, STATIC_MIRROR_KEY, jpath_str(pod, "metadata.uid", ""));
	json_object_set_new(meta, "ownerReferences", json_pack("[{s:s, s:s, s:s, s:s, s:b}]", "apiVersion", "v1", "kind", "Node", "name", node,
							       "uid", node_uid, "controller", 1));
	return m;
}
