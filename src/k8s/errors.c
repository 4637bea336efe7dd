// SPDX-License-Identifier: Apache-2.0
// Validation failures and the Status object made of them; see kind.h and validate.h.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "base/own.h"
#include "kind.h"
#include "validate.h"

struct failure {
	const char *type;    // static
	char *field, *text;
};

/* Failures beyond the limit are counted, not kept: a hostile object can have a million wrong labels. */
#define FAILURES_MAX 64

struct k8s_errors {
	struct failure *list;
	size_t count;      // kept
	size_t total;
};

struct k8s_errors *k8s_errors_new(void)
{
	return calloc(1, sizeof(struct k8s_errors));
}

void k8s_errors_free(struct k8s_errors *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->count; i++) {
		free(e->list[i].field);
		free(e->list[i].text);
	}
	free(e->list);
	free(e);
}

size_t k8s_errors_count(const struct k8s_errors *e)
{
	return e->total;
}

/* Takes field and text. */
static void add(struct k8s_errors *e, const char *type, char *field, char *text)
{
	struct failure *list = NULL;
	e->total++;
	if (field && text && e->count < FAILURES_MAX)
		list = reallocarray(e->list, e->count + 1, sizeof(*list));
	if (!list) {
		free(field);
		free(text);
		return;
	}
	e->list = list;
	list[e->count++] = (struct failure){type, field, text};
}

void k8s_errors_add(struct k8s_errors *e, const char *type, const char *field, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	add(e, type, strdup(field), text);
}

int k8s_path_text(const struct k8s_path *path, struct buf *out)
{
	int rc = path->up ? k8s_path_text(path->up, out) : 0;
	if (rc || (!path->up && !path->name && !path->key))
		return rc;
	if (path->name)
		return buf_printf(out, "%s%s", out->len ? "." : "", path->name);
	return path->key ? buf_printf(out, "[%s]", path->key) : buf_printf(out, "[%zu]", path->index);
}

/* Takes what is in text. */
static void add_at(struct k8s_errors *e, const char *type, const struct k8s_path *path, struct buf *text)
{
	struct buf field = BUF_INIT;
	if (k8s_path_text(path, &field))
		buf_fini(&field);
	add(e, type, buf_take(&field), buf_take(text));
}

static void put_detail(struct buf *b, const char *fmt, va_list ap)
{
	own_free char *detail = NULL;
	if (vasprintf(&detail, fmt, ap) < 0)
		detail = NULL;
	buf_printf(b, ": %s", detail ? detail : "");
}

static void put_value(struct buf *b, const json_t *value)
{
	own_free char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	buf_puts(b, text ? text : "null");
}

void k8s_required(struct k8s_errors *e, const struct k8s_path *path, const char *detail)
{
	struct buf b = BUF_INIT;
	buf_puts(&b, "Required value");
	if (detail)
		buf_printf(&b, ": %s", detail);
	add_at(e, "FieldValueRequired", path, &b);
}

void k8s_invalid(struct k8s_errors *e, const struct k8s_path *path, const json_t *value, const char *fmt, ...)
{
	struct buf b = BUF_INIT;
	va_list ap;
	va_start(ap, fmt);
	buf_puts(&b, "Invalid value: ");
	put_value(&b, value);
	put_detail(&b, fmt, ap);
	va_end(ap);
	add_at(e, "FieldValueInvalid", path, &b);
}

void k8s_invalid_str(struct k8s_errors *e, const struct k8s_path *path, const char *value, const char *fmt, ...)
{
	struct buf b = BUF_INIT;
	own_json json_t *v = json_string(value);
	va_list ap;
	va_start(ap, fmt);
	buf_puts(&b, "Invalid value: ");
	put_value(&b, v);
	put_detail(&b, fmt, ap);
	va_end(ap);
	add_at(e, "FieldValueInvalid", path, &b);
}

void k8s_forbidden(struct k8s_errors *e, const struct k8s_path *path, const char *fmt, ...)
{
	struct buf b = BUF_INIT;
	va_list ap;
	va_start(ap, fmt);
	buf_puts(&b, "Forbidden");
	put_detail(&b, fmt, ap);
	va_end(ap);
	add_at(e, "FieldValueForbidden", path, &b);
}

