// SPDX-License-Identifier: Apache-2.0
#include "server/binding.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "server/meta.h"
#include "server/status.h"

static json_t *find_condition(json_t *list, const char *type)
{
	json_t *c;
	size_t i;

	json_array_foreach(list, i, c)
		if (!strcmp(jpath_str(c, "type", ""), type))
			return c;
	return NULL;
}

static bool set_text(json_t *c, const char *key, const char *value)
{
	if (value && *value) {
		if (!strcmp(jpath_str(c, key, ""), value))
			return false;
		json_object_set_new(c, key, json_string(value));
		return true;
	}
	if (!json_object_get(c, key))
		return false;
	json_object_del(c, key);
	return true;
}

bool condition_set(json_t *obj, const char *type, const char *status, const char *reason, const char *message)
{
	json_t *list = jpath_get(obj, "status.conditions"), *c;
	char now[40];
	bool changed = false;

	if (!json_is_array(list)) {
		if (jpath_set(obj, "status.conditions", json_array()))
			return false;
		list = jpath_get(obj, "status.conditions");
	}
	c = find_condition(list, type);
	if (!c) {
		json_array_append_new(list, json_pack("{s:s,s:s,s:n,s:s}", "type", type, "status", "", "lastProbeTime",
						      "lastTransitionTime", ""));
		c = json_array_get(list, json_array_size(list) - 1);
	}
	if (strcmp(jpath_str(c, "status", ""), status)) {
		json_object_set_new(c, "status", json_string(status));
		json_object_set_new(c, "lastTransitionTime", json_string(meta_now(now)));
		changed = true;
	}
	changed |= set_text(c, "reason", reason);
	changed |= set_text(c, "message", message);
	return changed;
}

/* Annotations of the binding go to the pod. */
static void copy_annotations(json_t *pod, const json_t *binding)
{
	json_t *from = jpath_get(binding, "metadata.annotations"), *to = jpath_get(pod, "metadata.annotations");

	if (!json_object_size(from))
		return;
	if (to)
		json_object_update(to, from);
	else
		jpath_set(pod, "metadata.annotations", json_deep_copy(from));
}

/* A binding may say which pod it means: its name alone may be another one's by now. */
static json_t *check_same_pod(const struct k8s_kind *k, const json_t *pod, const json_t *binding)
{
	static const char *const paths[] = { "metadata.uid", "metadata.resourceVersion" }, *const names[] = { "UID", "ResourceVersion" };
	char why[256];

	for (int i = 0; i < 2; i++) {
		const char *want = jpath_str(binding, paths[i], ""), *have = jpath_str(pod, paths[i], "");
		if (!*want || !strcmp(want, have))
			continue;
		snprintf(why, sizeof why, "Precondition failed: %s in precondition: %.64s, %s in object meta: %.64s", names[i], want, names[i], have);
		return status_conflict(k, jpath_str(pod, "metadata.name", ""), why);
	}
	return NULL;
}

json_t *binding_apply(const struct k8s_kind *k, const json_t *pod, const json_t *binding, json_t **next)
{
	const char *name = jpath_str(pod, "metadata.name", ""), *node = jpath_str(binding, "target.name", "");
	const char *kind = jpath_str(binding, "target.kind", ""), *assigned = jpath_str(pod, "spec.nodeName", "");
	char why[512];
	json_t *p, *s;

	if (!*node)
		return status_about(422, "Invalid", k, name, "Binding \"%s\" is invalid: target.name: Required value", name);
	if (*kind && strcmp(kind, "Node") && strcmp(kind, "Minion"))
		return status_about(422, "Invalid", k, name, "Binding \"%s\" is invalid: target.kind: Unsupported value: \"%s\": supported "
				    "values: \"Node\", \"<empty>\"", name, kind);
	s = check_same_pod(k, pod, binding);
	if (s)
		return s;
	if (meta_is_deleting(pod)) {
		snprintf(why, sizeof why, "pod %.250s is being deleted, cannot be assigned to a host", name);
		return status_conflict(k, name, why);
	}
	if (*assigned) {
		snprintf(why, sizeof why, "pod %.250s is already assigned to node \"%.200s\"", name, assigned);
		return status_conflict(k, name, why);
	}
	p = json_deep_copy(pod);
	if (!p || jpath_set(p, "spec.nodeName", json_string(node))) {
		json_decref(p);
		return status_errno(-ENOMEM);
	}
	copy_annotations(p, binding);
	condition_set(p, "PodScheduled", "True", NULL, NULL);
	*next = p;
	return NULL;
}
