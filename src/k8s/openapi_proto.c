// SPDX-License-Identifier: Apache-2.0
// The OpenAPI v2 document in the protobuf form of package openapi.v2; see openapi.h. Maps are lists of (name, value)
// messages there, and extensions carry their value as YAML text (JSON is YAML).
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "base/own.h"
#include "openapi.h"

/* Field numbers of the messages. */
enum { DOCUMENT_SWAGGER = 1, DOCUMENT_INFO = 2, DOCUMENT_PATHS = 8, DOCUMENT_DEFINITIONS = 9 };
enum { INFO_TITLE = 1, INFO_VERSION = 2 };
enum { NAMED_NAME = 1, NAMED_VALUE = 2 };
enum { ANY_YAML = 2 };
enum { PATHS_PATH = 2 };
enum { PATH_GET = 2, PATH_PUT = 3, PATH_POST = 4, PATH_DELETE = 5, PATH_PATCH = 8, PATH_PARAMETERS = 9 };
enum { OPERATION_PARAMETERS = 8, OPERATION_RESPONSES = 9, OPERATION_EXTENSION = 13 };
enum { BODY_NAME = 2, BODY_IN = 3, BODY_REQUIRED = 4, BODY_SCHEMA = 5 };
enum { QUERY_IN = 2, QUERY_NAME = 4, QUERY_TYPE = 6 };
enum { IN_PATH_REQUIRED = 1, IN_PATH_IN = 2, IN_PATH_NAME = 4, IN_PATH_TYPE = 5 };
enum { ITEM_PARAMETER = 1, PARAMETER_BODY = 1, PARAMETER_OTHER = 2, OTHER_QUERY = 3, OTHER_PATH = 4 };
enum { RESPONSES_CODE = 1, RESPONSE_VALUE = 1, RESPONSE_DESCRIPTION = 1, RESPONSE_SCHEMA = 2, SCHEMA_ITEM_SCHEMA = 1 };
enum { SCHEMA_REF = 1, SCHEMA_FORMAT = 2, SCHEMA_DESCRIPTION = 4, SCHEMA_REQUIRED = 19, SCHEMA_ADDITIONAL = 21, SCHEMA_TYPE = 22,
	SCHEMA_ITEMS = 23, SCHEMA_PROPERTIES = 25, SCHEMA_EXTENSION = 31 };

static int put_varint(struct buf *b, uint64_t v)
{
	unsigned char bytes[10];
	size_t n = 0;
	do {
		bytes[n] = (unsigned char)(v & 0x7f) | (v > 0x7f ? 0x80 : 0);
		v >>= 7;
		n++;
	} while (v);
	return buf_append(b, bytes, n);
}

static int put_bytes(struct buf *b, unsigned field, const void *data, size_t len)
{
	int rc = put_varint(b, field << 3 | 2);
	rc = rc ? rc : put_varint(b, len);
	return rc ? rc : buf_append(b, data, len);
}

static int put_string(struct buf *b, unsigned field, const char *s)
{
	return s && *s ? put_bytes(b, field, s, strlen(s)) : 0;
}

static int put_true(struct buf *b, unsigned field)
{
	int rc = put_varint(b, field << 3);
	return rc ? rc : put_varint(b, 1);
}

/* A nested message: made by fn into a buffer of its own. */
typedef int message_fn(struct buf *b, const json_t *v);

static int put_message(struct buf *b, unsigned field, message_fn *fn, const json_t *v)
{
	own_buf struct buf inner = BUF_INIT;
	int rc = fn(&inner, v);
	return rc ? rc : put_bytes(b, field, inner.data ? inner.data : "", inner.len);
}

static int put_named(struct buf *b, unsigned field, const char *name, message_fn *fn, const json_t *v)
{
	own_buf struct buf inner = BUF_INIT;
	int rc = put_string(&inner, NAMED_NAME, name);
	rc = rc ? rc : put_message(&inner, NAMED_VALUE, fn, v);
	return rc ? rc : put_bytes(b, field, inner.data ? inner.data : "", inner.len);
}

