// SPDX-License-Identifier: Apache-2.0
// Resources of a pod as a whole (spec.resources, for CPU and memory): what they are when half of them is given, and how they and
// those of the containers must fit together.
#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "hooks.h"
#include "quantity.h"
#include "validate.h"

static const char *const names[] = {"cpu", "memory"};

bool k8s_pod_states_whole(const json_t *pod, const char *what)
{
	const char *name;
	json_t *v;
	json_object_foreach(json_object_get(jpath_get(pod, "spec.resources"), what), name, v)
		if (!strcmp(name, "cpu") || !strcmp(name, "memory") || !strncmp(name, "hugepages-", 10))
			return true;
	return false;
}

static int64_t plus(int64_t a, int64_t b)
{
	int64_t sum;
	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

/* What the containers request of it in all, milli: those that run together, or an init container and the sidecars before it if that is
 * more. -1: none requests it. */
static int64_t containers_request(const json_t *spec, const char *name)
{
	int64_t together = 0, sidecars = 0, most = 0;
	bool any = false;
	json_t *c;
	size_t i;
	json_array_foreach(json_object_get(spec, "initContainers"), i, c) {
		const json_t *v = json_object_get(jpath_get(c, "resources.requests"), name);
		int64_t now = plus(sidecars, k8s_quantity_milli(v, 0));
		any |= v != NULL;
		if (!strcmp(jpath_str(c, "restartPolicy", ""), "Always"))
			sidecars = now;
		most = now > most ? now : most;
	}
	json_array_foreach(json_object_get(spec, "containers"), i, c) {
		const json_t *v = json_object_get(jpath_get(c, "resources.requests"), name);
		any |= v != NULL;
		together = plus(together, k8s_quantity_milli(v, 0));
	}
	together = plus(together, sidecars);
	return !any ? -1 : together > most ? together : most;
}

void k8s_default_pod_resources(json_t *spec)
{
	json_t *resources = json_object_get(spec, "resources"), *limits = json_object_get(resources, "limits");
	char text[K8S_QUANTITY_TEXT_MAX];
	if (!json_object_size(limits))
		return;
	if (!json_object_get(resources, "requests"))
		json_object_set_new(resources, "requests", json_object());
	json_t *requests = json_object_get(resources, "requests");
	for (int n = 0; n < 2; n++) {
		int64_t sum = containers_request(spec, names[n]);
		if (sum >= 0)
			k8s_default(requests, names[n], json_string(k8s_quantity_text(sum, n, text)));
		else if (json_object_get(limits, names[n]))
			k8s_default(requests, names[n], json_incref(json_object_get(limits, names[n])));
	}
	if (!json_object_size(requests))
		json_object_del(resources, "requests");
}

static void check_together(const struct k8s_path *path, const json_t *spec, struct k8s_errors *e)
{
	const json_t *requests = jpath_get(spec, "resources.requests"), *limits = jpath_get(spec, "resources.limits");
	char text[K8S_QUANTITY_TEXT_MAX];
	json_t *c, *v;
	const char *name;
	size_t i;
	for (int n = 0; n < 2; n++) {
		const json_t *request = json_object_get(requests, names[n]);
		int64_t sum = containers_request(spec, names[n]);
		if (request && sum >= 0 && sum > k8s_quantity_milli(request, 0))
			k8s_invalid(e, PATH_KEY(PATH(path, "requests"), names[n]), request,
				    "must be greater than or equal to aggregate container requests of %s", k8s_quantity_text(sum, n, text));
	}
	json_array_foreach(json_object_get(spec, "containers"), i, c)
		json_object_foreach(jpath_get(c, "resources.limits"), name, v) {
			const json_t *limit = json_object_get(limits, name);
			if (limit && k8s_quantity_milli(v, 0) > k8s_quantity_milli(limit, 0))
				k8s_invalid(e, PATH(PATH_KEY(PATH_AT(PATH(path, "containers"), i), name), "limits"), v,
					    "must be less than or equal to pod limits of %s", json_string_value(limit));
		}
}

void k8s_validate_pod_resources(const struct k8s_path *path, const json_t *spec, struct k8s_errors *e)
{
	const json_t *resources = json_object_get(spec, "resources");
	if (!resources)
		return;
	if (!strcmp(jpath_str(spec, "os.name", ""), "windows")) {
		k8s_forbidden(e, path, "may not be set for a windows pod");
		return;
	}
	if (json_array_size(json_object_get(resources, "claims")))
		k8s_forbidden(e, PATH(path, "claims"), "claims may not be set for Resources at pod-level");
	k8s_validate_whole_resources(path, resources, e);
	check_together(path, spec, e);
}
