// SPDX-License-Identifier: Apache-2.0
// What the downward API offers: fields of the pod and resources of its containers; and objects (ConfigMaps, Secrets)
// that a pod refers to.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/client.h"
#include "k8s/quantity.h"
#include "pod.h"

/* From the API; the last one read when that does not answer. */
static int object_get(struct pod *p, const char *path, const char *key, json_t **obj, struct err *e)
{
	int rc = k8s_client_call(p->host->api, "GET", path, NULL, NULL, 10000, obj, e);
	json_t *memory = pod_remembered(p);
	if (!rc)
		json_object_del(json_object_get(*obj, "metadata"), "managedFields");
	if (!rc)
		json_object_set(memory, key, *obj);
	else if ((rc == -ECONNREFUSED || rc == -ETIMEDOUT || rc == -EAGAIN) && json_object_get(memory, key)) {
		*obj = json_incref(json_object_get(memory, key));
		return 0;
	}
	return rc;
}

static int name_check(const char *name, struct err *e)
{
	if (!*name || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") != strlen(name))
		return err_set(e, EINVAL, "\"%s\" is not a valid name", name);
	return 0;
}

int pod_object_get(struct pod *p, const char *kind, const char *name, json_t **obj, struct err *e)
{
	char path[700];
	int rc = name_check(name, e);
	snprintf(path, sizeof(path), "/api/v1/namespaces/%s/%s/%s", p->ns, kind, name);
	return rc ? rc : object_get(p, path, strstr(path, kind), obj, e);
}

int pod_runtime_class(struct pod *p, const char *name, json_t **obj, struct err *e)
{
	char path[400];
	int rc = name_check(name, e);
	snprintf(path, sizeof(path), "/apis/node.k8s.io/v1/runtimeclasses/%s", name);
	return rc ? rc : object_get(p, path, strstr(path, "runtimeclasses"), obj, e);
}

json_t *pod_remembered(struct pod *p)
{
	if (!p->remembered)
		p->remembered = json_object();
	return p->remembered;
}

/* key="value" lines, sorted, as the downward API writes labels and annotations. */
static char *pairs_text(const json_t *map)
{
	struct buf b = BUF_INIT;
	size_t n = json_object_size(map), fill = 0;
	own_free const char **keys = calloc(n + 1, sizeof(*keys));
	const char *k;
	json_t *v;
	json_object_foreach((json_t *)map, k, v)
		if (keys)
			keys[fill++] = k;
	for (size_t i = 1; i < fill; i++)
		for (size_t j = i; j && strcmp(keys[j - 1], keys[j]) > 0; j--) {
			const char *t = keys[j];
			keys[j] = keys[j - 1];
			keys[j - 1] = t;
		}
	for (size_t i = 0; i < fill; i++) {
		own_free char *quoted = json_dumps(json_object_get(map, keys[i]), JSON_ENCODE_ANY);
		buf_printf(&b, "%s%s=%s", i ? "\n" : "", keys[i], quoted ? quoted : "\"\"");
	}
	return buf_take(&b);
}

int pod_field(struct pod *p, const char *path, char **value, struct err *e)
{
	char key[320];
	const char *found = NULL;
	static const char *const plain[] = {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
					    "spec.serviceAccountName"};
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (!strcmp(path, plain[i]))
			found = jpath_str(p->seen, path, "");
	if (!strcmp(path, "status.podIP") || !strcmp(path, "status.podIPs"))
		found = p->pod_ip;
	else if (!strcmp(path, "status.hostIP") || !strcmp(path, "status.hostIPs"))
		found = p->host_ip;
	else if (!strcmp(path, "metadata.labels") || !strcmp(path, "metadata.annotations"))
		return (*value = pairs_text(jpath_get(p->seen, path))) ? 0 : err_sys(e, ENOMEM, "field %s", path);
	else if (sscanf(path, "metadata.labels['%316[^']']", key) == 1)
		found = json_string_value(json_object_get(jpath_get(p->seen, "metadata.labels"), key));
	else if (sscanf(path, "metadata.annotations['%316[^']']", key) == 1)
		found = json_string_value(json_object_get(jpath_get(p->seen, "metadata.annotations"), key));
	else if (!found)
		return err_set(e, EINVAL, "unsupported fieldPath: %s", path);
	*value = strdup(found ? found : "");
	return *value ? 0 : err_sys(e, ENOMEM, "field %s", path);
}

int pod_resource_field(struct pod *p, const json_t *container, const json_t *ref, char **value, struct err *e)
{
	const char *resource = jpath_str(ref, "resource", ""), *name = jpath_str(ref, "containerName", NULL);
	const json_t *spec = container;
	if (name) {
		struct container *c = pod_container_find(p, name);
		spec = c ? container_spec(p, c) : NULL;
	}
	if (!spec)
		return err_set(e, EINVAL, "container %s not found", name ? name : "?");
	const char *dot = strchr(resource, '.');
	if (!dot || (strncmp(resource, "limits.", 7) && strncmp(resource, "requests.", 9)))
		return err_set(e, EINVAL, "unsupported container resource: %s", resource);
	const json_t *all = jpath_get(spec, "resources");
	char list[16];
	snprintf(list, sizeof(list), "%.*s", (int)(dot - resource), resource);
	json_t *q = json_object_get(json_object_get(all, list), dot + 1);
	struct sysinfo si;
	sysinfo(&si);
	int64_t fallback = !strcmp(list, "requests") ? 0 : !strcmp(dot, ".cpu") ? get_nprocs() * 1000ll :
			   !strcmp(dot, ".memory") ? (int64_t)si.totalram * si.mem_unit * 1000 : 0;
	int64_t milli = k8s_quantity_milli(q, fallback), div = k8s_quantity_milli(json_object_get(ref, "divisor"), 1000);
	if (div <= 0)
		div = 1000;
	char text[32];
	snprintf(text, sizeof(text), "%lld", (long long)((milli + div - 1) / div));
	*value = strdup(text);
	return *value ? 0 : err_sys(e, ENOMEM, "resource %s", resource);
}
