// SPDX-License-Identifier: Apache-2.0
// The binary form: "k8s\0", then a runtime.Unknown message with type and raw bytes of the object. What a field is called and
// holds says the schema; by which number it goes, protobuf_numbers.c. The schemas with numbers do not contain themselves,
// so depth is bounded by them.
#include "protobuf.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "base64.h"
#include "kind.h"
#include "schema.h"
#include "schema_types.h"

enum { WIRE_VARINT, WIRE_FIXED64, WIRE_BYTES, WIRE_FIXED32 = 5 };

struct span {
	const uint8_t *p, *end;
};

struct wire {
	uint32_t number;
	unsigned type;
	uint64_t value;        // varint, fixed
	struct span bytes;     // WIRE_BYTES
};

static int get_varint(struct span *s, uint64_t *out)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 70 && s->p < s->end; shift += 7) {
		uint8_t byte = *s->p++;
		if (shift == 63 && byte > 1)
			return -EINVAL;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*out = v;
			return 0;
		}
	}
	return -EINVAL;
}

static int get_fixed(struct span *s, unsigned size, uint64_t *out)
{
	uint64_t v = 0;
	if ((size_t)(s->end - s->p) < size)
		return -EINVAL;
	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)s->p[i] << (8 * i);
	s->p += size;
	*out = v;
	return 0;
}

/* The next field: 1, 0 at the end, -EINVAL. */
static int next_field(struct span *s, struct wire *w)
{
	uint64_t tag, len;
	*w = (struct wire){0};
	if (s->p == s->end)
		return 0;
	if (get_varint(s, &tag) || tag >> 3 == 0 || tag >> 3 > (1u << 29) - 1)
		return -EINVAL;
	w->number = tag >> 3;
	w->type = tag & 7;
	switch (w->type) {
	case WIRE_VARINT: return get_varint(s, &w->value) ? -EINVAL : 1;
	case WIRE_FIXED64: return get_fixed(s, 8, &w->value) ? -EINVAL : 1;
	case WIRE_FIXED32: return get_fixed(s, 4, &w->value) ? -EINVAL : 1;
	case WIRE_BYTES:
		if (get_varint(s, &len) || len > (uint64_t)(s->end - s->p))
			return -EINVAL;
		w->bytes = (struct span){s->p, s->p + len};
		s->p += len;
		return 1;
	default: return -EINVAL;
	}
}

/* One field of a small message that is a value of its own; found: whether it is there (the last one counts). */
static int find_field(struct span s, uint32_t number, unsigned type, struct wire *out, bool *found)
{
	struct wire w;
	int rc;
	*found = false;
	while ((rc = next_field(&s, &w)) > 0)
		if (w.number == number) {
			if (w.type != type)
				return -EINVAL;
			*out = w;
			*found = true;
		}
	return rc;
}

/* Each get_X: 0 and *out (a new reference; NULL: as good as absent), or -EINVAL, -ENOMEM. */

static int get_string(struct span s, json_t **out)
{
	*out = json_stringn((const char *)s.p, s.end - s.p);   // NULL: not UTF-8
	return *out ? 0 : -EINVAL;
}

static int get_bytes(struct span s, json_t **out)
{
	own_free char *text = base64_encode(s.p, s.end - s.p);
	*out = text ? json_string(text) : NULL;
	return *out ? 0 : -ENOMEM;
}

/* Quantity: its text as field 1. */
static int get_quantity(struct span s, json_t **out)
{
	struct wire w;
	bool found;
	int rc = find_field(s, 1, WIRE_BYTES, &w, &found);
	if (rc)
		return rc;
	if (found)
		return get_string(w.bytes, out);
	*out = json_string("0");
	return *out ? 0 : -ENOMEM;
}

