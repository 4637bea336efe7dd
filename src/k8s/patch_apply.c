// SPDX-License-Identifier: Apache-2.0
// Server-side apply; see patch.h. The applied object is merged into the live one; what this manager applied before and
// now leaves out goes, unless another manager owns it too; changing a value that another manager owns is a conflict.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "base/own.h"
#include "fieldset.h"
#include "kind.h"
#include "last_applied.h"
#include "managed_fields.h"
#include "patch.h"

#define FIRST_APPLY "before-first-apply"

static int no_memory(struct err *e)
{
	return err_set(e, ENOMEM, "out of memory");
}

/* ---- merge ---- */

static int merge(const struct k8s_node_type *type, const json_t *live, const json_t *applied, json_t **out, struct err *e);

/* Elements in the order of the applied list; live ones that it lacks stay behind the element they followed. */
static int merge_list(const struct k8s_node_type *t, const json_t *live, const json_t *applied, json_t **out, struct err *e)
{
	own_json json_t *list = json_array(), *positions = json_object();
	struct k8s_node_type element = t->node == NODE_LIST_MAP ? k8s_node_element(t) : (struct k8s_node_type){.node = NODE_LEAF};
	size_t i, insert = 0, added = 0;
	json_t *v;
	json_array_foreach(applied, i, v) {
		json_t *merged = NULL;
		own_free char *key = k8s_element_key(t, v, e);
		if (!key)
			return -EINVAL;
		if (json_object_get(positions, key))
			return err_set(e, EINVAL, "list %s: duplicate entries for key %s", t->field->name, key + 2);
		size_t at = k8s_element_find(t, live, key);
		int rc = merge(&element, json_array_get(live, at), v, &merged, e);
		if (rc)
			return rc;
		if (json_object_set_new(positions, key, json_integer((json_int_t)i)) || json_array_append_new(list, merged))
			return no_memory(e);
	}
	json_array_foreach(live, i, v) {
		own_free char *key = k8s_element_key(t, v, NULL);
		json_t *position = key ? json_object_get(positions, key) : NULL;
		if (position) {
			insert = (size_t)json_integer_value(position) + added + 1;
			continue;
		}
		if (json_array_insert(list, insert++, v))
			return no_memory(e);
		added++;
	}
	*out = take(list);
	return 0;
}

static int merge(const struct k8s_node_type *type, const json_t *live, const json_t *applied, json_t **out, struct err *e)
{
	struct k8s_node_type t = k8s_node_resolve(*type, applied);
	const char *key;
	json_t *v;
	if (t.node == NODE_LIST_MAP || t.node == NODE_SET)
		return merge_list(&t, json_is_array(live) ? live : NULL, applied, out, e);
	if (t.node == NODE_LEAF) {
		*out = json_incref((json_t *)applied);
		return 0;
	}
	own_json json_t *object = json_is_object(live) ? json_copy((json_t *)live) : json_object();
	if (!object)
		return no_memory(e);
	json_object_foreach((json_t *)applied, key, v) {
		struct k8s_node_type child = k8s_node_child(&t, key);
		json_t *merged = NULL;
		int rc = merge(&child, json_object_get(live, key), v, &merged, e);
		if (rc)
			return rc;
		if (json_object_set_new(object, key, merged))
			return no_memory(e);
	}
	*out = take(object);
	return 0;
}

/* ---- prune ---- */

/* A copy of value without the nodes of last that are neither in applied nor in others. What such a node holds goes with
 * it: defaults filled in below it have no owner. */
