// SPDX-License-Identifier: Apache-2.0
// Decoding: an object from outside, checked against its fields and brought into stored form; see schema.h. Sentences of
// type errors follow Go's JSON decoder, which is what users of Kubernetes know.
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "base64.h"
#include "custom.h"
#include "kind.h"
#include "quantity.h"
#include "schema.h"
#include "validate.h"

#define UNKNOWN_MAX 64

struct decoder {
	json_t *unknown;          // borrowed; NULL: not collected
	struct buf why;           // reason of the failure
};

const struct k8s_field *k8s_schema_field(const struct k8s_schema *s, const char *name)
{
	size_t low = 0, high = s->count;
	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = strcmp(name, s->fields[mid].name);
		if (c == 0)
			return &s->fields[mid];
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

/* "v1.PodSpec" of "io.k8s.api.core.v1.PodSpec"; short_name: "PodSpec". */
static const char *go_name(const struct k8s_schema *s, bool short_name)
{
	const char *last = strrchr(s->name, '.'), *p = last;
	if (!last)
		return s->name;
	if (short_name)
		return last + 1;
	while (p > s->name && p[-1] != '.')
		p--;
	return p;
}

static const char *json_word(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT: return "object";
	case JSON_ARRAY: return "array";
	case JSON_STRING: return "string";
	case JSON_INTEGER: case JSON_REAL: return "number";
	case JSON_TRUE: case JSON_FALSE: return "bool";
	default: return "null";
	}
}

static void put_go_type(struct buf *b, const struct k8s_field *f, enum k8s_shape shape)
{
	static const char *const names[] = {[K8S_STRING] = "string", [K8S_INT32] = "int32", [K8S_INT64] = "int64",
		[K8S_DOUBLE] = "float64", [K8S_BOOL] = "bool", [K8S_BYTES] = "[]uint8", [K8S_QUANTITY] = "resource.Quantity",
		[K8S_TIME] = "v1.Time", [K8S_MICRO_TIME] = "v1.MicroTime", [K8S_INT_OR_STRING] = "intstr.IntOrString",
		[K8S_ANY] = "interface {}", [K8S_STRING_LIST] = "[]string"};
	if (shape == K8S_LIST)
		buf_puts(b, "[]");
	if (shape == K8S_MAP)
		buf_puts(b, "map[string]");
	buf_puts(b, f->type == K8S_OBJECT ? go_name(f->of, false) : names[f->type]);
}

/* The path without list positions, as Go's decoder gives it. */
static void put_field_names(struct buf *b, const struct k8s_path *path)
{
	if (path->up)
		put_field_names(b, path->up);
	if (path->name)
		buf_printf(b, "%s%s", path->up && path->up->up ? "." : "", path->name);
}

static int wrong_type(struct decoder *d, const struct k8s_schema *in, const struct k8s_path *path, const struct k8s_field *f,
		      enum k8s_shape shape, const json_t *v)
{
	buf_printf(&d->why, "json: cannot unmarshal %s", json_word(v));
	if (json_is_number(v) && (shape == K8S_ONE) && (f->type == K8S_INT32 || f->type == K8S_INT64)) {
		own_free char *text = json_dumps(v, JSON_ENCODE_ANY);
		buf_printf(&d->why, " %s", text ? text : "");
	}
	buf_printf(&d->why, " into Go struct field %s.", go_name(in, true));
	put_field_names(&d->why, path);
	buf_puts(&d->why, " of type ");
	put_go_type(&d->why, f, shape);
	return -EINVAL;
}

