// SPDX-License-Identifier: Apache-2.0
#include "server/admit_runtime_class.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/quantity.h"
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

/* "0.25" is "250m". */
static bool same_quantities(const json_t *a, const json_t *b)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)a, name, v)
		if (!json_object_get(b, name) || k8s_quantity_milli(v, -1) != k8s_quantity_milli(json_object_get(b, name), -1))
			return false;
	return json_object_size(a) == json_object_size(b);
}

static json_t *set_overhead(const struct k8s_kind *k, json_t *pod, const json_t *class_)
{
	json_t *own = jpath_get(pod, "spec.overhead"), *given = jpath_get(class_, "overhead.podFixed");

	if (json_object_size(own) && !given)
		return rejected(k, pod, "Pod Overhead set without corresponding RuntimeClass defined Overhead");
	if (json_object_size(own) && !same_quantities(own, given))
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
			return status_forbidden(k, jpath_str(pod, "metadata.name", ""), why);
		}
		json_object_set(have, key, v);
	}
	return NULL;
}

static bool same_text(const json_t *a, const json_t *b, const char *field)
{
	return !strcmp(jpath_str(a, field, ""), jpath_str(b, field, ""));
}

/* Whether whatever b tolerates, a does too. */
static bool tolerates_all_of(const json_t *a, const json_t *b)
{
	const char *operator = jpath_str(a, "operator", "");
	bool exists = !strcmp(operator, "Exists");
	json_t *seconds = json_object_get(a, "tolerationSeconds"), *less = json_object_get(b, "tolerationSeconds");

	if (json_equal(a, b))
		return true;
	if (!same_text(a, b, "key") && (!exists || *jpath_str(a, "key", "")))
		return false;
	if (*jpath_str(a, "effect", "") && !same_text(a, b, "effect"))
		return false;
	if (!strcmp(jpath_str(a, "effect", ""), "NoExecute") && json_is_integer(seconds) &&
	    (!json_is_integer(less) || json_integer_value(less) > json_integer_value(seconds)))
		return false;
	return exists || ((!*operator || !strcmp(operator, "Equal")) && !strcmp(jpath_str(b, "operator", ""), "Equal") && same_text(a, b, "value"));
}

/* One that is kept, or one that is still to come, makes the i-th needless. Of equal ones the first stays. */
static bool is_needless(const json_t *kept, const json_t *all, size_t i)
{
	const json_t *one = json_array_get(all, i);
	json_t *other;
	size_t j;

	json_array_foreach((json_t *)kept, j, other)
		if (tolerates_all_of(other, one))
			return true;
	for (j = i + 1; j < json_array_size(all); j++)
		if (!json_equal(json_array_get(all, j), one) && tolerates_all_of(json_array_get(all, j), one))
			return true;
	return false;
}

static json_t *add_tolerations(json_t *pod, const json_t *wanted)
{
	own_json json_t *all = json_array(), *kept = json_array();
	json_t *own = jpath_get(pod, "spec.tolerations"), *v;
	size_t i;

	if (!json_array_size(wanted))
		return NULL;
	if (!all || !kept || (json_is_array(own) && json_array_extend(all, own)) || json_array_extend(all, (json_t *)wanted))
		return status_errno(-ENOMEM);
	json_array_foreach(all, i, v)
		if (!is_needless(kept, all, i) && json_array_append(kept, v))
			return status_errno(-ENOMEM);
	return jpath_set(pod, "spec.tolerations", take(kept)) ? status_errno(-ENOMEM) : NULL;
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