/* Time, MicroTime: seconds 1, nanoseconds 2; empty: the zero time, which JSON writes as null. */
static int get_time(struct span s, bool micro, json_t **out)
{
	struct wire seconds = {0}, nanos = {0};
	bool has_seconds, has_nanos;
	char text[CLOCK_TEXT_MAX];
	if (find_field(s, 1, WIRE_VARINT, &seconds, &has_seconds) || find_field(s, 2, WIRE_VARINT, &nanos, &has_nanos))
		return -EINVAL;
	if (!has_seconds && !has_nanos) {
		*out = NULL;
		return 0;
	}
	if (seconds.value >= UINT64_MAX / NS_PER_S || nanos.value >= NS_PER_S)
		return -EINVAL;
	*out = json_string(clock_text(seconds.value * NS_PER_S + (micro ? nanos.value : 0), micro ? 6 : 0, text));
	return *out ? 0 : -ENOMEM;
}

/* IntOrString: which 1 (0: number), number 2, text 3. */
static int get_int_or_string(struct span s, json_t **out)
{
	struct wire which = {0}, number = {0}, text = {0};
	bool found, has_text;
	if (find_field(s, 1, WIRE_VARINT, &which, &found) || find_field(s, 2, WIRE_VARINT, &number, &found) ||
	    find_field(s, 3, WIRE_BYTES, &text, &has_text) || which.value > 1)
		return -EINVAL;
	if (which.value && has_text)
		return get_string(text.bytes, out);
	*out = which.value ? json_string("") : json_integer((int64_t)number.value);
	return *out ? 0 : -ENOMEM;
}

/* RawExtension, FieldsV1: JSON text as field 1. */
static int get_any(struct span s, json_t **out)
{
	struct wire w;
	bool found;
	int rc = find_field(s, 1, WIRE_BYTES, &w, &found);
	if (rc || !found || w.bytes.p == w.bytes.end) {
		*out = NULL;
		return rc;
	}
	*out = json_loadb((const char *)w.bytes.p, w.bytes.end - w.bytes.p, JSON_DECODE_ANY, NULL);
	return *out ? 0 : -EINVAL;
}

/* ExtraValue: texts as field 1. */
static int get_string_list(struct span s, json_t **out)
{
	own_json json_t *list = json_array();
	struct wire w;
	int rc;
	while ((rc = next_field(&s, &w)) > 0) {
		json_t *text = NULL;
		if (w.number == 1 && (w.type != WIRE_BYTES || get_string(w.bytes, &text)))
			return -EINVAL;
		if (text && json_array_append_new(list, text))
			return -ENOMEM;
	}
	if (rc)
		return rc;
	*out = take(list);
	return *out ? 0 : -ENOMEM;
}

static int decode_message(const struct k8s_schema *s, unsigned inside, struct span in, json_t *obj);

static int get_object(const struct k8s_schema *s, struct span in, json_t **out)
{
	own_json json_t *obj = json_object();
	int rc = obj ? decode_message(s, 0, in, obj) : -ENOMEM;
	if (!rc)
		*out = take(obj);
	return rc;
}

static int get_number(const struct k8s_field *f, const struct wire *w, json_t **out)
{
	double real;
	if (f->type == K8S_DOUBLE) {
		memcpy(&real, &w->value, sizeof(real));
		if (w->type != WIRE_FIXED64 || !isfinite(real))
			return -EINVAL;
		*out = json_real(real);
	} else if (w->type != WIRE_VARINT) {
		return -EINVAL;
	} else if (f->type == K8S_BOOL) {
		*out = json_boolean(w->value);
	} else {
		*out = json_integer((int64_t)w->value);   // k8s_decode checks the range
	}
	return *out ? 0 : -ENOMEM;
}

static int get_value(const struct k8s_field *f, const struct wire *w, json_t **out)
{
	switch (f->type) {
	case K8S_INT32: case K8S_INT64: case K8S_BOOL: case K8S_DOUBLE: return get_number(f, w, out);
	default: break;
	}
	if (w->type != WIRE_BYTES)
		return -EINVAL;
	switch (f->type) {
	case K8S_STRING: return get_string(w->bytes, out);
	case K8S_BYTES: return get_bytes(w->bytes, out);
	case K8S_QUANTITY: return get_quantity(w->bytes, out);
	case K8S_TIME: return get_time(w->bytes, false, out);
	case K8S_MICRO_TIME: return get_time(w->bytes, true, out);
	case K8S_INT_OR_STRING: return get_int_or_string(w->bytes, out);
	case K8S_STRING_LIST: return get_string_list(w->bytes, out);
	case K8S_OBJECT: return get_object(f->of, w->bytes, out);
	default: return get_any(w->bytes, out);
	}
}

