// SPDX-License-Identifier: Apache-2.0
// Printer columns and OpenAPI definitions of custom resources.
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "custom.h"
#include "json_path.h"
#include "kind.h"
#include "table.h"

static const json_t *columns_of(const struct k8s_kind *k)
{
	return json_object_get(k8s_custom_version(k), "additionalPrinterColumns");
}

json_t *k8s_custom_columns(const struct k8s_kind *k)
{
	json_t *list = json_pack("[{s:s,s:s,s:s,s:s,s:i}]", "name", "Name", "type", "string", "format", "name", "description",
				 "Name of the object, unique among its kind in a namespace.", "priority", 0), *c;
	size_t i;
	if (json_array_size(columns_of(k)) == 0)
		json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:i}", "name", "Age", "type", "date", "format", "", "description",
						      "Time since the object was created.", "priority", 0));
	json_array_foreach(columns_of(k), i, c)
		json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:i}", "name", jpath_str(c, "name", ""), "type",
						      jpath_str(c, "type", "string"), "format", jpath_str(c, "format", ""), "description",
						      jpath_str(c, "description", ""), "priority", (int)jpath_int(c, "priority", 0)));
	return list;
}

static int custom_cell(json_t *cells, const char *type, const json_t *v)
{
	if (!v || json_is_null(v))
		return json_array_append_new(cells, json_null());
	if (!strcmp(type, "date"))
		return k8s_cell_age(cells, json_string_value(v));
	bool right = !strcmp(type, "integer") ? json_is_integer(v) : !strcmp(type, "number") ? json_is_number(v)
		   : !strcmp(type, "boolean") ? json_is_boolean(v) : json_is_string(v);
	if (right)
		return json_array_append(cells, (json_t *)v);
	if (strcmp(type, "string"))
		return json_array_append_new(cells, json_null());
	own_free char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
	return k8s_cell(cells, text);
}

int k8s_custom_cells(const struct k8s_kind *k, const json_t *obj, json_t *cells)
{
	size_t i;
	json_t *c;
	int rc = k8s_cell(cells, jpath_str(obj, "metadata.name", ""));
	if (json_array_size(columns_of(k)) == 0)
		return rc ? rc : k8s_cell_age(cells, jpath_str(obj, "metadata.creationTimestamp", NULL));
	json_array_foreach(columns_of(k), i, c)
		rc = rc ? rc : custom_cell(cells, jpath_str(c, "type", "string"), json_path_first(obj, jpath_str(c, "jsonPath", "?")));
	return rc;
}

/* ---- OpenAPI ---- */

static json_t *version_2(const json_t *schema)
{
	static const char *const plain[] = {"type", "format", "description", "required", "enum", "default", "title"};
	json_t *out = json_object(), *v;
	const json_t *items = json_object_get(schema, "items"), *free_ones = json_object_get(schema, "additionalProperties");
	const char *key;
	if (!json_is_object(schema))
		return out;
	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
		if ((v = json_object_get(schema, plain[i])) && json_string_length(v) != 0)
			json_object_set(out, plain[i], v);
		else if (json_is_array(v))
			json_object_set(out, plain[i], v);
	json_object_foreach((json_t *)schema, key, v)
		if (!strncmp(key, "x-kubernetes-", 13))
			json_object_set(out, key, v);
	if (jpath_bool(schema, "x-kubernetes-preserve-unknown-fields", false) || jpath_bool(schema, "nullable", false) ||
	    jpath_bool(schema, "x-kubernetes-int-or-string", false)) {
		json_object_del(out, "type");    // anything goes, as far as version 2 can say
		return out;
	}
	if (items)
		json_object_set_new(out, "items", version_2(items));
	if (json_is_object(free_ones))
		json_object_set_new(out, "additionalProperties", version_2(free_ones));
	if (json_object_get(schema, "properties")) {
		json_t *properties = json_object();
		json_object_foreach(json_object_get(schema, "properties"), key, v)
			json_object_set_new(properties, key, version_2(v));
		json_object_set_new(out, "properties", properties);
	}
	return out;
}

json_t *k8s_custom_openapi(const struct k8s_kind *k, int v2, const char *meta_ref)
{
	const json_t *schema = jpath_get(k8s_custom_version(k), "schema.openAPIV3Schema");
	json_t *out = v2 ? version_2(schema) : schema ? json_deep_copy(schema) : json_object(), *properties;
	if (!json_is_object(json_object_get(out, "properties")))
		json_object_set_new(out, "properties", json_object());
	properties = json_object_get(out, "properties");
	json_object_set_new(out, "type", json_string("object"));
	json_object_set_new(properties, "apiVersion", json_pack("{s:s}", "type", "string"));
	json_object_set_new(properties, "kind", json_pack("{s:s}", "type", "string"));
	json_object_set_new(properties, "metadata", json_pack("{s:s}", "$ref", meta_ref));
	json_object_set_new(out, "x-kubernetes-group-version-kind", json_pack("[{s:s,s:s,s:s}]", "group", k->group, "version", k->version,
			    "kind", k->kind));
	return out;
}
