// SPDX-License-Identifier: Apache-2.0
#include "server/subresource.h"

#include <string.h>

#include "base/jpath.h"
#include "k8s/hooks.h"
#include "server/csr.h"
#include "server/status.h"

/* --- what may change --- */

static void keep_outside_status(json_t *next, const json_t *cur)
{
	json_t *value;
	const char *key;
	void *tmp;

	json_object_foreach_safe(next, tmp, key, value)
		if (strcmp(key, "metadata") && strcmp(key, "status") && !json_object_get(cur, key))
			json_object_del(next, key);
	json_object_foreach((json_t *)cur, key, value)
		if (strcmp(key, "metadata") && strcmp(key, "status"))
			json_object_set(next, key, value);
}

static void keep_status(json_t *next, const json_t *cur)
{
	json_t *status = json_object_get(cur, "status");

	if (status)
		json_object_set(next, "status", status);
	else
		json_object_del(next, "status");
}

/* Of pods/ephemeralcontainers only these count. */
static void keep_but_ephemeral(json_t *next, const json_t *cur)
{
	json_t *list = json_incref(jpath_get(next, "spec.ephemeralContainers")), *spec = json_deep_copy(json_object_get(cur, "spec"));

	if (list)
		json_object_set_new(spec, "ephemeralContainers", list);
	json_object_set_new(next, "spec", spec);
	keep_status(next, cur);
}

/* Of pods/resize only CPU and memory of containers count, and how a container takes the change. */
static void keep_but_resources(json_t *next, const json_t *cur)
{
	static const char *const lists[] = { "containers", "initContainers" }, *const fields[] = { "resources", "resizePolicy" };
	json_t *spec = json_deep_copy(json_object_get(cur, "spec")), *asked = json_object_get(next, "spec"), *c, *other;
	size_t i, k;

	for (int l = 0; l < 2; l++)
		json_array_foreach(json_object_get(spec, lists[l]), i, c)
			json_array_foreach(json_object_get(asked, lists[l]), k, other)
				for (int f = 0; f < 2 && !strcmp(jpath_str(c, "name", ""), jpath_str(other, "name", "-")); f++)
					if (json_object_get(other, fields[f]))
						json_object_set(c, fields[f], json_object_get(other, fields[f]));
	json_object_set_new(next, "spec", spec);
	keep_status(next, cur);
}

/* --- and how --- */

static const json_t *named(const json_t *list, const char *name, size_t *times)
{
	const json_t *found = NULL;
	size_t i;
	json_t *c;

	json_array_foreach((json_t *)list, i, c)
		if (!strcmp(jpath_str(c, "name", ""), name) && ++*times)
			found = c;
	return found;
}

/* They are only ever added, each with a name of its own and an image. */
static json_t *check_ephemeral(const struct k8s_kind *k, const json_t *next, const json_t *cur)
{
	static const char *const lists[] = { "spec.ephemeralContainers", "spec.containers", "spec.initContainers" };
	const json_t *before = jpath_get(cur, lists[0]), *now = jpath_get(next, lists[0]);
	const char *pod = jpath_str(cur, "metadata.name", "");
	size_t i, times;
	json_t *c;

	json_array_foreach((json_t *)before, i, c) {
		const char *name = jpath_str(c, "name", "");
		const json_t *same = named(now, name, &(size_t){ 0 });
		if (!same || !json_equal(same, c))
			return status_about(422, "Invalid", k, pod, "Pod \"%s\" is invalid: spec.ephemeralContainers: Forbidden: existing ephemeral "
					    "containers \"%s\" may not be %s", pod, name, same ? "changed" : "removed");
	}
	json_array_foreach((json_t *)now, i, c) {
		const char *name = jpath_str(c, "name", ""), *fault = NULL;
		times = 0;
		for (int l = 0; l < 3; l++)
			named(jpath_get(next, lists[l]), name, &times);
		if (!*name || !*jpath_str(c, "image", ""))
			fault = !*name ? "name: Required value" : "image: Required value";
		else if (times > 1)
			fault = "name: Duplicate value";
		if (fault)
			return status_about(422, "Invalid", k, pod, "Pod \"%s\" is invalid: spec.ephemeralContainers[%zu].%s", pod, i, fault);
	}
	return NULL;
}

/* What the pod was promised at its start is what it was placed and is evicted by. */
static json_t *check_resize(const struct k8s_kind *k, const json_t *next, const json_t *cur)
{
	const char *before = k8s_pod_qos(cur);

	if (!strcmp(before, k8s_pod_qos(next)))
		return NULL;
	return status_about(422, "Invalid", k, jpath_str(cur, "metadata.name", ""), "Pod \"%s\" is invalid: spec: Invalid value: \"%s\": Pod "
			    "QOS Class may not change as a result of resizing", jpath_str(cur, "metadata.name", ""), k8s_pod_qos(next));
}

/* --- all of them --- */

void subresource_keep(const struct k8s_kind *k, const char *subresource, json_t *next, const json_t *cur)
{
	if (!strcmp(subresource, "status"))
		keep_outside_status(next, cur);
	else if (!strcmp(subresource, "ephemeralcontainers"))
		keep_but_ephemeral(next, cur);
	else if (!strcmp(subresource, "resize"))
		keep_but_resources(next, cur);
	else if (!strcmp(subresource, "approval"))
		csr_keep_but_conditions(next, cur);
	else if (!*subresource && k->status_subresource)
		keep_status(next, cur);
}

json_t *subresource_check(const struct k8s_kind *k, const char *subresource, const json_t *next, const json_t *cur)
{
	if (!strcmp(subresource, "resize"))
		return check_resize(k, next, cur);
	return !strcmp(subresource, "ephemeralcontainers") ? check_ephemeral(k, next, cur) : NULL;
}
