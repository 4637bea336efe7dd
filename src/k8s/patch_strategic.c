// SPDX-License-Identifier: Apache-2.0
// Strategic merge patch; see patch.h. Like a merge patch, but lists of objects are merged by the key that the schema
// names, and directives steer it: $patch (merge, replace, delete), $retainKeys, $deleteFromPrimitiveList/<list>,
// $setElementOrder/<list>.
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "kind.h"
#include "patch.h"
#include "schema.h"

#define DELETE_FROM "$deleteFromPrimitiveList/"
#define ORDER_OF "$setElementOrder/"

static int merge_object(const struct k8s_schema *s, const json_t *doc, const json_t *patch, json_t **out, struct err *e);

static int no_memory(struct err *e)
{
	return err_set(e, ENOMEM, "out of memory");
}

static bool is_directive(const char *key)
{
	return key[0] == '$' && (!strcmp(key, "$patch") || !strcmp(key, "$retainKeys") || !strncmp(key, DELETE_FROM, sizeof(DELETE_FROM) - 1) ||
				 !strncmp(key, ORDER_OF, sizeof(ORDER_OF) - 1));
}

/* A copy without directives, for parts that are new in the document. NULL: out of memory. */
static json_t *without_directives(const json_t *v)
{
	const char *key;
	json_t *child, *out;
	size_t i;
	if (json_is_object(v)) {
		out = json_object();
		json_object_foreach((json_t *)v, key, child)
			if (!is_directive(key) && !json_is_null(child) && json_object_set_new(out, key, without_directives(child))) {
				json_decref(out);
				return NULL;
			}
		return out;
	}
	if (!json_is_array(v))
		return json_deep_copy(v);
	out = json_array();
	json_array_foreach(v, i, child) {
		const char *directive = jpath_str(child, "$patch", "");
		if (!strcmp(directive, "delete") || (!strcmp(directive, "replace") && json_object_size(child) == 1))
			continue;
		if (json_array_append_new(out, without_directives(child))) {
			json_decref(out);
			return NULL;
		}
	}
	return out;
}

static size_t find_by_key(const json_t *list, const char *key, const json_t *value)
{
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item)
		if (value && json_is_object(item) && json_object_get(item, key) && json_equal(json_object_get(item, key), value))
			break;
	return i;
}

static size_t find_value(const json_t *list, const json_t *value)
{
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item)
		if (json_equal(item, value))
			break;
	return i;
}

/* ---- lists ---- */

/* One element of the patch's list, into out. */
static int merge_item(const struct k8s_field *f, json_t *out, const json_t *item, struct err *e)
{
	const char *directive = jpath_str(item, "$patch", "");
	const json_t *value = json_object_get(item, f->merge_key);
	if (!json_is_object(item))
		return err_set(e, EINVAL, "an element of the list %s must be an object", f->name);
	if (!value)
		return err_set(e, EINVAL, "map: %s does not contain declared merge key: %s", f->name, f->merge_key);
	size_t at = find_by_key(out, f->merge_key, value), n = json_array_size(out);
	if (!strcmp(directive, "delete")) {
		while ((at = find_by_key(out, f->merge_key, value)) < json_array_size(out))
			json_array_remove(out, at);
		return 0;
	}
	if (*directive && strcmp(directive, "replace") && strcmp(directive, "merge"))
		return err_set(e, EINVAL, "unknown value \"%s\" of $patch for %s: use merge, replace or delete", directive, f->name);
	json_t *merged = NULL;
	int rc = 0;
	if (at < n && strcmp(directive, "replace"))
		rc = merge_object(f->of, json_array_get(out, at), item, &merged, e);
	else
		merged = without_directives(item);
	if (rc)
		return rc;
	if (!merged || (at < n ? json_array_set_new(out, at, merged) : json_array_append_new(out, merged)))
		return no_memory(e);
	return 0;
}

static int merge_object_list(const struct k8s_field *f, const json_t *doc, const json_t *patch, json_t **out, struct err *e)
{
	bool replace = false;
	size_t i;
	json_t *item;
	json_array_foreach(patch, i, item) {
		const char *directive = jpath_str(item, "$patch", "");
		/* {"$patch":"replace"} alone: the rest of the patch's list is the new list. */
		replace |= !strcmp(directive, "replace") && !json_object_get(item, f->merge_key);
	}
	own_json json_t *list = replace || !doc ? json_array() : json_copy((json_t *)doc);
	if (!list)
		return no_memory(e);
	json_array_foreach(patch, i, item) {
		if (jpath_get(item, "$patch") && !json_object_get(item, f->merge_key) && replace)
			continue;
		int rc = merge_item(f, list, item, e);
		if (rc)
			return rc;
	}
	*out = take(list);
	return 0;
}

