// SPDX-License-Identifier: Apache-2.0
// Custom objects into stored form by the schema of their definition: unknown fields pruned, nulls that are not allowed
// dropped, defaults filled in. What has the wrong type is left for validation to name.
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "base/own.h"
#include "custom.h"
#include "kind.h"
#include "schema.h"
#include "schema_types.h"
#include "validate.h"

#define UNKNOWN_MAX 64

static void note_unknown(json_t *unknown, const struct k8s_path *path)
{
	own_buf struct buf text = BUF_INIT;
	if (unknown && json_array_size(unknown) < UNKNOWN_MAX && k8s_path_text(path, &text) == 0 && text.data)
		json_array_append_new(unknown, json_sprintf("unknown field \"%s\"", text.data));
}

/* The schema of a property: named, or the free ones'; NULL: unknown. *any: unknown but kept. */
static const json_t *property(const json_t *schema, const char *key, bool *any)
{
	const json_t *named = json_object_get(json_object_get(schema, "properties"), key);
	const json_t *free_ones = json_object_get(schema, "additionalProperties");
	*any = json_is_true(free_ones) || jpath_bool(schema, "x-kubernetes-preserve-unknown-fields", false);
	if (named)
		return named;
	return json_is_object(free_ones) ? free_ones : NULL;
}

static void prune(const json_t *schema, const struct k8s_path *path, json_t *value, json_t *unknown, bool embedded);

static void prune_object(const json_t *schema, const struct k8s_path *path, json_t *value, json_t *unknown, bool embedded)
{
	const char *key;
	json_t *v;
	void *tmp;
	json_object_foreach_safe(value, tmp, key, v) {
		const struct k8s_path *at = PATH(path, key);
		bool any;
		const json_t *s = property(schema, key, &any);
		if (embedded && (!strcmp(key, "apiVersion") || !strcmp(key, "kind") || !strcmp(key, "metadata")))
			continue;
		if (!s && !any) {
			note_unknown(unknown, at);
			json_object_del(value, key);
		} else if (s && json_is_null(v) && !jpath_bool(s, "nullable", false)) {
			json_object_del(value, key);
		} else if (s) {
			prune(s, at, v, unknown, jpath_bool(s, "x-kubernetes-embedded-resource", false));
		}
	}
}

static void prune(const json_t *schema, const struct k8s_path *path, json_t *value, json_t *unknown, bool embedded)
{
	size_t i;
	json_t *v;
	if (json_is_object(value))
		prune_object(schema, path, value, unknown, embedded);
	const json_t *items = json_object_get(schema, "items");
	json_array_foreach(value, i, v)
		if (items)
			prune(items, PATH_AT(path, i), v, unknown, jpath_bool(items, "x-kubernetes-embedded-resource", false));
}

static void fill_defaults(const json_t *schema, json_t *value)
{
	const char *key;
	json_t *s, *v;
	size_t i;
	if (json_is_object(value)) {
		json_object_foreach(json_object_get(schema, "properties"), key, s) {
			json_t *standard = json_object_get(s, "default");
			if (standard && !json_object_get(value, key))
				json_object_set_new(value, key, json_deep_copy(standard));
			if ((v = json_object_get(value, key)))
				fill_defaults(s, v);
		}
		const json_t *free_ones = json_object_get(schema, "additionalProperties");
		json_object_foreach(value, key, v)
			if (json_is_object(free_ones) && !json_object_get(json_object_get(schema, "properties"), key))
				fill_defaults(free_ones, v);
	}
	json_array_foreach(value, i, v)
		if (json_object_get(schema, "items"))
			fill_defaults(json_object_get(schema, "items"), v);
}

int k8s_custom_decode(const struct k8s_kind *k, json_t *obj, json_t *unknown, struct err *e)
{
	const json_t *schema = jpath_get(k8s_custom_version(k), "schema.openAPIV3Schema");
	json_t *meta = json_object_get(obj, "metadata");
	own_json json_t *meta_unknown = json_array();
	json_t *text;
	size_t i;
	if (!json_is_object(obj))
		return err_set(e, EINVAL, "the body must be a JSON object");
	if (meta) {
		int rc = k8s_decode_schema(&k8s_meta_ObjectMeta, k->version, k->kind, meta, meta_unknown, e);
		if (rc)
			return rc;
		json_array_foreach(meta_unknown, i, text)
			if (unknown)   // unknown field "x" -> unknown field "metadata.x"
				json_array_append_new(unknown, json_sprintf("unknown field \"metadata.%s", json_string_value(text) + 15));
	}
	if (schema) {
		prune(schema, PATH_ROOT(NULL), obj, unknown, true);
		fill_defaults(schema, obj);
	}
	return 0;
}