static int any_message(struct buf *b, const json_t *v)
{
	own_free char *text = json_dumps(v, JSON_ENCODE_ANY);
	return text ? put_string(b, ANY_YAML, text) : -ENOMEM;
}

static int put_extensions(struct buf *b, unsigned field, const json_t *obj)
{
	const char *key;
	json_t *v;
	int rc = 0;
	json_object_foreach((json_t *)obj, key, v)
		if (!rc && !strncmp(key, "x-", 2))
			rc = put_named(b, field, key, any_message, v);
	return rc;
}

/* ---- schemas ---- */

static int schema_message(struct buf *b, const json_t *s);

static int properties_message(struct buf *b, const json_t *properties)
{
	const char *key;
	json_t *v;
	int rc = 0;
	json_object_foreach((json_t *)properties, key, v)
		if (!rc)
			rc = put_named(b, 1, key, schema_message, v);
	return rc;
}

/* AdditionalPropertiesItem and ItemsItem both hold a schema in field 1. */
static int holder_message(struct buf *b, const json_t *s)
{
	return put_message(b, 1, schema_message, s);
}

static int type_message(struct buf *b, const json_t *type)
{
	return put_string(b, 1, json_string_value(type));
}

static int schema_message(struct buf *b, const json_t *s)
{
	const json_t *v;
	size_t i;
	json_t *name;
	int rc = put_string(b, SCHEMA_REF, json_string_value(json_object_get(s, "$ref")));
	rc = rc ? rc : put_string(b, SCHEMA_FORMAT, json_string_value(json_object_get(s, "format")));
	rc = rc ? rc : put_string(b, SCHEMA_DESCRIPTION, json_string_value(json_object_get(s, "description")));
	json_array_foreach(json_object_get(s, "required"), i, name)
		rc = rc ? rc : put_string(b, SCHEMA_REQUIRED, json_string_value(name));
	if ((v = json_object_get(s, "additionalProperties")) && json_is_object(v))
		rc = rc ? rc : put_message(b, SCHEMA_ADDITIONAL, holder_message, v);
	if ((v = json_object_get(s, "type")))
		rc = rc ? rc : put_message(b, SCHEMA_TYPE, type_message, v);
	if ((v = json_object_get(s, "items")))
		rc = rc ? rc : put_message(b, SCHEMA_ITEMS, holder_message, v);
	if ((v = json_object_get(s, "properties")))
		rc = rc ? rc : put_message(b, SCHEMA_PROPERTIES, properties_message, v);
	return rc ? rc : put_extensions(b, SCHEMA_EXTENSION, s);
}

/* ---- paths ---- */

static int body_parameter_message(struct buf *b, const json_t *p)
{
	int rc = put_string(b, BODY_NAME, jpath_str(p, "name", ""));
	rc = rc ? rc : put_string(b, BODY_IN, "body");
	rc = rc ? rc : put_true(b, BODY_REQUIRED);
	return rc ? rc : put_message(b, BODY_SCHEMA, schema_message, json_object_get(p, "schema"));
}

static int query_parameter_message(struct buf *b, const json_t *p)
{
	int rc = put_string(b, QUERY_IN, "query");
	rc = rc ? rc : put_string(b, QUERY_NAME, jpath_str(p, "name", ""));
	return rc ? rc : put_string(b, QUERY_TYPE, jpath_str(p, "type", ""));
}

static int path_parameter_message(struct buf *b, const json_t *p)
{
	int rc = put_true(b, IN_PATH_REQUIRED);
	rc = rc ? rc : put_string(b, IN_PATH_IN, "path");
	rc = rc ? rc : put_string(b, IN_PATH_NAME, jpath_str(p, "name", ""));
	return rc ? rc : put_string(b, IN_PATH_TYPE, jpath_str(p, "type", ""));
}

