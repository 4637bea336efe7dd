// SPDX-License-Identifier: Apache-2.0
// Custom objects against the schema of their definition (the structural subset of OpenAPI 3).
#include <math.h>
#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "custom.h"
#include "kind.h"
#include "validate.h"

static void check(const json_t *schema, const struct k8s_path *path, const json_t *value, struct k8s_errors *e);

/* "spec.x in body <sentence>", as users of custom resources know it. */
static void in_body(struct k8s_errors *e, const struct k8s_path *path, const json_t *value, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static void in_body(struct k8s_errors *e, const struct k8s_path *path, const json_t *value, const char *fmt, ...)
{
	own_buf struct buf name = BUF_INIT;
	own_free char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	k8s_path_text(path, &name);
	k8s_invalid(e, path, value, "%s%sin body %s", name.data ? name.data : "", name.data ? " " : "", text ? text : "");
}

static const char *type_name(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT: return "object";
	case JSON_ARRAY: return "array";
	case JSON_STRING: return "string";
	case JSON_INTEGER: return "integer";
	case JSON_REAL: return "number";
	case JSON_TRUE: case JSON_FALSE: return "boolean";
	default: return "null";
	}
}

static bool type_matches(const json_t *schema, const json_t *v)
{
	const char *want = jpath_str(schema, "type", ""), *have = type_name(v);
	if (json_is_null(v))
		return jpath_bool(schema, "nullable", false) || !*want;
	if (jpath_bool(schema, "x-kubernetes-int-or-string", false))
		return json_is_integer(v) || json_is_string(v);
	if (!*want || !strcmp(want, have))
		return true;
	if (!strcmp(want, "number"))
		return json_is_integer(v);
	return !strcmp(want, "integer") && json_is_real(v) && floor(json_real_value(v)) == json_real_value(v);
}

/* A pattern may use \d, which POSIX does not know. */
static char *posix_pattern(const char *pattern)
{
	struct buf b = BUF_INIT;
	bool in_set = false;
	for (const char *c = pattern; *c; c++) {
		if (c[0] == '\\' && c[1] == 'd') {
			buf_puts(&b, in_set ? "0-9" : "[0-9]");
			c++;
		} else if (c[0] == '\\' && c[1]) {
			if (in_set && strchr("-.+*?()|{}^$/\\[]", c[1]))
				buf_printf(&b, "%c", c[1]);
			else
				buf_printf(&b, "\\%c", c[1]);
			c++;
		} else {
			in_set = in_set ? *c != ']' : *c == '[';
			buf_printf(&b, "%c", *c);
		}
	}
	return buf_take(&b);
}

static bool matches(const char *pattern, const char *text)
{
	own_free char *posix = posix_pattern(pattern);
	regex_t re;
	if (!posix || regcomp(&re, posix, REG_EXTENDED | REG_NOSUB))
		return true;   // a pattern that we cannot run is not held against the object
	bool match = regexec(&re, text, 0, NULL, 0) == 0;
	regfree(&re);
	return match;
}