static int decode_quantity(struct decoder *d, json_t *v, json_t **replace)
{
	char text[K8S_QUANTITY_TEXT_MAX], number[64];
	const char *given = json_string_value(v);
	if (json_is_integer(v))
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
	else if (json_is_real(v))
		snprintf(number, sizeof(number), "%.10g", json_real_value(v));
	if (json_is_number(v))
		given = number;
	if (!given || !k8s_quantity_canonical(*given ? given : "0", text)) {
		buf_puts(&d->why, "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
		return -EINVAL;
	}
	if (!json_is_string(v) || strcmp(text, given))
		*replace = json_string(text);
	return 0;
}

static int decode_time(struct decoder *d, json_t *v, bool micro, json_t **replace)
{
	uint64_t ns;
	char text[CLOCK_TEXT_MAX];
	const char *given = json_string_value(v);
	if (!given || clock_parse(given, &ns)) {
		own_free char *shown = json_dumps(v, JSON_ENCODE_ANY);
		buf_printf(&d->why, "parsing time %s as \"2006-01-02T15:04:05%sZ07:00\": cannot parse it", shown ? shown : "",
			   micro ? ".000000" : "");
		return -EINVAL;
	}
	clock_text(micro ? ns : ns / NS_PER_S * NS_PER_S, micro ? 6 : 0, text);
	if (strcmp(text, given))
		*replace = json_string(text);
	return 0;
}

static int decode_object(struct decoder *d, const struct k8s_schema *s, const struct k8s_path *path, json_t *obj);

/* One value. *replace: a new value to put in its place (new reference), else untouched. */
static int decode_one(struct decoder *d, const struct k8s_schema *in, const struct k8s_path *path, const struct k8s_field *f,
		      json_t *v, json_t **replace)
{
	bool right;
	size_t i;
	json_t *item;
	switch (f->type) {
	case K8S_STRING: right = json_is_string(v); break;
	case K8S_INT32: right = json_is_integer(v) && json_integer_value(v) >= INT32_MIN && json_integer_value(v) <= INT32_MAX; break;
	case K8S_INT64: right = json_is_integer(v); break;
	case K8S_DOUBLE: right = json_is_number(v); break;
	case K8S_BOOL: right = json_is_boolean(v); break;
	case K8S_INT_OR_STRING:
		right = json_is_string(v) || (json_is_integer(v) && json_integer_value(v) >= INT32_MIN &&
					      json_integer_value(v) <= INT32_MAX);
		break;
	case K8S_BYTES:
		right = json_is_string(v);
		if (right && base64_decoded_len(json_string_value(v), json_string_length(v)) < 0) {
			buf_puts(&d->why, "illegal base64 data");
			return -EINVAL;
		}
		break;
	case K8S_STRING_LIST:
		right = json_is_array(v);
		json_array_foreach(v, i, item)
			right = right && json_is_string(item);
		break;
	case K8S_QUANTITY: return decode_quantity(d, v, replace);
	case K8S_TIME: return decode_time(d, v, false, replace);
	case K8S_MICRO_TIME: return decode_time(d, v, true, replace);
	case K8S_OBJECT:
		if (!json_is_object(v))
			return wrong_type(d, in, path, f, K8S_ONE, v);
		return decode_object(d, f->of, path, v);
	default: return 0;
	}
	return right ? 0 : wrong_type(d, in, path, f, K8S_ONE, v);
}

/* The zero value of a type, for a null inside a list or map. */
static json_t *zero_value(const struct k8s_field *f)
{
	switch (f->type) {
	case K8S_OBJECT: return json_object();
	case K8S_INT32: case K8S_INT64: case K8S_DOUBLE: case K8S_INT_OR_STRING: return json_integer(0);
	case K8S_BOOL: return json_false();
	case K8S_STRING_LIST: return json_array();
	case K8S_QUANTITY: return json_string("0");
	case K8S_ANY: case K8S_TIME: case K8S_MICRO_TIME: return json_null();
	default: return json_string("");
	}
}

static int decode_list(struct decoder *d, const struct k8s_schema *in, const struct k8s_path *path, const struct k8s_field *f,
		       json_t *list)
{
	size_t i;
	json_t *v;
	if (!json_is_array(list))
		return wrong_type(d, in, path, f, K8S_LIST, list);
	json_array_foreach(list, i, v) {
		json_t *replace = NULL;
		int rc = 0;
		if (json_is_null(v))
			replace = zero_value(f);
		else
			rc = decode_one(d, in, PATH_AT(path, i), f, v, &replace);
		if (rc)
			return rc;
		if (replace)
			json_array_set_new(list, i, replace);
	}
	return 0;
}

static int decode_map(struct decoder *d, const struct k8s_schema *in, const struct k8s_path *path, const struct k8s_field *f,
		      json_t *map)
{
	const char *key;
	json_t *v;
	void *tmp;
	if (!json_is_object(map))
		return wrong_type(d, in, path, f, K8S_MAP, map);
	json_object_foreach_safe(map, tmp, key, v) {
		json_t *replace = NULL;
		int rc = 0;
		if (json_is_null(v))
			replace = zero_value(f);
		else
			rc = decode_one(d, in, PATH(path, key), f, v, &replace);
		if (rc)
			return rc;
		if (replace)
			json_object_set_new(map, key, replace);
	}
	return 0;
}

/* Values that a typed API object cannot tell from absence are left out, so that equal objects look equal. */
static bool means_absent(const struct k8s_field *f, const json_t *v)
{
	if (f->required)
		return false;
	if (f->shape == K8S_LIST)
		return json_array_size(v) == 0;
	if (f->shape == K8S_MAP)
		return json_object_size(v) == 0;
	if (f->pointer)
		return false;
	switch (f->type) {
	case K8S_STRING: case K8S_BYTES: return json_string_length(v) == 0;
	case K8S_INT32: case K8S_INT64: return json_integer_value(v) == 0;
	case K8S_BOOL: return json_is_false(v);
	default: return false;
	}
}

static int decode_field(struct decoder *d, const struct k8s_schema *s, const struct k8s_path *path, const struct k8s_field *f,
			json_t *v, json_t **replace)
{
	if (f->type == K8S_ANY && f->shape == K8S_ONE)
		return 0;
	if (f->shape == K8S_LIST)
		return decode_list(d, s, path, f, v);
	if (f->shape == K8S_MAP)
		return decode_map(d, s, path, f, v);
	return decode_one(d, s, path, f, v, replace);
}

static void note_unknown(struct decoder *d, const struct k8s_path *path)
{
	own_buf struct buf text = BUF_INIT;
	if (!d->unknown || json_array_size(d->unknown) >= UNKNOWN_MAX || k8s_path_text(path, &text))
		return;
	json_array_append_new(d->unknown, json_sprintf("unknown field \"%s\"", text.data));
}

static int decode_object(struct decoder *d, const struct k8s_schema *s, const struct k8s_path *path, json_t *obj)
{
	const char *key;
	json_t *v;
	void *tmp;
	json_object_foreach_safe(obj, tmp, key, v) {
		const struct k8s_path *at = PATH(path, key);
		const struct k8s_field *f = k8s_schema_field(s, key);
		json_t *replace = NULL;
		if (!f) {
			note_unknown(d, at);
			json_object_del(obj, key);
			continue;
		}
		if (json_is_null(v)) {
			json_object_del(obj, key);
			continue;
		}
		int rc = decode_field(d, s, at, f, v, &replace);
		if (rc)
			return rc;
		if (replace)
			json_object_set_new(obj, key, replace);
		else if (means_absent(f, v))
			json_object_del(obj, key);
	}
	return 0;
}

static int cannot_be_handled(const char *api_version, const char *kind, const char *why, struct err *e)
{
	const char *slash = strchr(api_version, '/');
	return err_set(e, EINVAL, "%s in version \"%s\" cannot be handled as a %s: %s", kind, slash ? slash + 1 : api_version, kind,
		       why);
}

int k8s_decode_schema(const struct k8s_schema *s, const char *api_version, const char *kind, json_t *obj, json_t *unknown,
		      struct err *e)
{
	struct decoder d = {.unknown = unknown, .why = BUF_INIT};
	int rc;
	if (!json_is_object(obj))
		return err_set(e, EINVAL, "the body must be a JSON object");
	rc = decode_object(&d, s, PATH_ROOT(NULL), obj);
	if (rc)
		cannot_be_handled(api_version, kind, d.why.data ? d.why.data : "out of memory", e);
	buf_fini(&d.why);
	return rc;
}

int k8s_decode(const struct k8s_kind *k, json_t *obj, json_t *unknown, struct err *e)
{
	if (k->custom)
		return k8s_custom_decode(k, obj, unknown, e);
	if (!k->schema)
		return json_is_object(obj) ? 0 : err_set(e, EINVAL, "the body must be a JSON object");
	return k8s_decode_schema(k->schema, k->version, k->kind, obj, unknown, e);
}

int k8s_strict_error(const char *api_version, const char *kind, const json_t *unknown, struct err *e)
{
	own_buf struct buf list = BUF_INIT;
	size_t i;
	json_t *text;
	buf_puts(&list, "strict decoding error: ");
	json_array_foreach(unknown, i, text)
		buf_printf(&list, "%s%s", i ? ", " : "", json_string_value(text));
	return cannot_be_handled(api_version, kind, list.data ? list.data : "", e);
}
