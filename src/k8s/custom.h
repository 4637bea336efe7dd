// SPDX-License-Identifier: Apache-2.0
// Custom resources: rows of the table of kinds made from CustomResourceDefinitions at run time. All calls are safe from
// any thread. The rows are found by k8s_kind_find and k8s_kind_by_name like the built-in ones.
#ifndef BH_K8S_CUSTOM_H
#define BH_K8S_CUSTOM_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

struct k8s_kind;
struct k8s_custom;
struct k8s_errors;

/* Make rows of all served versions of a (valid) CustomResourceDefinition; earlier rows of the same definition are retired.
 * Nothing happens when they say what the definition says. 0, -EINVAL, -ENOMEM. */
int k8s_custom_register(const json_t *crd, struct err *e);
void k8s_custom_unregister(const char *crd_name);   // "foos.example.com"; unknown is fine

/* A row that a caller has found stays readable after its definition changed or went: it is retired. Frees rows retired
 * longer than age_s ago that nobody holds; call now and then, with an age no request survives. Who may look at a row for
 * longer (a watch) holds it; built-in kinds pass. */
void k8s_custom_collect(unsigned age_s);
const struct k8s_kind *k8s_custom_hold(const struct k8s_kind *k);   // k
void k8s_custom_release(const struct k8s_kind *k);

/* Calls fn for each custom row in use, under the registry's lock: fn must not register or unregister. */
void k8s_custom_each(void (*fn)(void *user, const struct k8s_kind *k), void *user);
/* Grows with every change of the rows: what is made from them (discovery, OpenAPI) is stale when it differs. */
unsigned long k8s_kinds_generation(void);

/* Of a custom row: spec.versions[i] of its definition ({name, schema, subresources, additionalPrinterColumns}), borrowed. */
const json_t *k8s_custom_version(const struct k8s_kind *k);
const char *k8s_custom_definition(const struct k8s_kind *k);   // name of its CustomResourceDefinition
bool k8s_custom_is_ending(const struct k8s_kind *k);           // its definition is being deleted

/* ---- used by the calls that take a kind ---- */

const struct k8s_kind *k8s_custom_find(const char *group, const char *version, const char *plural);
const struct k8s_kind *k8s_custom_by_name(const char *group, size_t group_len, const char *version, const char *kind);
const struct k8s_kind *k8s_custom_stored(const struct k8s_kind *k);

/* Prunes unknown fields, drops nulls, fills in defaults; like k8s_decode. */
int k8s_custom_decode(const struct k8s_kind *k, json_t *obj, json_t *unknown, struct err *e);
/* Checks an object against its schema: types, enums, ranges, patterns, anyOf and the like. CEL rules are not run. */
void k8s_custom_validate(const struct k8s_kind *k, const json_t *obj, struct k8s_errors *e);
/* What x-kubernetes-validations say of a change, as far as they are run (custom_rules.c). */
void k8s_custom_rules(const struct k8s_kind *k, const json_t *obj, const json_t *old, struct k8s_errors *e);
/* Columns as in a Table's columnDefinitions (new reference), and the cells. */
json_t *k8s_custom_columns(const struct k8s_kind *k);
int k8s_custom_cells(const struct k8s_kind *k, const json_t *obj, json_t *cells);
/* The schema as OpenAPI definition; v2: without what version 2 cannot say. New reference. */
json_t *k8s_custom_openapi(const struct k8s_kind *k, int v2, const char *meta_ref);

#endif
