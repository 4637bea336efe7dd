// SPDX-License-Identifier: Apache-2.0
// OpenAPI documents; see openapi.h. Definitions follow the tables of fields; paths say which verbs a kind has and that
// they take dryRun, fieldManager and fieldValidation, which is how clients find out.
#include "openapi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "custom.h"
#include "descriptions.h"
#include "kind.h"
#include "schema.h"
#include "schema_types.h"

#define META "io.k8s.apimachinery.pkg.apis.meta.v1."
#define GVK "x-kubernetes-group-version-kind"

struct maker {
	bool v3;
	json_t *definitions;   // borrowed
};

/* Types that are no objects of fields. */
static const struct plain_type {
	enum k8s_type type;
	const char *name, *json_type, *format;
} plain_types[] = {
	{K8S_QUANTITY, "io.k8s.apimachinery.pkg.api.resource.Quantity", "string", NULL},
	{K8S_TIME, META "Time", "string", "date-time"},
	{K8S_MICRO_TIME, META "MicroTime", "string", "date-time"},
	{K8S_INT_OR_STRING, "io.k8s.apimachinery.pkg.util.intstr.IntOrString", "string", "int-or-string"},
};

static json_t *reference(const struct maker *m, const char *name)
{
	return json_pack("{s:o}", "$ref", json_sprintf("#/%s/%s", m->v3 ? "components/schemas" : "definitions", name));
}

static json_t *typed(const char *type, const char *format)
{
	return json_pack("{s:s,s:s*}", "type", type, "format", format);
}

static void define(struct maker *m, const struct k8s_schema *s);

static json_t *value_type(struct maker *m, const struct k8s_field *f)
{
	switch (f->type) {
	case K8S_STRING: return typed("string", NULL);
	case K8S_BYTES: return typed("string", "byte");
	case K8S_INT32: return typed("integer", "int32");
	case K8S_INT64: return typed("integer", "int64");
	case K8S_DOUBLE: return typed("number", "double");
	case K8S_BOOL: return typed("boolean", NULL);
	case K8S_STRING_LIST: return json_pack("{s:s,s:o}", "type", "array", "items", typed("string", NULL));
	case K8S_OBJECT:
		define(m, f->of);
		return reference(m, f->of->name);
	case K8S_ANY: return json_pack("{s:s}", "description", "Any JSON value.");   // empty ones are taken for absent
	default: break;
	}
	for (size_t i = 0; i < sizeof(plain_types) / sizeof(*plain_types); i++)
		if (plain_types[i].type == f->type) {
			const struct plain_type *p = &plain_types[i];
			if (!json_object_get(m->definitions, p->name))
				json_object_set_new(m->definitions, p->name, typed(p->json_type, p->format));
			return reference(m, p->name);
		}
	return json_object();
}

static json_t *split(const char *keys)
{
	json_t *list = json_array();
	for (size_t n; *keys; keys += n + (keys[n] == ',')) {
		n = strcspn(keys, ",");
		json_array_append_new(list, json_stringn(keys, n));
	}
	return list;
}

static void add_extensions(const struct k8s_field *f, json_t *out)
{
	const char *merge = f->merge_key || f->merge_list ? "merge" : f->replace ? "replace" : NULL;
	if (f->keys) {
		json_object_set_new(out, "x-kubernetes-list-type", json_string("map"));
		json_object_set_new(out, "x-kubernetes-list-map-keys", split(f->keys));
	} else if (f->shape == K8S_LIST && (f->atomic || f->set)) {
		json_object_set_new(out, "x-kubernetes-list-type", json_string(f->set ? "set" : "atomic"));
	} else if (f->atomic) {
		json_object_set_new(out, "x-kubernetes-map-type", json_string("atomic"));
	}
	if (f->merge_key)
		json_object_set_new(out, "x-kubernetes-patch-merge-key", json_string(f->merge_key));
	if (merge || f->retain_keys)
		json_object_set_new(out, "x-kubernetes-patch-strategy", json_sprintf("%s%s%s", merge ? merge : "",
				    merge && f->retain_keys ? "," : "", f->retain_keys ? "retainKeys" : ""));
}

