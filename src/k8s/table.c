// SPDX-License-Identifier: Apache-2.0
// Table output (kubectl get): the frame around the cells, and what the printers of the kinds share; see kind.h, table.h.
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "custom.h"
#include "kind.h"

static const struct k8s_column plain_columns[] = {
	{"Name", "string", "name", "Name of the object, unique among its kind in a namespace.", 0},
	{"Age", "string", "", "Time since the object was created.", 0},
	{NULL, NULL, NULL, NULL, 0},
};

char *k8s_duration_text(int64_t s, char out[K8S_AGE_MAX])
{
	long long v = s;
	if (v < -1)
		snprintf(out, K8S_AGE_MAX, "<invalid>");
	else if (v < 0)
		snprintf(out, K8S_AGE_MAX, "0s");
	else if (v < 60 * 2)
		snprintf(out, K8S_AGE_MAX, "%llds", v);
	else if (v < 60 * 10 && v % 60)
		snprintf(out, K8S_AGE_MAX, "%lldm%llds", v / 60, v % 60);
	else if (v < 60 * 60 * 3)
		snprintf(out, K8S_AGE_MAX, "%lldm", v / 60);
	else if (v < 3600 * 8 && v / 60 % 60)
		snprintf(out, K8S_AGE_MAX, "%lldh%lldm", v / 3600, v / 60 % 60);
	else if (v < 3600 * 48)
		snprintf(out, K8S_AGE_MAX, "%lldh", v / 3600);
	else if (v < 86400 * 8 && v / 3600 % 24)
		snprintf(out, K8S_AGE_MAX, "%lldd%lldh", v / 86400, v / 3600 % 24);
	else if (v < 86400ll * 365 * 2)
		snprintf(out, K8S_AGE_MAX, "%lldd", v / 86400);
	else if (v < 86400ll * 365 * 8 && v / 86400 % 365)
		snprintf(out, K8S_AGE_MAX, "%lldy%lldd", v / 86400 / 365, v / 86400 % 365);
	else
		snprintf(out, K8S_AGE_MAX, "%lldy", v / 86400 / 365);
	return out;
}

char *k8s_age_text(const char *time, char out[K8S_AGE_MAX])
{
	uint64_t then;
	if (!time || !*time) {
		snprintf(out, K8S_AGE_MAX, "<unknown>");
	} else if (clock_parse(time, &then)) {
		snprintf(out, K8S_AGE_MAX, "<invalid>");
	} else {
		int64_t ns = (int64_t)(clock_real_ns() - then);
		k8s_duration_text(ns < 0 ? (ns - (int64_t)NS_PER_S + 1) / (int64_t)NS_PER_S : ns / (int64_t)NS_PER_S, out);
	}
	return out;
}

int k8s_cell(json_t *cells, const char *text)
{
	return json_array_append_new(cells, json_string(text ? text : ""));
}

int k8s_cell_or(json_t *cells, const char *text, const char *none)
{
	return k8s_cell(cells, text && *text ? text : none);
}

int k8s_cell_int(json_t *cells, long long value)
{
	return json_array_append_new(cells, json_integer(value));
}

int k8s_cell_age(json_t *cells, const char *time)
{
	char text[K8S_AGE_MAX];
	return k8s_cell(cells, k8s_age_text(time, text));
}

int k8s_cell_buf(json_t *cells, struct buf *b, const char *none)
{
	int rc = k8s_cell_or(cells, b->data, none);
	buf_fini(b);
	return rc;
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char **sorted_keys(const json_t *object, size_t *count)
{
	size_t n = json_object_size(object), i = 0;
	const char **keys = calloc(n ? n : 1, sizeof(*keys));
	const char *key;
	json_t *value;
	*count = 0;
	if (!keys)
		return NULL;
	json_object_foreach((json_t *)object, key, value)
		keys[i++] = key;
	qsort(keys, n, sizeof(*keys), compare_keys);
	*count = n;
	return keys;
}

static void put_pairs(struct buf *b, const json_t *labels)
{
	size_t n;
	own_free const char **keys = sorted_keys(labels, &n);
	for (size_t i = 0; i < n; i++)
		buf_printf(b, "%s%s=%s", b->len ? "," : "", keys[i], jpath_str(json_object_get(labels, keys[i]), "", ""));
}

void k8s_put_labels(struct buf *b, const json_t *labels)
{
	if (json_object_size(labels) == 0)
		buf_puts(b, "<none>");
	else
		put_pairs(b, labels);
}

void k8s_put_selector(struct buf *b, const json_t *selector)
{
	size_t i, v;
	json_t *expr, *value;
	if (!selector) {
		buf_puts(b, "<none>");
		return;
	}
	put_pairs(b, json_object_get(selector, "matchLabels"));
	json_array_foreach(json_object_get(selector, "matchExpressions"), i, expr) {
		const char *op = jpath_str(expr, "operator", ""), *key = jpath_str(expr, "key", "");
		bool absent = !strcmp(op, "DoesNotExist");
		buf_printf(b, "%s%s%s", b->len ? "," : "", absent ? "!" : "", key);
		if (absent || !strcmp(op, "Exists"))
			continue;
		buf_printf(b, " %s (", !strcmp(op, "In") ? "in" : "notin");
		json_array_foreach(json_object_get(expr, "values"), v, value)
			buf_printf(b, "%s%s", v ? "," : "", jpath_str(value, "", ""));
		buf_puts(b, ")");
	}
	if (b->len == 0)
		buf_puts(b, "<none>");
}

int k8s_cells_from(json_t *cells, const json_t *obj, const struct k8s_cell_path *list)
{
	int rc = 0;
	for (const struct k8s_cell_path *c = list; !rc && c->type != CELL_END; c++) {
		switch (c->type) {
		case CELL_STR: rc = k8s_cell_or(cells, jpath_str(obj, c->path, NULL), c->none); break;
		case CELL_INT: rc = k8s_cell_int(cells, jpath_int(obj, c->path, 0)); break;
		case CELL_AGE: rc = k8s_cell_age(cells, jpath_str(obj, c->path, NULL)); break;
		case CELL_BOOL: rc = json_array_append_new(cells, json_boolean(jpath_bool(obj, c->path, false))); break;
		case CELL_QUOTED_BOOL: rc = k8s_cell(cells, jpath_bool(obj, c->path, false) ? "true" : "false"); break;
		default: rc = -1;
		}
	}
	return rc;
}

static int cell_joined(json_t *cells, const json_t *list, const char *member)
{
	struct buf b = BUF_INIT;
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item)
		buf_printf(&b, "%s%s", i ? "," : "", jpath_str(item, member, ""));
	return k8s_cell_buf(cells, &b, "");
}

