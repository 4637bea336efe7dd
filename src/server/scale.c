// SPDX-License-Identifier: Apache-2.0
#include "server/scale.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/custom.h"
#include "k8s/schema.h"
#include "k8s/schema_types.h"
#include "server/api.h"
#include "server/api_write.h"
#include "server/status.h"

#define PARTS_MAX 256   // requirements of a selector, values of one of them

static const struct k8s_kind scale_kind = { .group = "autoscaling", .version = "v1", .kind = "Scale", .list_kind = "ScaleList",
					    .plural = "scales", .singular = "scale", .namespaced = true,
					    .schema = &k8s_autoscaling1_Scale };

/* --- selectors as text, sorted by key --- */

static int by_key(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;

	return strcmp(x + (*x == '!'), y + (*y == '!'));
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "key in (a,b)", "key notin (a)", "key", "!key"; NULL: no memory. */
static char *expression_text(const json_t *e)
{
	const char *op = jpath_str(e, "operator", ""), *key = jpath_str(e, "key", ""), *values[PARTS_MAX];
	own_buf struct buf b = BUF_INIT;
	json_t *list = json_object_get(e, "values"), *v;
	size_t i, n = 0;

	json_array_foreach(list, i, v)
		if (n < PARTS_MAX && json_is_string(v))
			values[n++] = json_string_value(v);
	if (!strcmp(op, "Exists") || !strcmp(op, "DoesNotExist")) {
		buf_printf(&b, "%s%s", *op == 'D' ? "!" : "", key);
		return buf_take(&b);
	}
	qsort(values, n, sizeof *values, by_text);
	buf_printf(&b, "%s %s (", key, !strcmp(op, "In") ? "in" : "notin");
	for (i = 0; i < n; i++)
		buf_printf(&b, "%s%s", i ? "," : "", values[i]);
	buf_puts(&b, ")");
	return buf_take(&b);
}

int scale_selector_text(const json_t *selector, struct buf *out)
{
	json_t *expressions = json_object_get(selector, "matchExpressions"), *labels = json_object_get(selector, "matchLabels"), *v;
	bool plain = !json_is_object(labels) && !json_is_array(expressions);
	char *parts[PARTS_MAX];
	const char *key;
	size_t i, n = 0;
	int r = buf_puts(out, "");

	json_object_foreach(plain ? (json_t *)selector : labels, key, v) {
		struct buf b = BUF_INIT;
		if (n < PARTS_MAX && !buf_printf(&b, "%s=%s", key, json_string_value(v) ? json_string_value(v) : ""))
			parts[n++] = buf_take(&b);
	}
	json_array_foreach(expressions, i, v)
		if (n < PARTS_MAX && (parts[n] = expression_text(v)))
			n++;
	qsort(parts, n, sizeof *parts, by_key);
	for (i = 0; i < n; i++) {
		if (!r)
			r = buf_printf(out, "%s%s", i ? "," : "", parts[i]);
		free(parts[i]);
	}
	return r;
}

/* --- an object's scale --- */

/* Where a kind keeps them. */
struct scale_paths { char replicas[256], status[256], selector[256]; };

/* ".spec.replicas" -> "spec.replicas" */
static void copy_path(char out[256], const json_t *scale, const char *key)
{
	const char *path = jpath_str(scale, key, "");

	snprintf(out, 256, "%s", path + (*path == '.'));
}

static struct scale_paths paths_of(const struct k8s_kind *k)
{
	struct scale_paths p = { "spec.replicas", "status.replicas", "spec.selector" };
	const json_t *scale = k->custom ? jpath_get(k8s_custom_version(k), "subresources.scale") : NULL;

	if (k->custom) {
		copy_path(p.replicas, scale, "specReplicasPath");
		copy_path(p.status, scale, "statusReplicasPath");
		copy_path(p.selector, scale, "labelSelectorPath");
	}
	return p;
}

/* As text: custom resources keep it so. */
static int put_selector(const json_t *obj, const struct scale_paths *p, struct buf *out)
{
	const json_t *selector = *p->selector ? jpath_get(obj, p->selector) : NULL;

	return json_is_string(selector) ? buf_puts(out, json_string_value(selector)) : scale_selector_text(selector, out);
}

json_t *scale_of(const struct k8s_kind *k, const json_t *obj)
{
	const struct scale_paths p = paths_of(k);
	static const char *const kept[] = { "name", "namespace", "uid", "resourceVersion", "creationTimestamp" };
	own_buf struct buf selector = BUF_INIT;
	json_t *meta = json_object(), *status;

	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
		json_object_set(meta, kept[i], json_object_get(json_object_get(obj, "metadata"), kept[i]));
	status = json_pack("{s:I}", "replicas", (json_int_t)jpath_int(obj, p.status, 0));
	if (!put_selector(obj, &p, &selector) && selector.len)
		json_object_set_new(status, "selector", json_string(selector.data));
	return json_pack("{s:s,s:s,s:o,s:{s:I},s:o}", "kind", "Scale", "apiVersion", "autoscaling/v1", "metadata", meta, "spec",
			 "replicas", (json_int_t)jpath_int(obj, p.replicas, k->custom ? 0 : 1), "status", status);
}

int scale_set(const struct k8s_kind *k, json_t *obj, long long replicas)
{
	const struct scale_paths p = paths_of(k);

	return jpath_set(obj, p.replicas, json_integer(replicas));
}

static void reply_scale(struct request *r, const struct k8s_kind *k, struct obj *o)
{
	own_json json_t *j = api_object(k, o);

	if (j)
		reply_json(r, 200, scale_of(k, j));
	else
		reply_status(r, status_errno(-ENOMEM));
}

void scale_get(struct request *r, const struct k8s_kind *k)
{
	char key[REG_KEY_MAX];
	own_obj struct obj *o = store_get(r->srv->store, reg_key(k, r->route.ns, r->route.name, key));

	if (o)
		reply_scale(r, k, o);
	else
		reply_status(r, status_not_found(k, r->route.name));
}

/* --- changing it --- */

static json_t *check_scale(const struct reg_write *reg, json_t *scale)
{
	const char *version = jpath_str(scale, "apiVersion", ""), *kind = jpath_str(scale, "kind", "");
	const char *name = jpath_str(scale, "metadata.name", "");
	char text[128];
	long long replicas;
	struct err e = ERR_INIT;

	if (!*version && !*kind)   // as the path says
		json_object_set_new(scale, "apiVersion", json_string(version = "autoscaling/v1")),
		json_object_set_new(scale, "kind", json_string(kind = "Scale"));
	if (strcmp(version, "autoscaling/v1") || strcmp(kind, "Scale"))
		return status_bad_request("the object provided must be a Scale in version autoscaling/v1, not a \"%.64s\" in version "
					  "\"%.64s\"", kind, version);
	if (k8s_decode_schema(&k8s_autoscaling1_Scale, "v1", "Scale", scale, NULL, &e))
		return status_bad_request("%s", e.text);
	if (*name && strcmp(name, reg->name))
		return status_bad_request("the name of the object (%s) does not match the name on the URL (%s)", name, reg->name);
	replicas = jpath_int(scale, "spec.replicas", 0);
	if (replicas < 0) {
		snprintf(text, sizeof text, "Invalid value: %lld: must be greater than or equal to 0", replicas);
		return status_cause(status_about(422, "Invalid", &scale_kind, reg->name, "Scale.autoscaling \"%s\" is invalid: "
						 "spec.replicas: %s", reg->name, text), "FieldValueInvalid", text, "spec.replicas");
	}
	return NULL;
}

/* uid and resourceVersion of the Scale are demands on the object; metadata rules check them. */
static json_t *apply_scale(const struct k8s_kind *k, const json_t *cur, const json_t *scale, json_t **next)
{
	static const char *const demands[] = { "uid", "resourceVersion" };

	*next = json_deep_copy(cur);
	if (!*next || scale_set(k, *next, jpath_int(scale, "spec.replicas", 0)))
		return status_errno(-ENOMEM);
	for (size_t i = 0; i < sizeof demands / sizeof *demands; i++) {
		json_t *v = json_object_get(json_object_get(scale, "metadata"), demands[i]);
		if (v && json_object_set(json_object_get(*next, "metadata"), demands[i], v))
			return status_errno(-ENOMEM);
	}
	return NULL;
}

static json_t *make_scaled(struct reg_write *reg, const json_t *cur, json_t **next)
{
	struct api_write *w = reg->user;
	own_json json_t *scale = json_deep_copy(w->body);
	json_t *s = check_scale(reg, scale);

	return s ? s : apply_scale(reg->kind, cur, scale, next);
}

static json_t *make_patched(struct reg_write *reg, const json_t *cur, json_t **next)
{
	struct api_write *w = reg->user;
	own_json json_t *before = scale_of(reg->kind, cur), *scale = NULL;
	json_t *s = api_write_patched(w, &scale_kind, before, &scale);

	if (!s)
		s = check_scale(reg, scale);
	return s ? s : apply_scale(reg->kind, cur, scale, next);
}

static void reply_written(struct request *r, struct api_write *w)
{
	reply_scale(r, w->reg.kind, w->reg.out);
}

void scale_update(struct request *r, const struct k8s_kind *k)
{
	struct api_write *w = api_write_new(r, k, REG_UPDATE);

	if (!w || !api_write_body(r, w))
		return;
	w->reg.make = make_scaled;
	w->reply = reply_written;
	api_write_run(r, w);
}

void scale_patch(struct request *r, const struct k8s_kind *k)
{
	struct api_write *w = api_write_new(r, k, REG_UPDATE);

	if (!w || !api_write_patch_body(r, w))
		return;
	if (w->patch == PATCH_APPLY) {
		reply_status(r, status_new(415, "UnsupportedMediaType", "scale takes no apply patch; apply to the object itself, or use "
					   "application/merge-patch+json"));
		return;
	}
	w->reg.make = make_patched;
	w->reply = reply_written;
	api_write_run(r, w);
}