static json_t *field_type(struct maker *m, const struct k8s_field *f)
{
	json_t *out = value_type(m, f);
	if (f->shape == K8S_LIST)
		out = json_pack("{s:s,s:o}", "type", "array", "items", out);
	else if (f->shape == K8S_MAP)
		out = json_pack("{s:s,s:o}", "type", "object", "additionalProperties", out);
	/* Beside a reference nothing else may stand in version 3. */
	if (!m->v3 || f->shape != K8S_ONE)
		add_extensions(f, out);
	return out;
}

/* In version 3 a reference stands alone: the text goes around it. */
static json_t *described(const struct maker *m, json_t *type, const char *text)
{
	if (!text)
		return type;
	if (m->v3 && json_object_get(type, "$ref"))
		type = json_pack("{s:[o]}", "allOf", type);
	json_object_set_new(type, "description", json_string(text));
	return type;
}

static void define(struct maker *m, const struct k8s_schema *s)
{
	if (json_object_get(m->definitions, s->name))
		return;
	json_t *out = json_pack("{s:s}", "type", "object"), *properties = json_object(), *required = json_array();
	json_object_set_new(m->definitions, s->name, out);   // before the fields: types may be recursive
	for (size_t i = 0; i < s->count; i++) {
		const struct k8s_field *f = &s->fields[i];
		json_object_set_new(properties, f->name, described(m, field_type(m, f), k8s_description(s->name, f->name)));
		if (s->fields[i].required)
			json_array_append_new(required, json_string(s->fields[i].name));
	}
	described(m, out, k8s_description(s->name, NULL));
	json_object_set_new(out, "properties", properties);
	if (json_array_size(required))
		json_object_set(out, "required", required);
	json_decref(required);
	if (s->atomic)
		json_object_set_new(out, "x-kubernetes-map-type", json_string("atomic"));
}

static json_t *gvk_of(const char *group, const char *version, const char *kind)
{
	return json_pack("{s:s,s:s,s:s}", "group", group, "version", version, "kind", kind);
}

static void add_gvk(struct maker *m, const char *definition, json_t *gvk)
{
	json_t *d = json_object_get(m->definitions, definition), *list = json_object_get(d, GVK);
	if (!list) {
		list = json_array();
		json_object_set_new(d, GVK, list);
	}
	json_array_append_new(list, gvk);
}

/* The list of a kind: PodList with items, metadata. */
static void define_list(struct maker *m, const struct k8s_kind *k, const char *item)
{
	own_free char *name = NULL;
	if (asprintf(&name, "%sList", item) < 0)
		name = NULL;
	if (!name)
		return;
	define(m, &k8s_meta_ListMeta);
	if (!json_object_get(m->definitions, name))
		json_object_set_new(m->definitions, name, json_pack("{s:s,s:[s],s:{s:o,s:o,s:{s:s,s:o},s:o}}", "type", "object", "required",
				    "items", "properties", "apiVersion", typed("string", NULL), "kind", typed("string", NULL), "items",
				    "type", "array", "items", reference(m, item), "metadata", reference(m, META "ListMeta")));
	add_gvk(m, name, gvk_of(k->group, k->version, k->list_kind));
}

/* "com.example.v1.Foo" of group example.com. */
static void custom_name(const struct k8s_kind *k, char *out, size_t size)
{
	size_t n = 0;
	out[0] = '\0';
	for (const char *end = k->group + strlen(k->group); end > k->group && n < size;) {
		const char *start = end;
		while (start > k->group && start[-1] != '.')
			start--;
		n += (size_t)snprintf(out + n, size - n, "%.*s.", (int)(end - start), start);
		end = start > k->group ? start - 1 : start;
	}
	if (n < size)
		snprintf(out + n, size - n, "%s.%s", k->version, k->kind);
}

static void define_kind(struct maker *m, const struct k8s_kind *k, char *name, size_t size)
{
	if (k->custom) {
		custom_name(k, name, size);
		own_json json_t *meta = reference(m, META "ObjectMeta");
		define(m, &k8s_meta_ObjectMeta);
		json_object_set_new(m->definitions, name, k8s_custom_openapi(k, !m->v3, jpath_str(meta, "$ref", "")));
	} else {
		snprintf(name, size, "%s", k->schema->name);
		define(m, k->schema);
		add_gvk(m, name, gvk_of(k->group, k->version, k->kind));
	}
	if (k8s_kind_has_verb(k, "list"))
		define_list(m, k, name);
	define(m, &k8s_meta_DeleteOptions);
	/* Each group and version has its own DeleteOptions by name; say so once. */
	json_t *gvks = json_object_get(json_object_get(m->definitions, k8s_meta_DeleteOptions.name), GVK), *gvk;
	size_t i;
	json_array_foreach(gvks, i, gvk)
		if (!strcmp(jpath_str(gvk, "group", ""), k->group) && !strcmp(jpath_str(gvk, "version", ""), k->version))
			return;
	add_gvk(m, k8s_meta_DeleteOptions.name, gvk_of(k->group, k->version, "DeleteOptions"));
}

