// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/propagation.h"

#include <string.h>

#include "base/jpath.h"
#include "server/meta.h"

static size_t find(const json_t *list, const char *name)
{
	json_t *f;
	size_t i;

	json_array_foreach((json_t *)list, i, f)
		if (json_is_string(f) && !strcmp(json_string_value(f), name))
			return i;
	return json_array_size(list);
}

bool finalizer_has(const json_t *obj, const char *name)
{
	const json_t *list = jpath_get(obj, "metadata.finalizers");

	return find(list, name) < json_array_size(list);
}

bool finalizer_add(json_t *obj, const char *name)
{
	json_t *list = jpath_get(obj, "metadata.finalizers");

	if (find(list, name) < json_array_size(list))
		return false;
	if (!json_is_array(list)) {
		if (jpath_set(obj, "metadata.finalizers", json_array()))
			return false;
		list = jpath_get(obj, "metadata.finalizers");
	}
	return !json_array_append_new(list, json_string(name));
}

bool finalizer_remove(json_t *obj, const char *name)
{
	json_t *list = jpath_get(obj, "metadata.finalizers");
	size_t at = find(list, name);

	if (at >= json_array_size(list))
		return false;
	json_array_remove(list, at);
	if (!json_array_size(list))
		json_object_del(json_object_get(obj, "metadata"), "finalizers");
	return true;
}

/* These leave what they own behind unless told otherwise, as they did before there was garbage collection. */
static bool orphans_by_default(const json_t *obj)
{
	const char *kind = jpath_str(obj, "kind", "");

	return !strcmp(kind, "Job") || !strcmp(kind, "ReplicationController");
}

void propagation_apply(json_t *obj, const json_t *options)
{
	const char *policy = jpath_str(options, "propagationPolicy", "");
	const json_t *orphan = json_object_get(options, "orphanDependents");
	bool given = *policy || json_is_boolean(orphan);

	if (json_is_boolean(orphan))
		policy = json_is_true(orphan) ? "Orphan" : "Background";
	if (!given && (meta_is_deleting(obj) || finalizer_has(obj, FINALIZER_FOREGROUND) || finalizer_has(obj, FINALIZER_ORPHAN)))
		return;
	if (!given && orphans_by_default(obj))
		policy = "Orphan";
	finalizer_remove(obj, FINALIZER_FOREGROUND);
	finalizer_remove(obj, FINALIZER_ORPHAN);
	if (!strcmp(policy, "Foreground"))
		finalizer_add(obj, FINALIZER_FOREGROUND);
	else if (!strcmp(policy, "Orphan"))
		finalizer_add(obj, FINALIZER_ORPHAN);
}