static int merge_plain_list(const json_t *doc, const json_t *patch, json_t **out, struct err *e)
{
	own_json json_t *list = doc ? json_copy((json_t *)doc) : json_array();
	size_t i;
	json_t *item;
	if (!list)
		return no_memory(e);
	json_array_foreach(patch, i, item)
		if (find_value(list, item) == json_array_size(list) && json_array_append(list, item))
			return no_memory(e);
	*out = take(list);
	return 0;
}

/* Put list into the order that $setElementOrder gives; elements it does not name keep their place behind the named one
 * that they followed. */
static int set_order(const struct k8s_field *f, json_t *list, const json_t *order, struct err *e)
{
	own_json json_t *sorted = json_array();
	size_t i, o;
	json_t *item, *want;
	if (!sorted)
		return no_memory(e);
	if (!json_is_array(order))
		return err_set(e, EINVAL, "$setElementOrder/%s must be a list", f->name);
	json_array_foreach(order, o, want) {
		const json_t *key = f->merge_key ? json_object_get(want, f->merge_key) : NULL;
		if (f->merge_key && !key)
			return err_set(e, EINVAL, "$setElementOrder/%s: each element needs \"%s\"", f->name, f->merge_key);
		size_t at = f->merge_key ? find_by_key(list, f->merge_key, key) : find_value(list, want);
		if (at < json_array_size(list))
			json_array_append(sorted, json_array_get(list, at));
	}
	size_t insert = 0;
	json_array_foreach(list, i, item) {
		size_t at = 0;
		while (at < json_array_size(sorted) && json_array_get(sorted, at) != item)
			at++;
		if (at < json_array_size(sorted)) {
			insert = at + 1;
			continue;
		}
		if (json_array_insert(sorted, insert++, item))
			return no_memory(e);
	}
	json_array_clear(list);
	return json_array_extend(list, sorted) ? no_memory(e) : 0;
}

static int delete_plain(json_t *out, const char *name, const json_t *values, struct err *e)
{
	json_t *list = json_object_get(out, name);
	size_t i;
	json_t *value;
	if (!json_is_array(values))
		return err_set(e, EINVAL, DELETE_FROM "%s must be a list", name);
	if (!json_is_array(list))
		return 0;
	own_json json_t *kept = json_copy(list);
	json_array_foreach(values, i, value)
		for (size_t at; (at = find_value(kept, value)) < json_array_size(kept);)
			json_array_remove(kept, at);
	return json_object_set(out, name, kept) ? no_memory(e) : 0;
}

/* ---- objects ---- */

static int merge_list(const struct k8s_field *f, const json_t *doc, const json_t *patch, json_t **out, struct err *e)
{
	if (!json_is_array(doc))
		doc = NULL;
	if (f && f->shape == K8S_LIST && f->type == K8S_OBJECT && f->merge_key)
		return merge_object_list(f, doc, patch, out, e);
	if (f && f->shape == K8S_LIST && f->merge_list)
		return merge_plain_list(doc, patch, out, e);
	*out = without_directives(patch);
	return *out ? 0 : no_memory(e);
}

static int merge_value(const struct k8s_field *f, const json_t *doc, const json_t *patch, json_t **out, struct err *e)
{
	if (json_is_array(patch))
		return merge_list(f, doc, patch, out, e);
	if (!json_is_object(patch)) {
		*out = json_incref((json_t *)patch);
		return 0;
	}
	if (f && f->replace) {
		*out = without_directives(patch);
		return *out ? 0 : no_memory(e);
	}
	/* A map of objects is entered with their schema; what has no schema is merged without merge keys. */
	static const struct k8s_schema free_form = {.name = "", .fields = NULL, .count = 0};
	const struct k8s_schema *s = f && f->type == K8S_OBJECT && f->shape == K8S_ONE ? f->of : &free_form;
	if (f && f->type == K8S_OBJECT && f->shape == K8S_MAP) {
		own_json json_t *map = json_is_object(doc) ? json_copy((json_t *)doc) : json_object();
		const char *key;
		json_t *value;
		json_object_foreach((json_t *)patch, key, value) {
			json_t *merged = NULL;
			if (json_is_null(value)) {
				json_object_del(map, key);
				continue;
			}
			int rc = json_is_object(value) ? merge_object(f->of, json_object_get(doc, key), value, &merged, e) : 0;
			if (rc)
				return rc;
			if (json_object_set_new(map, key, merged ? merged : json_incref(value)))
				return no_memory(e);
		}
		*out = take(map);
		return 0;
	}
	return merge_object(s, json_is_object(doc) ? doc : NULL, patch, out, e);
}

