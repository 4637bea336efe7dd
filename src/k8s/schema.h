// SPDX-License-Identifier: Apache-2.0
// Fields and types of the kinds: one table for decoding, strict checks, strategic merge, server-side apply and the
// OpenAPI documents. A shared type (PodSpec, Container, ObjectMeta) is one k8s_schema that many fields point to.
#ifndef BH_K8S_SCHEMA_H
#define BH_K8S_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct k8s_kind;

enum k8s_type {
	K8S_STRING, K8S_INT32, K8S_INT64, K8S_DOUBLE, K8S_BOOL,
	K8S_BYTES,           // base64
	K8S_QUANTITY,        // string or number; kept in canonical form
	K8S_TIME,            // RFC 3339, seconds
	K8S_MICRO_TIME,      // RFC 3339, microseconds
	K8S_INT_OR_STRING,
	K8S_OBJECT,          // of: its fields
	K8S_ANY,             // any JSON, not looked into
	K8S_STRING_LIST,     // only as element of a map
};

enum k8s_shape { K8S_ONE, K8S_LIST, K8S_MAP };   // a value, a list of them, an object with free keys

struct k8s_field {
	const char *name;
	enum k8s_type type;             // of the value, of each element
	enum k8s_shape shape;
	const struct k8s_schema *of;    // for K8S_OBJECT
	const char *keys;               // list is a map: "containerPort,protocol"; NULL: not
	const char *merge_key;          // strategic merge by this key; NULL: the patch's list replaces
	unsigned required : 1;
	unsigned pointer : 1;           // false, 0 and "" differ from absent
	unsigned atomic : 1;            // server-side apply owns it as a whole
	unsigned set : 1;               // list of distinct values
	unsigned merge_list : 1;        // strategic merge adds to a list of plain values
	unsigned retain_keys : 1;       // strategic merge honours $retainKeys
	unsigned replace : 1;           // strategic merge replaces it as a whole
};

struct k8s_schema {
	const char *name;               // "io.k8s.api.core.v1.PodSpec"
	const struct k8s_field *fields; // sorted by name (strcmp)
	size_t count;
	bool atomic;                    // owned as a whole wherever it is used
};

const struct k8s_field *k8s_schema_field(const struct k8s_schema *s, const char *name);   // NULL: unknown

/* Check an object that came from outside against its kind and bring it into stored form, in place: unknown fields go,
 * nulls and empty values that mean "absent" go, quantities and times become canonical. Custom resources follow their own
 * definition (pruning).
 * unknown: strings like `unknown field "spec.foo"` are appended (NULL: not collected).
 * -EINVAL: a value has the wrong type; e: the whole sentence for a 400 ("Pod in version "v1" cannot be handled as a Pod:
 * json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container"). */
int k8s_decode(const struct k8s_kind *k, json_t *obj, json_t *unknown, struct err *e);
/* The same for an object of a given schema that is no kind of its own (Scale, Eviction, TokenRequest, DeleteOptions). */
int k8s_decode_schema(const struct k8s_schema *s, const char *api_version, const char *kind, json_t *obj, json_t *unknown,
		      struct err *e);

/* The sentence for fieldValidation=Strict: "... strict decoding error: unknown field \"a\", unknown field \"b\"". */
int k8s_strict_error(const char *api_version, const char *kind, const json_t *unknown, struct err *e);

/* Duplicate keys in JSON text: appends `duplicate field "spec.x"` to found. -EINVAL when text is not JSON. */
int k8s_json_duplicates(const char *text, size_t len, json_t *found);

#endif
