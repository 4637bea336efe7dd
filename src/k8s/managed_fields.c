// SPDX-License-Identifier: Apache-2.0
// managedFields; see managed_fields.h.
#include "managed_fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "fieldset.h"
#include "kind.h"

#define SET_DEPTH_MAX 128

json_t *k8s_managed_entry_set(const json_t *entry)
{
	return json_object_get(entry, "fieldsV1");
}

json_t *k8s_managed_entry(const json_t *entries, const char *manager, const char *operation, const char *api_version,
			  const char *subresource)
{
	size_t i;
	json_t *entry;
	json_array_foreach(entries, i, entry)
		if (!strcmp(jpath_str(entry, "manager", ""), manager) && !strcmp(jpath_str(entry, "operation", ""), operation) &&
		    (!api_version || !strcmp(jpath_str(entry, "apiVersion", ""), api_version)) &&
		    !strcmp(jpath_str(entry, "subresource", ""), subresource ? subresource : ""))
			return entry;
	return NULL;
}

int k8s_managed_entry_put(json_t *entries, const char *manager, const char *operation, const char *api_version,
			  const char *subresource, const json_t *set)
{
	char now[CLOCK_TEXT_MAX];
	json_t *entry = k8s_managed_entry(entries, manager, operation, NULL, subresource);
	clock_text(clock_real_ns(), 0, now);
	if (!entry) {
		entry = json_pack("{s:s,s:s,s:s,s:s,s:s,s:O,s:s*}", "manager", manager, "operation", operation, "apiVersion",
				  api_version, "time", now, "fieldsType", "FieldsV1", "fieldsV1", set, "subresource", subresource);
		/* Appliers come first. */
		bool first = !strcmp(operation, "Apply");
		return !entry || (first ? json_array_insert_new(entries, 0, entry) : json_array_append_new(entries, entry)) ? -ENOMEM : 0;
	}
	json_object_set_new(entry, "apiVersion", json_string(api_version));
	json_object_set_new(entry, "time", json_string(now));
	return json_object_set(entry, "fieldsV1", (json_t *)set) ? -ENOMEM : 0;
}

void k8s_managed_drop_empty(json_t *entries)
{
	for (size_t i = json_array_size(entries); i-- > 0;)
		if (json_object_size(k8s_managed_entry_set(json_array_get(entries, i))) == 0)
			json_array_remove(entries, i);
}

void k8s_managed_strip(json_t *set)
{
	static const char *const top[] = {"f:apiVersion", "f:kind"};
	static const char *const meta[] = {"f:name", "f:namespace", "f:creationTimestamp", "f:selfLink", "f:uid", "f:clusterName",
		"f:generation", "f:managedFields", "f:resourceVersion", "f:deletionTimestamp", "f:deletionGracePeriodSeconds"};
	json_t *metadata = json_object_get(set, "f:metadata");
	for (size_t i = 0; i < sizeof(top) / sizeof(*top); i++)
		json_object_del(set, top[i]);
	for (size_t i = 0; i < sizeof(meta) / sizeof(*meta); i++)
		json_object_del(metadata, meta[i]);
	if (metadata && json_object_size(metadata) == 0)
		json_object_del(set, "f:metadata");
}

/* Clients may write managedFields (kubectl does, when it takes over what client-side apply made): they are read like any other
 * bytes of theirs. */
static bool set_valid(const json_t *set, int depth)
{
	const char *key;
	json_t *below;
	if (!json_is_object(set) || depth > SET_DEPTH_MAX)
		return false;
	json_object_foreach((json_t *)set, key, below) {
		if (!strcmp(key, ".") && json_object_size(below) == 0)
			continue;
		if (!key[0] || !strchr("fkvi", key[0]) || key[1] != ':' || !set_valid(below, depth + 1))
			return false;
	}
	return true;
}

static bool entries_valid(const json_t *entries)
{
	size_t i;
	json_t *entry;
	json_array_foreach((json_t *)entries, i, entry) {
		const char *operation = jpath_str(entry, "operation", "");
		if ((strcmp(operation, "Apply") && strcmp(operation, "Update")) || strcmp(jpath_str(entry, "fieldsType", ""), "FieldsV1") ||
		    !*jpath_str(entry, "apiVersion", "") || !set_valid(k8s_managed_entry_set(entry), 0))
			return false;
	}
	return json_is_array(entries);
}

/* Who owned what before this change: as the client says, if what it says is whole; "[{}]" is nobody. New reference. */
static json_t *entries_before(const json_t *old, const json_t *obj, const char *subresource)
{
	json_t *said = subresource ? NULL : jpath_get(obj, "metadata.managedFields"), *had = jpath_get(old, "metadata.managedFields");
	json_t *first = json_array_get(said, 0);
	if (json_array_size(said) == 1 && json_is_object(first) && json_object_size(first) == 0)
		return json_array();
	if (json_array_size(said) && entries_valid(said))
		return json_deep_copy(said);
	return had ? json_deep_copy(had) : json_array();
}

static json_t *without_managed_fields(const json_t *obj)
{
	json_t *copy = json_copy((json_t *)obj), *meta = json_object_get(obj, "metadata");
	if (copy && meta) {
		json_t *meta_copy = json_copy(meta);
		json_object_del(meta_copy, "managedFields");
		json_object_set_new(copy, "metadata", meta_copy);
	}
	return copy;
}

int k8s_managed_fields_update(const struct k8s_kind *k, const json_t *old, json_t *obj, const char *manager,
			      const char *subresource, struct err *e)
{
	struct k8s_node_type root = k8s_node_root(k->schema);
	own_json json_t *before = old ? without_managed_fields(old) : json_object(), *after = without_managed_fields(obj);
	own_json json_t *changed = before && after ? k8s_fieldset_changed(&root, before, after, e) : NULL;
	own_json json_t *entries = entries_before(old, obj, subresource);
	size_t i;
	json_t *entry;
	char version[256];
	if (!changed || !entries)
		return e && e->code ? -e->code : -ENOMEM;
	k8s_managed_strip(changed);
	json_array_foreach(entries, i, entry) {
		json_t *set = k8s_managed_entry_set(entry);
		bool own = !strcmp(jpath_str(entry, "manager", ""), manager ? manager : "") &&
			   !strcmp(jpath_str(entry, "operation", ""), "Update") &&
			   !strcmp(jpath_str(entry, "subresource", ""), subresource ? subresource : "");
		if (!own)
			k8s_fieldset_remove(set, changed);
		k8s_fieldset_keep_existing(&root, set, after);
	}
	if (manager && *manager && json_object_size(changed)) {
		entry = k8s_managed_entry(entries, manager, "Update", NULL, subresource);
		if (entry && k8s_fieldset_add(changed, k8s_managed_entry_set(entry)))
			return err_set(e, ENOMEM, "out of memory");
		snprintf(version, sizeof(version), "%s%s%s", k->group, *k->group ? "/" : "", k->version);
		if (k8s_managed_entry_put(entries, manager, "Update", version, subresource, changed))
			return err_set(e, ENOMEM, "out of memory");
	}
	k8s_managed_drop_empty(entries);
	json_t *meta = json_object_get(obj, "metadata");
	if (json_array_size(entries) == 0)
		json_object_del(meta, "managedFields");
	else if (json_object_set(meta, "managedFields", entries))
		return err_set(e, ENOMEM, "out of memory");
	return 0;
}