static json_t *prune(const struct k8s_node_type *type, const json_t *value, const json_t *last, const json_t *applied,
		     const json_t *others)
{
	struct k8s_node_type t = k8s_node_resolve(*type, value);
	json_t *out = json_copy((json_t *)value), *node;
	const char *key;
	if (!out || t.node == NODE_LEAF)
		return out;
	bool list = t.node == NODE_LIST_MAP || t.node == NODE_SET;
	json_object_foreach((json_t *)last, key, node) {
		const json_t *keep = json_object_get(applied, key), *other = json_object_get(others, key);
		if (strlen(key) < 2 || (key[0] == 'f') == list)
			continue;
		size_t at = list ? k8s_element_find(&t, out, key) : 0;
		json_t *child = list ? json_array_get(out, at) : json_object_get(out, key + 2), *pruned;
		if (!child)
			continue;
		if (!keep && !other) {
			if (list)
				json_array_remove(out, at);
			else
				json_object_del(out, key + 2);
			continue;
		}
		if (t.node == NODE_SET)
			continue;
		struct k8s_node_type child_type = list ? k8s_node_element(&t) : k8s_node_child(&t, key + 2);
		pruned = prune(&child_type, child, node, keep, other);
		if (!pruned || (list ? json_array_set_new(out, at, pruned) : json_object_set_new(out, key + 2, pruned))) {
			json_decref(out);
			return NULL;
		}
	}
	return out;
}

/* ---- conflicts ---- */

struct conflict_list {
	json_t *all;           // borrowed
	const json_t *entry;
};

static void add_conflict(void *user, const char *path)
{
	struct conflict_list *c = user;
	const char *subresource = jpath_str(c->entry, "subresource", "");
	bool update = !strcmp(jpath_str(c->entry, "operation", ""), "Update");
	own_buf struct buf text = BUF_INIT;
	buf_printf(&text, "conflict with \"%s\"", jpath_str(c->entry, "manager", ""));
	if (*subresource)
		buf_printf(&text, " with subresource \"%s\"", subresource);
	if (update)
		buf_printf(&text, " using %s", jpath_str(c->entry, "apiVersion", ""));
	json_array_append_new(c->all, json_pack("{s:s,s:s}", "field", path, "message", text.data ? text.data : ""));
}

/* Members of "changed" that other managers own. Taken from them when force, else collected. */
static int find_conflicts(json_t *entries, const json_t *own_entry, const json_t *changed, int force, json_t *conflicts)
{
	size_t i;
	json_t *entry;
	json_array_foreach(entries, i, entry) {
		if (entry == own_entry)
			continue;
		own_json json_t *both = k8s_fieldset_intersect(changed, k8s_managed_entry_set(entry));
		if (!both)
			return -ENOMEM;
		struct conflict_list list = {.all = conflicts, .entry = entry};
		if (force)
			k8s_fieldset_remove(k8s_managed_entry_set(entry), both);
		else
			k8s_fieldset_each(both, add_conflict, &list);
	}
	return 0;
}

/* The same, but what client-side apply stated before is no conflict. */
static int settle_conflicts(const struct k8s_kind *k, const json_t *live, const struct k8s_apply *how, json_t *entries,
			    const json_t *own_entry, const json_t *wanted, json_t *conflicts)
{
	if (how->force)
		return find_conflicts(entries, own_entry, wanted, true, conflicts);
	own_json json_t *mine = live && !strcmp(how->manager, K8S_LAST_APPLIED_MANAGER) ? k8s_last_applied_set(k, live) : NULL;
	own_json json_t *rest = json_deep_copy(wanted);
	if (!rest)
		return -ENOMEM;
	if (mine)
		k8s_fieldset_remove(rest, mine);
	int rc = find_conflicts(entries, own_entry, rest, false, conflicts);
	return rc || json_array_size(conflicts) || !mine ? rc : find_conflicts(entries, own_entry, wanted, true, conflicts);
}

/* ---- apply ---- */

/* Managers of the live object; an object that has none is owned as a whole by a made-up one. */
static json_t *live_entries(const struct k8s_node_type *root, const char *version, const json_t *live, struct err *e)
{
	json_t *have = jpath_get(live, "metadata.managedFields");
	if (!live || json_array_size(have))
		return have ? json_deep_copy(have) : json_array();
	own_json json_t *entries = json_array(), *set = k8s_fieldset_of(root, live, e);
	if (!set)
		return NULL;
	k8s_managed_strip(set);
	if (k8s_managed_entry_put(entries, FIRST_APPLY, "Update", version, NULL, set))
		return NULL;
	return take(entries);
}

static json_t *union_of_others(const json_t *entries, const json_t *own_entry)
{
	json_t *all = json_object(), *entry;
	size_t i;
	json_array_foreach(entries, i, entry)
		if (entry != own_entry && k8s_fieldset_add(all, k8s_managed_entry_set(entry))) {
			json_decref(all);
			return NULL;
		}
	return all;
}

