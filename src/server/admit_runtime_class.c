// SPDX-License-Identifier: Apache-2.0
#include "server/admit_runtime_class.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "server/registry.h"
#include "server/status.h"

static json_t *load_class(struct server *srv, const char *name)
{
	const struct k8s_kind *k = k8s_kind_find("node.k8s.io", "v1", "runtimeclasses");
	char key[REG_KEY_MAX];
	own_obj struct obj *o = k ? store_get(srv->store, reg_key(k, "", name, key)) : NULL;

	return o ? obj_json(o) : NULL;
}

static json_t *rejected(const struct k8s_kind *k, const json_t *pod, const char *why)
{
	char text[768];

	snprintf(text, sizeof text, "pod rejected: %s", why);
	return status_forbidden(k, jpath_str(pod, "metadata.name", ""), text);
}

static json_t *set_overhead(const struct k8s_kind *k, json_t *pod, const json_t *class_)
{
	json_t *own = jpath_get(pod, "spec.overhead"), *given = jpath_get(class_, "overhead.podFixed");

	if (json_object_size(own) && !given)
		return rejected(k, pod, "Pod Overhead set without corresponding RuntimeClass defined Overhead");
	if (json_object_size(own) && !json_equal(own, given))
		return rejected(k, pod, "Pod's Overhead doesn't match RuntimeClass's defined Overhead");
	if (given && jpath_set(pod, "spec.overhead", json_deep_copy(given)))
		return status_errno(-ENOMEM);
	return NULL;
}

static json_t *add_node_selector(const struct k8s_kind *k, json_t *pod, const json_t *wanted)
{
	json_t *have, *v;
	const char *key;
	char why[700];

	if (!json_object_size(wanted))
		return NULL;
	if (!json_is_object(jpath_get(pod, "spec.nodeSelector")) && jpath_set(pod, "spec.nodeSelector", json_object()))
		return status_errno(-ENOMEM);
	have = jpath_get(pod, "spec.nodeSelector");
	json_object_foreach((json_t *)wanted, key, v) {
		json_t *own = json_object_get(have, key);
		if (own && !json_equal(own, v)) {
			snprintf(why, sizeof why, "conflict: runtimeClass.scheduling.nodeSelector[%.150s] = %.150s; pod.spec.nodeSelector[%.150s] "
				 "= %.150s", key, jpath_str(v, "", ""), key, jpath_str(own, "", ""));
			return rejected(k, pod, why);
		}
		json_object_set(have, key, v);
	}
	return NULL;
}

static bool holds(const json_t *list, const json_t *value)
{
	json_t *v;
	size_t i;

	json_array_foreach((json_t *)list, i, v)
		if (json_equal(v, value))
			return true;
	return false;
}

static json_t *add_tolerations(json_t *pod, const json_t *wanted)
{
	json_t *have, *v;
	size_t i;

	if (!json_array_size(wanted))
		return NULL;
	if (!json_is_array(jpath_get(pod, "spec.tolerations")) && jpath_set(pod, "spec.tolerations", json_array()))
		return status_errno(-ENOMEM);
	have = jpath_get(pod, "spec.tolerations");
	json_array_foreach((json_t *)wanted, i, v)
		if (!holds(have, v))
			json_array_append(have, v);
	return NULL;
}

json_t *admit_runtime_class(struct server *srv, const struct k8s_kind *k, json_t *pod)
{
	const char *name = jpath_str(pod, "spec.runtimeClassName", "");
	own_json json_t *class_ = *name ? load_class(srv, name) : NULL;
	char why[300];
	json_t *s;

	if (*name && !class_) {
		snprintf(why, sizeof why, "RuntimeClass \"%.250s\" not found", name);
		return rejected(k, pod, why);
	}
	s = set_overhead(k, pod, class_);
	if (!s)
		s = add_node_selector(k, pod, jpath_get(class_, "scheduling.nodeSelector"));
	return s ? s : add_tolerations(pod, jpath_get(class_, "scheduling.tolerations"));
}