/* The list or map of a field, made when it is the first time. NULL: no memory. */
static json_t *container(const struct k8s_field *f, json_t *obj)
{
	json_t *j = json_object_get(obj, f->name);
	if (j)
		return j;
	j = f->shape == K8S_LIST ? json_array() : json_object();
	return json_object_set_new(obj, f->name, j) ? NULL : j;
}

/* Numbers of a list in one piece. */
static int get_packed(const struct k8s_field *f, struct span s, json_t *list)
{
	struct wire w = {.type = WIRE_VARINT};
	json_t *v = NULL;
	while (s.p < s.end)
		if (get_varint(&s, &w.value) || get_number(f, &w, &v) || json_array_append_new(list, v))
			return -EINVAL;
	return 0;
}

static int add_to_list(const struct k8s_field *f, const struct wire *w, json_t *list)
{
	json_t *v = NULL;
	int rc;
	if (!list)
		return -ENOMEM;
	if (w->type == WIRE_BYTES && (f->type == K8S_INT32 || f->type == K8S_INT64 || f->type == K8S_BOOL))
		return get_packed(f, w->bytes, list);
	rc = get_value(f, w, &v);
	if (rc)
		return rc;
	return json_array_append_new(list, v ? v : json_null()) ? -ENOMEM : 0;
}

static int get_key(const struct wire *w, json_t **key)
{
	if (w->type != WIRE_BYTES || memchr(w->bytes.p, 0, w->bytes.end - w->bytes.p))
		return -EINVAL;
	return get_string(w->bytes, key);
}

/* An entry of a map: key 1, value 2. */
static int add_to_map(const struct k8s_field *f, const struct wire *entry, json_t *map)
{
	own_json json_t *key = NULL, *value = NULL;
	struct span s = entry->bytes;
	struct wire w;
	int more, rc = 0;
	if (!map)
		return -ENOMEM;
	if (entry->type != WIRE_BYTES)
		return -EINVAL;
	while (!rc && (more = next_field(&s, &w))) {
		json_t *v = NULL, **into = w.number == 1 ? &key : &value;
		if (more < 0)
			return more;
		if (w.number > 2)
			continue;
		rc = w.number == 1 ? get_key(&w, &v) : get_value(f, &w, &v);
		json_decref(*into);
		*into = v;
	}
	if (rc)
		return rc;
	// A missing value is the type's zero: k8s_decode puts it in place of null.
	if (!value)
		value = json_null();
	return json_object_set(map, key ? json_string_value(key) : "", value) ? -ENOMEM : 0;
}

static int decode_field(const struct k8s_field *f, const struct wire *w, json_t *obj)
{
	json_t *v = NULL;
	int rc;
	if (f->shape == K8S_LIST)
		return add_to_list(f, w, container(f, obj));
	if (f->shape == K8S_MAP)
		return add_to_map(f, w, container(f, obj));
	rc = get_value(f, w, &v);
	if (rc)
		return rc;
	return v && json_object_set_new(obj, f->name, v) ? -ENOMEM : 0;
}

/* inside: number of the message whose fields JSON has at the level above; 0: the schema's own message. */
static int decode_message(const struct k8s_schema *s, unsigned inside, struct span in, json_t *obj)
{
	const uint16_t *numbers = k8s_protobuf_numbers(s);
	struct wire w;
	int rc;
	if (!numbers)
		return -ENOTSUP;
	while ((rc = next_field(&in, &w)) > 0) {
		rc = 0;
		for (size_t i = 0; i < s->count && w.number < 256; i++) {
			if (numbers[i] == (inside << 8 | w.number)) {
				rc = decode_field(&s->fields[i], &w, obj);
				break;
			}
			if (!inside && numbers[i] >> 8 == w.number) {
				rc = w.type == WIRE_BYTES ? decode_message(s, w.number, w.bytes, obj) : -EINVAL;
				break;
			}
		}
		if (rc)
			return rc;
	}
	return rc;
}