static size_t utf8_length(const char *s)
{
	size_t n = 0;
	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

static void check_string(const json_t *schema, const struct k8s_path *path, const json_t *v, struct k8s_errors *e)
{
	const char *s = json_string_value(v), *pattern = jpath_str(schema, "pattern", NULL), *format = jpath_str(schema, "format", "");
	long long min = jpath_int(schema, "minLength", 0), max = jpath_int(schema, "maxLength", -1);
	long long n = (long long)utf8_length(s);
	uint64_t ns;
	if (max >= 0 && n > max)
		k8s_too_long(e, path, (size_t)max);
	if (n < min)
		in_body(e, path, v, "should be at least %lld chars long", min);
	if (pattern && !matches(pattern, s))
		in_body(e, path, v, "should match '%s'", pattern);
	if (!strcmp(format, "date-time") && clock_parse(s, &ns))
		in_body(e, path, v, "must be of type date-time: \"%s\"", s);
}

static void check_number(const json_t *schema, const struct k8s_path *path, const json_t *v, struct k8s_errors *e)
{
	const json_t *min = json_object_get(schema, "minimum"), *max = json_object_get(schema, "maximum");
	const json_t *step = json_object_get(schema, "multipleOf");
	double x = json_number_value(v);
	bool above = jpath_bool(schema, "exclusiveMinimum", false), below = jpath_bool(schema, "exclusiveMaximum", false);
	if (min && (above ? x <= json_number_value(min) : x < json_number_value(min)))
		in_body(e, path, v, "should be greater than%s %.17g", above ? "" : " or equal to", json_number_value(min));
	if (max && (below ? x >= json_number_value(max) : x > json_number_value(max)))
		in_body(e, path, v, "should be less than%s %.17g", below ? "" : " or equal to", json_number_value(max));
	if (step && json_number_value(step) > 0 && fabs(remainder(x, json_number_value(step))) > 1e-9)
		in_body(e, path, v, "should be a multiple of %.17g", json_number_value(step));
}

/* Two elements with the same values of all list-map-keys. */
static bool same_keys(const json_t *keys, const json_t *a, const json_t *b)
{
	size_t i;
	json_t *key;
	json_array_foreach(keys, i, key) {
		const json_t *x = json_object_get(a, jpath_str(key, "", "")), *y = json_object_get(b, jpath_str(key, "", ""));
		if (x != y && !(x && y && json_equal(x, y)))
			return false;
	}
	return json_array_size(keys) > 0;
}

static void check_list(const json_t *schema, const struct k8s_path *path, const json_t *v, struct k8s_errors *e)
{
	const json_t *items = json_object_get(schema, "items"), *keys = json_object_get(schema, "x-kubernetes-list-map-keys");
	long long n = (long long)json_array_size(v), min = jpath_int(schema, "minItems", 0), max = jpath_int(schema, "maxItems", -1);
	bool set = jpath_bool(schema, "uniqueItems", false) || !strcmp(jpath_str(schema, "x-kubernetes-list-type", ""), "set");
	size_t i, j;
	json_t *item;
	if (n < min)
		in_body(e, path, v, "should have at least %lld items", min);
	if (max >= 0 && n > max)
		k8s_too_many(e, path, (size_t)n, (size_t)max);
	json_array_foreach(v, i, item) {
		if (items)
			check(items, PATH_AT(path, i), item, e);
		for (j = 0; (set || keys) && j < i && i < 1000; j++) {
			const json_t *other = json_array_get(v, j);
			if (set ? json_equal(item, other) : same_keys(keys, item, other)) {
				k8s_duplicate(e, PATH_AT(path, i), item);
				break;
			}
		}
	}
}

static void check_object(const json_t *schema, const struct k8s_path *path, const json_t *v, struct k8s_errors *e)
{
	const json_t *properties = json_object_get(schema, "properties"), *free_ones = json_object_get(schema, "additionalProperties");
	long long n = (long long)json_object_size(v), min = jpath_int(schema, "minProperties", 0), max = jpath_int(schema, "maxProperties", -1);
	const char *key;
	json_t *child, *name;
	size_t i;
	if (n < min)
		in_body(e, path, v, "should have at least %lld properties", min);
	if (max >= 0 && n > max)
		k8s_too_many(e, path, (size_t)n, (size_t)max);
	json_array_foreach(json_object_get(schema, "required"), i, name)
		if (json_is_string(name) && !json_object_get(v, json_string_value(name)))
			k8s_required(e, PATH(path, json_string_value(name)), NULL);
	json_object_foreach((json_t *)v, key, child) {
		const json_t *s = json_object_get(properties, key);
		if (!s && json_is_object(free_ones))
			s = free_ones;
		if (s)
			check(s, PATH(path, key), child, e);
	}
}

static void check_enum(const json_t *schema, const struct k8s_path *path, const json_t *v, struct k8s_errors *e)
{
	const json_t *values = json_object_get(schema, "enum");
	const char *names[33] = {NULL};
	size_t i;
	json_t *allowed;
	json_array_foreach(values, i, allowed) {
		if (json_equal(allowed, v))
			return;
		if (i < 32)
			names[i] = json_string_value(allowed);
	}
	if (json_is_string(v) && names[0])
		k8s_check_enum(e, path, *json_string_value(v) ? json_string_value(v) : " ", names, true);
	else if (values)
		in_body(e, path, v, "should be one of the values that its schema lists");
}

static bool valid_against(const json_t *schema, const struct k8s_path *path, const json_t *v)
{
	struct k8s_errors *e = k8s_errors_new();
	if (!e)
		return true;
	check(schema, path, v, e);
	bool valid = k8s_errors_count(e) == 0;
	k8s_errors_free(e);
	return valid;
}

static void check_combinations(const json_t *schema, const struct k8s_path *path, const json_t *v, struct k8s_errors *e)
{
	const json_t *any = json_object_get(schema, "anyOf"), *one = json_object_get(schema, "oneOf"), *no = json_object_get(schema, "not");
	size_t i, n = 0;
	json_t *s;
	json_array_foreach(json_object_get(schema, "allOf"), i, s)
		check(s, path, v, e);
	json_array_foreach(any, i, s)
		n += valid_against(s, path, v);
	if (json_array_size(any) && !n)
		in_body(e, path, v, "must validate at least one schema (anyOf)");
	n = 0;
	json_array_foreach(one, i, s)
		n += valid_against(s, path, v);
	if (json_array_size(one) && n != 1)
		in_body(e, path, v, "must validate one and only one schema (oneOf). Found %s", n ? "2 valid alternatives" : "none valid");
	if (no && valid_against(no, path, v))
		in_body(e, path, v, "must not validate the schema (not)");
}

static void check(const json_t *schema, const struct k8s_path *path, const json_t *v, struct k8s_errors *e)
{
	if (!type_matches(schema, v)) {
		own_json json_t *have = json_string(type_name(v));
		in_body(e, path, have, "must be of type %s: \"%s\"", jpath_str(schema, "type", "integer,string"), type_name(v));
		return;
	}
	if (json_is_null(v))
		return;
	if (json_is_string(v))
		check_string(schema, path, v, e);
	else if (json_is_number(v))
		check_number(schema, path, v, e);
	else if (json_is_array(v))
		check_list(schema, path, v, e);
	else if (json_is_object(v))
		check_object(schema, path, v, e);
	check_enum(schema, path, v, e);
	check_combinations(schema, path, v, e);
}

void k8s_custom_validate(const struct k8s_kind *k, const json_t *obj, struct k8s_errors *e)
{
	const json_t *schema = jpath_get(k8s_custom_version(k), "schema.openAPIV3Schema");
	if (schema)
		check(schema, PATH_ROOT(NULL), obj, e);
}