static bool retained(const json_t *keep, const char *key)
{
	size_t i;
	json_t *name;
	json_array_foreach(keep, i, name)
		if (json_is_string(name) && !strcmp(json_string_value(name), key))
			return true;
	return false;
}

static int apply_retain_keys(json_t *out, const json_t *patch, struct err *e)
{
	json_t *keep = json_object_get(patch, "$retainKeys"), *value;
	const char *key;
	void *tmp;
	if (!keep)
		return 0;
	if (!json_is_array(keep))
		return err_set(e, EINVAL, "$retainKeys must be a list of field names");
	json_object_foreach((json_t *)patch, key, value)
		if (!is_directive(key) && !json_is_null(value) && !retained(keep, key))
			return err_set(e, EINVAL, "field \"%s\" is in the patch but not in its $retainKeys", key);
	json_object_foreach_safe(out, tmp, key, value)
		if (!retained(keep, key))
			json_object_del(out, key);
	return 0;
}

/* Directives about lists, after the plain fields are merged. */
static int apply_list_directives(const struct k8s_schema *s, json_t *out, const json_t *patch, struct err *e)
{
	const char *key;
	json_t *value;
	int rc = 0;
	json_object_foreach((json_t *)patch, key, value)
		if (!strncmp(key, DELETE_FROM, sizeof(DELETE_FROM) - 1)) {
			rc = delete_plain(out, key + sizeof(DELETE_FROM) - 1, value, e);
			if (rc)
				return rc;
		}
	json_object_foreach((json_t *)patch, key, value) {
		if (strncmp(key, ORDER_OF, sizeof(ORDER_OF) - 1))
			continue;
		const char *name = key + sizeof(ORDER_OF) - 1;
		const struct k8s_field *f = k8s_schema_field(s, name);
		json_t *list = json_object_get(out, name);
		if (!f || f->shape != K8S_LIST || (!f->merge_key && !f->merge_list))
			return err_set(e, EINVAL, "$setElementOrder/%s: %s is not a list that is merged", name, name);
		if (!json_is_array(list))
			continue;
		own_json json_t *copy = json_copy(list);
		rc = copy ? set_order(f, copy, value, e) : no_memory(e);
		if (!rc && json_object_set(out, name, copy))
			rc = no_memory(e);
		if (rc)
			return rc;
	}
	return 0;
}

static int merge_object(const struct k8s_schema *s, const json_t *doc, const json_t *patch, json_t **out, struct err *e)
{
	const char *directive = jpath_str(patch, "$patch", ""), *key;
	json_t *value;
	if (!strcmp(directive, "delete") || !strcmp(directive, "replace")) {
		*out = *directive == 'd' ? json_object() : without_directives(patch);
		return *out ? 0 : no_memory(e);
	}
	if (*directive && strcmp(directive, "merge"))
		return err_set(e, EINVAL, "unknown value \"%s\" of $patch: use merge, replace or delete", directive);
	own_json json_t *merged = doc ? json_copy((json_t *)doc) : json_object();
	if (!merged)
		return no_memory(e);
	json_object_foreach((json_t *)patch, key, value) {
		json_t *new_value = NULL;
		if (is_directive(key))
			continue;
		if (json_is_null(value)) {
			json_object_del(merged, key);
			continue;
		}
		int rc = merge_value(k8s_schema_field(s, key), json_object_get(doc, key), value, &new_value, e);
		if (rc)
			return rc;
		if (json_object_set_new(merged, key, new_value))
			return no_memory(e);
	}
	int rc = apply_retain_keys(merged, patch, e);
	if (!rc)
		rc = apply_list_directives(s, merged, patch, e);
	if (!rc)
		*out = take(merged);
	return rc;
}

int k8s_patch_strategic(const struct k8s_kind *k, const json_t *doc, const json_t *patch, json_t **out, struct err *e)
{
	json_t *merged = NULL;
	if (!k->schema)
		return err_set(e, EINVAL, "strategic merge patch is not supported for %s.%s: use a merge patch or a JSON patch", k->plural,
			       k->group);
	if (!json_is_object(patch))
		return err_set(e, EINVAL, "a strategic merge patch must be an object");
	int rc = merge_object(k->schema, doc, patch, &merged, e);
	if (rc)
		return rc;
	/* What the patch does not mention is shared with doc so far. */
	json_t *copy = json_deep_copy(merged);
	json_decref(merged);
	if (!copy)
		return no_memory(e);
	*out = copy;
	return 0;
}