int k8s_cell_containers(json_t *cells, const json_t *pod_spec)
{
	return cell_joined(cells, json_object_get(pod_spec, "containers"), "name");
}

int k8s_cell_images(json_t *cells, const json_t *pod_spec)
{
	return cell_joined(cells, json_object_get(pod_spec, "containers"), "image");
}

int k8s_cell_selector(json_t *cells, const json_t *selector)
{
	struct buf b = BUF_INIT;
	k8s_put_selector(&b, selector);
	return k8s_cell_buf(cells, &b, "");
}

int k8s_cell_labels(json_t *cells, const json_t *labels)
{
	struct buf b = BUF_INIT;
	k8s_put_labels(&b, labels);
	return k8s_cell_buf(cells, &b, "");
}

static int plain_cells(const json_t *obj, json_t *cells)
{
	int rc = k8s_cell(cells, jpath_str(obj, "metadata.name", ""));
	return rc ? rc : k8s_cell_age(cells, jpath_str(obj, "metadata.creationTimestamp", NULL));
}

static json_t *column_definitions(const struct k8s_column *columns)
{
	json_t *list = json_array();
	for (const struct k8s_column *c = columns; c->name; c++)
		json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:i}", "name", c->name, "type", c->type, "format", c->format,
						      "description", c->description, "priority", c->priority));
	return list;
}

static json_t *row_object(const json_t *obj, const char *include)
{
	if (!strcmp(include, "Object"))
		return json_incref((json_t *)obj);
	return json_pack("{s:s,s:s,s:O?}", "kind", "PartialObjectMetadata", "apiVersion", "meta.k8s.io/v1", "metadata",
			 json_object_get(obj, "metadata"));
}

/* Cells are made from the stored form of an object. */
static int append_cells(const struct k8s_kind *k, const json_t *obj, json_t *cells)
{
	if (k->custom)
		return k8s_custom_cells(k, obj, cells);
	if (!k->columns || !k->cells)
		return plain_cells(obj, cells);
	if (!k->to_stored)
		return k->cells(obj, cells);
	own_json json_t *copy = json_deep_copy(obj);
	if (!copy)
		return -1;
	k->to_stored(copy);
	return k->cells(copy, cells);
}

json_t *k8s_table(const struct k8s_kind *k, const json_t *objects, const char *include, const char *resource_version,
		  const char *continue_token)
{
	bool own = k->columns && k->cells;
	json_t *rows = json_array(), *obj, *meta = json_object();
	size_t i;
	json_array_foreach(objects, i, obj) {
		json_t *cells = json_array();
		json_t *row = json_pack("{s:o}", "cells", cells);
		if (!row || append_cells(k, obj, cells)) {
			json_decref(row);
			json_decref(rows);
			json_decref(meta);
			return NULL;
		}
		if (!include || strcmp(include, "None"))
			json_object_set_new(row, "object", row_object(obj, include ? include : "Metadata"));
		json_array_append_new(rows, row);
	}
	if (resource_version)
		json_object_set_new(meta, "resourceVersion", json_string(resource_version));
	if (continue_token && *continue_token)
		json_object_set_new(meta, "continue", json_string(continue_token));
	return json_pack("{s:s,s:s,s:o,s:o,s:o}", "kind", "Table", "apiVersion", "meta.k8s.io/v1", "metadata", meta,
			 "columnDefinitions", k->custom ? k8s_custom_columns(k) : column_definitions(own ? k->columns : plain_columns), "rows", rows);
}