/* --- the envelope --- */

/* Bodies that are no kinds of their own. */
static const struct {
	const char *api_version, *kind;   // api_version NULL: any
	const struct k8s_schema *schema;
} others[] = {
	{NULL, "DeleteOptions", &k8s_meta_DeleteOptions},
	{"autoscaling/v1", "Scale", &k8s_autoscaling1_Scale},
	{"policy/v1", "Eviction", &k8s_policy_Eviction},
	{"authentication.k8s.io/v1", "TokenRequest", &k8s_authentication_TokenRequest},
};

static const struct k8s_schema *find_schema(const char *api_version, const char *kind)
{
	const struct k8s_kind *k = k8s_kind_by_name(api_version, kind);
	if (k)
		return k->custom ? NULL : k->schema;
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (!strcmp(others[i].kind, kind) && (!others[i].api_version || !strcmp(others[i].api_version, api_version)))
			return others[i].schema;
	return NULL;
}

struct unknown {
	char api_version[256], kind[128];
	struct span raw;
};

static int copy_text(struct span s, char *out, size_t size)
{
	size_t n = s.end - s.p;
	if (n >= size || memchr(s.p, 0, n))
		return -EINVAL;
	memcpy(out, s.p, n);
	out[n] = '\0';
	return 0;
}

static int read_type(struct span s, struct unknown *u)
{
	struct wire w;
	int rc;
	while ((rc = next_field(&s, &w)) > 0)
		if ((w.number == 1 && (w.type != WIRE_BYTES || copy_text(w.bytes, u->api_version, sizeof(u->api_version)))) ||
		    (w.number == 2 && (w.type != WIRE_BYTES || copy_text(w.bytes, u->kind, sizeof(u->kind)))))
			return -EINVAL;
	return rc;
}

/* runtime.Unknown: type 1, raw bytes 2, encoding 3 and media type 4 of those (both empty for us). */
static int read_unknown(struct span s, struct unknown *u)
{
	struct wire w;
	int rc;
	while ((rc = next_field(&s, &w)) > 0) {
		if (w.number > 4)
			continue;
		if (w.type != WIRE_BYTES)
			return -EINVAL;
		if (w.number == 2)
			u->raw = w.bytes;
		else if (w.number == 3 ? w.bytes.p != w.bytes.end : w.number == 1 && read_type(w.bytes, u))
			return -EINVAL;
	}
	return rc;
}

int k8s_protobuf_decode(const void *data, size_t len, json_t **out, struct err *e)
{
	static const uint8_t magic[4] = {'k', '8', 's', 0};
	struct unknown u = {.raw = {magic, magic}};
	const struct k8s_schema *schema;
	own_json json_t *obj = NULL;
	int rc;
	if (len < sizeof(magic) || memcmp(data, magic, sizeof(magic)))
		return err_set(e, EINVAL, "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
	if (read_unknown((struct span){(const uint8_t *)data + sizeof(magic), (const uint8_t *)data + len}, &u))
		return err_set(e, EINVAL, "the envelope of the protobuf message is malformed");
	schema = find_schema(u.api_version, u.kind);
	if (!schema || !k8s_protobuf_numbers(schema))
		return err_set(e, ENOTSUP, "no protobuf form of kind \"%.64s\" in version \"%.64s\" is known; send JSON", u.kind,
			       u.api_version);
	rc = get_object(schema, u.raw, &obj);
	if (!rc && (json_object_set_new(obj, "apiVersion", json_string(u.api_version)) ||
		    json_object_set_new(obj, "kind", json_string(u.kind))))
		rc = -EINVAL;
	if (rc)
		return err_set(e, -rc, rc == -ENOMEM ? "out of memory" : "the protobuf message of a %.64s is malformed", u.kind);
	*out = take(obj);
	return 0;
}