void k8s_duplicate(struct k8s_errors *e, const struct k8s_path *path, const json_t *value)
{
	struct buf b = BUF_INIT;
	buf_puts(&b, "Duplicate value: ");
	put_value(&b, value);
	add_at(e, "FieldValueDuplicate", path, &b);
}

void k8s_duplicate_str(struct k8s_errors *e, const struct k8s_path *path, const char *value)
{
	own_json json_t *v = json_string(value);
	k8s_duplicate(e, path, v);
}

void k8s_not_found(struct k8s_errors *e, const struct k8s_path *path, const char *value)
{
	struct buf b = BUF_INIT;
	own_json json_t *v = json_string(value);
	buf_puts(&b, "Not found: ");
	put_value(&b, v);
	add_at(e, "FieldValueNotFound", path, &b);
}

void k8s_too_long(struct k8s_errors *e, const struct k8s_path *path, size_t max_bytes)
{
	struct buf b = BUF_INIT;
	buf_printf(&b, "Too long: may not be more than %zu bytes", max_bytes);
	add_at(e, "FieldValueTooLong", path, &b);
}

void k8s_too_many(struct k8s_errors *e, const struct k8s_path *path, size_t have, size_t max)
{
	struct buf b = BUF_INIT;
	buf_printf(&b, "Too many: %zu: must have at most %zu items", have, max);
	add_at(e, "FieldValueTooMany", path, &b);
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void not_supported(struct k8s_errors *e, const struct k8s_path *path, const char *value, const char *const *allowed)
{
	const char *sorted[32];
	size_t n = 0;
	struct buf b = BUF_INIT;
	own_json json_t *v = json_string(value);
	while (n < 32 && allowed[n]) {
		sorted[n] = allowed[n];
		n++;
	}
	qsort(sorted, n, sizeof(*sorted), compare_text);
	buf_puts(&b, "Unsupported value: ");
	put_value(&b, v);
	buf_puts(&b, ": supported values: ");
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s\"%s\"", i ? ", " : "", sorted[i]);
	add_at(e, "FieldValueNotSupported", path, &b);
}

bool k8s_check_enum(struct k8s_errors *e, const struct k8s_path *path, const char *value, const char *const *allowed,
		    bool required)
{
	if (!value || !*value) {
		if (required)
			k8s_required(e, path, NULL);
		return !required;
	}
	for (size_t i = 0; allowed[i]; i++)
		if (!strcmp(allowed[i], value))
			return true;
	not_supported(e, path, value, allowed);
	return false;
}

json_t *k8s_errors_status(const struct k8s_errors *e, const struct k8s_kind *k, const char *name)
{
	own_buf struct buf message = BUF_INIT;
	json_t *causes = json_array();
	buf_printf(&message, "%s%s%s \"%s\" is invalid: %s", k->kind, *k->group ? "." : "", k->group, name ? name : "",
		   e->count > 1 ? "[" : "");
	for (size_t i = 0; i < e->count; i++) {
		const struct failure *f = &e->list[i];
		buf_printf(&message, "%s%s: %s", i ? ", " : "", f->field, f->text);
		json_array_append_new(causes, json_pack("{s:s,s:s,s:s}", "reason", f->type, "message", f->text, "field", f->field));
	}
	if (e->total > e->count)
		buf_printf(&message, ", and %zu more", e->total - e->count);
	if (e->count > 1)
		buf_puts(&message, "]");
	json_t *details = json_pack("{s:s,s:s,s:o}", "name", name ? name : "", "kind", k->kind, "causes", causes);
	if (*k->group)
		json_object_set_new(details, "group", json_string(k->group));
	return json_pack("{s:s,s:s,s:{},s:s,s:s,s:s,s:o,s:i}", "kind", "Status", "apiVersion", "v1", "metadata", "status",
			 "Failure", "message", message.data ? message.data : "", "reason", "Invalid", "details", details,
			 "code", 422);
}