static int check_applied(const struct k8s_kind *k, const json_t *applied, const char *manager, struct err *e)
{
	char version[256];
	snprintf(version, sizeof(version), "%s%s%s", k->group, *k->group ? "/" : "", k->version);
	if (!json_is_object(applied))
		return err_set(e, EINVAL, "an apply patch must be an object");
	if (!manager || !*manager)
		return err_set(e, EINVAL, "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
	if (jpath_get(applied, "metadata.managedFields"))
		return err_set(e, EINVAL, "metadata.managedFields must be nil");
	if (strcmp(jpath_str(applied, "apiVersion", ""), version) || strcmp(jpath_str(applied, "kind", ""), k->kind))
		return err_set(e, EINVAL, "the applied object must have apiVersion %s and kind %s", version, k->kind);
	return 0;
}

/* Whether two objects differ in anything but managedFields and their times. */
static bool same_fields(const json_t *a, const json_t *b)
{
	own_json json_t *x = json_deep_copy(a), *y = json_deep_copy(b);
	json_object_del(json_object_get(x, "metadata"), "managedFields");
	json_object_del(json_object_get(y, "metadata"), "managedFields");
	return json_equal(x, y);
}

static int put_managers(const struct k8s_kind *k, json_t *object, json_t *entries, const struct k8s_apply *how, const json_t *set,
			struct err *e)
{
	char version[256];
	snprintf(version, sizeof(version), "%s%s%s", k->group, *k->group ? "/" : "", k->version);
	if (k8s_managed_entry_put(entries, how->manager, "Apply", version, how->subresource, set))
		return no_memory(e);
	k8s_managed_drop_empty(entries);
	return jpath_set(object, "metadata.managedFields", json_incref(entries)) ? no_memory(e) : 0;
}

int k8s_patch_apply(const struct k8s_kind *k, const json_t *live, const json_t *applied, const struct k8s_apply *how,
		    json_t **out, json_t **conflicts, struct err *e)
{
	struct k8s_node_type root = k8s_node_root(k->schema);
	int rc = check_applied(k, applied, how->manager, e);
	if (rc)
		return rc;
	own_json json_t *entries = live_entries(&root, jpath_str(applied, "apiVersion", ""), live, e), *merged = NULL;
	own_json json_t *stated = entries ? k8s_fieldset_of(&root, applied, e) : NULL, *set = json_deep_copy(stated);
	if (!set)
		return e && e->code ? -e->code : no_memory(e);
	k8s_managed_strip(set);
	if (!json_object_get(stated, "f:metadata"))
		json_object_set_new(stated, "f:metadata", json_object());   // identity is never pruned
	json_t *entry = k8s_managed_entry(entries, how->manager, "Apply", NULL, how->subresource);
	rc = merge(&root, live, applied, &merged, e);
	if (rc)
		return rc;
	own_json json_t *empty = json_object(), *changed = k8s_fieldset_changed(&root, live ? live : empty, merged, e);
	own_json json_t *wanted = changed ? k8s_fieldset_intersect(set, changed) : NULL, *found = json_array();
	if (!wanted || settle_conflicts(k, live, how, entries, entry, wanted, found))
		return no_memory(e);
	if (json_array_size(found)) {
		*conflicts = take(found);
		return err_set(e, EEXIST, "Apply failed: fields belong to others");
	}
	own_json json_t *others = union_of_others(entries, entry), *pruned = NULL;
	if (!others)
		return no_memory(e);
	pruned = entry ? prune(&root, merged, k8s_managed_entry_set(entry), stated, others) : json_incref(merged);
	own_json json_t *result = pruned ? json_deep_copy(pruned) : NULL;
	if (!result || (!strcmp(how->manager, K8S_LAST_APPLIED_MANAGER) && k8s_last_applied_follow(result, applied)))
		return no_memory(e);
	if (live && entry && json_equal(k8s_managed_entry_set(entry), set) && same_fields(live, result)) {
		*out = json_deep_copy(live);   // nothing changes, not even a time
		return *out ? 0 : no_memory(e);
	}
	rc = put_managers(k, result, entries, how, set, e);
	if (!rc)
		*out = take(result);
	return rc;
}
