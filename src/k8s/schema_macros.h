// SPDX-License-Identifier: Apache-2.0
// Short names for the tables of fields; included only by schema_*.c. A line reads: shape and type (name, options).
#ifndef BH_K8S_SCHEMA_MACROS_H
#define BH_K8S_SCHEMA_MACROS_H

#include "schema.h"
#include "schema_types.h"

#define FIELD(n, t, s, ...) {.name = n, .type = K8S_##t, .shape = K8S_##s, ##__VA_ARGS__}

/* one value; P: absent and zero differ */
#define S(n, ...) FIELD(n, STRING, ONE, ##__VA_ARGS__)
#define SP(n, ...) FIELD(n, STRING, ONE, .pointer = 1, ##__VA_ARGS__)
#define I32(n, ...) FIELD(n, INT32, ONE, ##__VA_ARGS__)
#define I32P(n, ...) FIELD(n, INT32, ONE, .pointer = 1, ##__VA_ARGS__)
#define I64(n, ...) FIELD(n, INT64, ONE, ##__VA_ARGS__)
#define I64P(n, ...) FIELD(n, INT64, ONE, .pointer = 1, ##__VA_ARGS__)
#define DP(n, ...) FIELD(n, DOUBLE, ONE, .pointer = 1, ##__VA_ARGS__)
#define B(n, ...) FIELD(n, BOOL, ONE, ##__VA_ARGS__)
#define BP(n, ...) FIELD(n, BOOL, ONE, .pointer = 1, ##__VA_ARGS__)
#define BYTES(n, ...) FIELD(n, BYTES, ONE, ##__VA_ARGS__)
#define Q(n, ...) FIELD(n, QUANTITY, ONE, ##__VA_ARGS__)
#define TIME(n, ...) FIELD(n, TIME, ONE, ##__VA_ARGS__)
#define MICROTIME(n, ...) FIELD(n, MICRO_TIME, ONE, ##__VA_ARGS__)
#define IOS(n, ...) FIELD(n, INT_OR_STRING, ONE, ##__VA_ARGS__)
#define ANY(n, ...) FIELD(n, ANY, ONE, ##__VA_ARGS__)
#define O(n, type, ...) FIELD(n, OBJECT, ONE, .of = &k8s_##type, ##__VA_ARGS__)
/* lists and maps, of plain values and of objects */
#define L(n, t, ...) FIELD(n, t, LIST, ##__VA_ARGS__)
#define LO(n, type, ...) FIELD(n, OBJECT, LIST, .of = &k8s_##type, ##__VA_ARGS__)
#define M(n, t, ...) FIELD(n, t, MAP, ##__VA_ARGS__)
#define MO(n, type, ...) FIELD(n, OBJECT, MAP, .of = &k8s_##type, ##__VA_ARGS__)

#define REQUIRED .required = 1
#define ATOMIC .atomic = 1
#define SET .set = 1
#define MERGE_LIST .merge_list = 1
#define RETAIN_KEYS .retain_keys = 1
#define REPLACE .replace = 1
#define KEYS(k) .keys = k
#define MERGE_BY(k) .merge_key = k

#define SCHEMA_(id, n, whole, ...) \
	static const struct k8s_field id##_fields[] = {__VA_ARGS__}; \
	const struct k8s_schema k8s_##id = {.name = n, .fields = id##_fields, \
		.count = sizeof(id##_fields) / sizeof(*id##_fields), .atomic = whole};
#define SCHEMA(id, n, ...) SCHEMA_(id, n, false, __VA_ARGS__)
#define SCHEMA_ATOMIC(id, n, ...) SCHEMA_(id, n, true, __VA_ARGS__)

#endif