/* ---- paths ---- */

static json_t *parameter(const struct maker *m, const char *name, const char *in, const char *type)
{
	json_t *p = json_pack("{s:s,s:s}", "name", name, "in", in);
	if (!strcmp(in, "path"))
		json_object_set_new(p, "required", json_true());
	if (m->v3)
		json_object_set_new(p, "schema", typed(type, NULL));
	else
		json_object_set_new(p, "type", json_string(type));
	return p;
}

static json_t *operation(const struct maker *m, const struct k8s_kind *k, const char *verb, const char *definition)
{
	static const char *const options[][3] = {   // name, type, verbs
		{"dryRun", "string", "post put patch delete"}, {"fieldManager", "string", "post put patch"},
		{"fieldValidation", "string", "post put patch"}, {"force", "boolean", "patch"}, {"gracePeriodSeconds", "integer", "delete"},
		{"propagationPolicy", "string", "delete"}, {"labelSelector", "string", "list"}, {"fieldSelector", "string", "list"},
		{"limit", "integer", "list"}, {"continue", "string", "list"}, {"watch", "boolean", "list"}};
	json_t *parameters = json_array(), *response = json_pack("{s:s}", "description", "OK");
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (strstr(options[i][2], verb))
			json_array_append_new(parameters, parameter(m, options[i][0], "query", options[i][1]));
	bool body = !strcmp(verb, "post") || !strcmp(verb, "put");
	json_t *op = json_pack("{s:s,s:o}", "x-kubernetes-action", verb, GVK, gvk_of(k->group, k->version, k->kind));
	if (definition && m->v3) {
		json_object_set_new(response, "content", json_pack("{s:{s:o}}", "application/json", "schema", reference(m, definition)));
		if (body)
			json_object_set_new(op, "requestBody", json_pack("{s:{s:{s:o}}}", "content", "*/*", "schema", reference(m, definition)));
	} else if (definition) {
		json_object_set_new(response, "schema", reference(m, definition));
		if (body)
			json_array_append_new(parameters, json_pack("{s:s,s:s,s:b,s:o}", "name", "body", "in", "body", "required", 1,
								    "schema", reference(m, definition)));
	}
	json_object_set_new(op, "parameters", parameters);
	json_object_set_new(op, "responses", json_pack("{s:o}", "200", response));
	return op;
}

static json_t *path_item(const struct maker *m, bool ns, bool name)
{
	json_t *parameters = json_array();
	if (ns)
		json_array_append_new(parameters, parameter(m, "namespace", "path", "string"));
	if (name)
		json_array_append_new(parameters, parameter(m, "name", "path", "string"));
	return json_pack("{s:o}", "parameters", parameters);
}

static void add_paths(const struct maker *m, const struct k8s_kind *k, const char *definition, json_t *paths)
{
	static const char *const item_verbs[][2] = {{"get", "get"}, {"update", "put"}, {"patch", "patch"}, {"delete", "delete"}};
	char base[300], collection[600], item[640];
	snprintf(base, sizeof(base), "/%s%s%s/%s", *k->group ? "apis" : "api", *k->group ? "/" : "", k->group, k->version);
	snprintf(collection, sizeof(collection), "%s/%s%s", base, k->namespaced ? "namespaces/{namespace}/" : "", k->plural);
	snprintf(item, sizeof(item), "%s/{name}", collection);
	json_t *all = path_item(m, k->namespaced, false), *one = path_item(m, k->namespaced, true);
	if (k8s_kind_has_verb(k, "create"))
		json_object_set_new(all, "post", operation(m, k, "post", definition));
	if (k8s_kind_has_verb(k, "list")) {
		own_json json_t *list = operation(m, k, "list", NULL);
		json_object_set(all, "get", list);
		if (k->namespaced) {
			char everywhere[600];
			snprintf(everywhere, sizeof(everywhere), "%s/%s", base, k->plural);
			json_object_set_new(paths, everywhere, json_pack("{s:O}", "get", list));
		}
	}
	if (k8s_kind_has_verb(k, "deletecollection"))
		json_object_set_new(all, "delete", operation(m, k, "delete", NULL));
	for (size_t v = 0; v < 4; v++)
		if (k8s_kind_has_verb(k, item_verbs[v][0]))
			json_object_set_new(one, item_verbs[v][1], operation(m, k, item_verbs[v][1], v < 2 ? definition : NULL));
	json_object_set_new(paths, collection, all);
	if (json_object_size(one) > 1)
		json_object_set_new(paths, item, one);
	else
		json_decref(one);
}