static int other_parameter_message(struct buf *b, const json_t *p)
{
	if (!strcmp(jpath_str(p, "in", ""), "path"))
		return put_message(b, OTHER_PATH, path_parameter_message, p);
	return put_message(b, OTHER_QUERY, query_parameter_message, p);
}

static int parameter_message(struct buf *b, const json_t *p)
{
	if (!strcmp(jpath_str(p, "in", ""), "body"))
		return put_message(b, PARAMETER_BODY, body_parameter_message, p);
	return put_message(b, PARAMETER_OTHER, other_parameter_message, p);
}

static int parameters_item_message(struct buf *b, const json_t *p)
{
	return put_message(b, ITEM_PARAMETER, parameter_message, p);
}

static int put_parameters(struct buf *b, unsigned field, const json_t *list)
{
	size_t i;
	json_t *p;
	int rc = 0;
	json_array_foreach(list, i, p)
		rc = rc ? rc : put_message(b, field, parameters_item_message, p);
	return rc;
}

static int schema_item_message(struct buf *b, const json_t *s)
{
	return put_message(b, SCHEMA_ITEM_SCHEMA, schema_message, s);
}

static int response_message(struct buf *b, const json_t *r)
{
	const json_t *schema = json_object_get(r, "schema");
	int rc = put_string(b, RESPONSE_DESCRIPTION, jpath_str(r, "description", ""));
	return rc || !schema ? rc : put_message(b, RESPONSE_SCHEMA, schema_item_message, schema);
}

static int response_value_message(struct buf *b, const json_t *r)
{
	return put_message(b, RESPONSE_VALUE, response_message, r);
}

static int responses_message(struct buf *b, const json_t *responses)
{
	const char *code;
	json_t *r;
	int rc = 0;
	json_object_foreach((json_t *)responses, code, r)
		rc = rc ? rc : put_named(b, RESPONSES_CODE, code, response_value_message, r);
	return rc;
}

static int operation_message(struct buf *b, const json_t *op)
{
	int rc = put_parameters(b, OPERATION_PARAMETERS, json_object_get(op, "parameters"));
	rc = rc ? rc : put_message(b, OPERATION_RESPONSES, responses_message, json_object_get(op, "responses"));
	return rc ? rc : put_extensions(b, OPERATION_EXTENSION, op);
}

static int path_message(struct buf *b, const json_t *item)
{
	static const struct {
		const char *name;
		unsigned field;
	} verbs[] = {{"get", PATH_GET}, {"put", PATH_PUT}, {"post", PATH_POST}, {"delete", PATH_DELETE}, {"patch", PATH_PATCH}};
	int rc = 0;
	for (size_t i = 0; !rc && i < sizeof(verbs) / sizeof(*verbs); i++)
		if (json_object_get(item, verbs[i].name))
			rc = put_message(b, verbs[i].field, operation_message, json_object_get(item, verbs[i].name));
	return rc ? rc : put_parameters(b, PATH_PARAMETERS, json_object_get(item, "parameters"));
}

static int paths_message(struct buf *b, const json_t *paths)
{
	const char *path;
	json_t *item;
	int rc = 0;
	json_object_foreach((json_t *)paths, path, item)
		rc = rc ? rc : put_named(b, PATHS_PATH, path, path_message, item);
	return rc;
}

static int info_message(struct buf *b, const json_t *info)
{
	int rc = put_string(b, INFO_TITLE, jpath_str(info, "title", ""));
	return rc ? rc : put_string(b, INFO_VERSION, jpath_str(info, "version", ""));
}

int k8s_openapi_v2_protobuf(const json_t *doc, struct buf *out)
{
	int rc = put_string(out, DOCUMENT_SWAGGER, jpath_str(doc, "swagger", ""));
	rc = rc ? rc : put_message(out, DOCUMENT_INFO, info_message, json_object_get(doc, "info"));
	rc = rc ? rc : put_message(out, DOCUMENT_PATHS, paths_message, json_object_get(doc, "paths"));
	return rc ? rc : put_message(out, DOCUMENT_DEFINITIONS, properties_message, json_object_get(doc, "definitions"));
}
