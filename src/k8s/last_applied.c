// SPDX-License-Identifier: Apache-2.0
#include "last_applied.h"

#include <errno.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "fieldset.h"
#include "kind.h"
#include "managed_fields.h"

#define ANNOTATION "kubectl.kubernetes.io/last-applied-configuration"
#define ANNOTATION_MAX (256 << 10)   // of all annotations of an object

static json_t *annotations(const json_t *object)
{
	return jpath_get(object, "metadata.annotations");
}

json_t *k8s_last_applied_set(const struct k8s_kind *k, const json_t *live)
{
	struct k8s_node_type root = k8s_node_root(k->schema);
	const char *text = json_string_value(json_object_get(annotations(live), ANNOTATION));
	own_json json_t *last = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;

	if (!last || k8s_decode(k, last, NULL, NULL))
		return NULL;
	own_json json_t *set = k8s_fieldset_of(&root, last, NULL), *changed = k8s_fieldset_changed(&root, live, last, NULL);
	if (!set || !changed)
		return NULL;
	k8s_fieldset_remove(set, changed);
	k8s_managed_strip(set);
	return take(set);
}

int k8s_last_applied_follow(json_t *object, const json_t *applied)
{
	if (!json_object_get(annotations(object), ANNOTATION))
		return 0;
	own_json json_t *copy = json_deep_copy(applied);
	json_object_del(annotations(copy), ANNOTATION);
	own_free char *text = copy ? json_dumps(copy, JSON_COMPACT) : NULL;
	if (!text)
		return -ENOMEM;
	if (strlen(text) > ANNOTATION_MAX)
		return json_object_del(annotations(object), ANNOTATION);
	return json_object_set_new(annotations(object), ANNOTATION, json_sprintf("%s\n", text)) ? -ENOMEM : 0;
}