/* ---- documents ---- */

struct filling {
	struct maker *m;
	const char *group, *version;   // NULL: all
	json_t *paths;                 // borrowed
	size_t used;
};

static void fill_one(void *user, const struct k8s_kind *k)
{
	struct filling *f = user;
	char name[600];
	if (f->group && (strcmp(k->group, f->group) || strcmp(k->version, f->version)))
		return;
	define_kind(f->m, k, name, sizeof(name));
	add_paths(f->m, k, name, f->paths);
	f->used++;
}

static void each_kind(void (*fn)(void *user, const struct k8s_kind *k), void *user)
{
	size_t n;
	const struct k8s_kind *rows = k8s_kinds(&n);
	for (size_t i = 0; i < n; i++)
		fn(user, &rows[i]);
	k8s_custom_each(fn, user);
}

/* group NULL: all. Returns the number of kinds. */
static size_t fill(struct maker *m, const char *group, const char *version, json_t *paths)
{
	struct filling f = {.m = m, .group = group, .version = version, .paths = paths};
	each_kind(fill_one, &f);
	return f.used;
}

static json_t *info(void)
{
	return json_pack("{s:s,s:s}", "title", "Bulkhead", "version", BULKHEAD_VERSION);
}

json_t *k8s_openapi_v2(void)
{
	own_json json_t *definitions = json_object(), *paths = json_object();
	struct maker m = {.v3 = false, .definitions = definitions};
	fill(&m, NULL, NULL, paths);
	define(&m, &k8s_meta_Status);
	define(&m, &k8s_autoscaling1_Scale);
	define(&m, &k8s_policy_Eviction);
	define(&m, &k8s_authentication_TokenRequest);
	add_gvk(&m, k8s_meta_Status.name, gvk_of("", "v1", "Status"));
	add_gvk(&m, k8s_autoscaling1_Scale.name, gvk_of("autoscaling", "v1", "Scale"));
	add_gvk(&m, k8s_policy_Eviction.name, gvk_of("policy", "v1", "Eviction"));
	add_gvk(&m, k8s_authentication_TokenRequest.name, gvk_of("authentication.k8s.io", "v1", "TokenRequest"));
	return json_pack("{s:s,s:o,s:O,s:O}", "swagger", "2.0", "info", info(), "paths", paths, "definitions", definitions);
}

json_t *k8s_openapi_v3(const char *group, const char *version)
{
	own_json json_t *definitions = json_object(), *paths = json_object();
	struct maker m = {.v3 = true, .definitions = definitions};
	if (!fill(&m, group, version, paths))
		return NULL;
	return json_pack("{s:s,s:o,s:O,s:{s:O}}", "openapi", "3.0.0", "info", info(), "paths", paths, "components", "schemas",
			 definitions);
}

static void index_one(void *user, const struct k8s_kind *k)
{
	json_t *paths = user;
	char path[300];
	snprintf(path, sizeof(path), "%s%s%s/%s", *k->group ? "apis" : "api", *k->group ? "/" : "", k->group, k->version);
	if (!json_object_get(paths, path))   // the hash changes whenever custom kinds do
		json_object_set_new(paths, path, json_pack("{s:o}", "serverRelativeURL", json_sprintf("/openapi/v3/%s?hash=%s-%lX", path,
				    BULKHEAD_VERSION, k->custom ? k8s_kinds_generation() : 0ul)));
}

json_t *k8s_openapi_v3_index(void)
{
	json_t *paths = json_object();
	each_kind(index_one, paths);
	return json_pack("{s:o}", "paths", paths);
}
