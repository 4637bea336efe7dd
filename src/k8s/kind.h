// SPDX-License-Identifier: Apache-2.0
// The table of kinds: adding a kind to the server is adding a row (and, where it needs them, its schema, defaulting,
// validation and printer rows), not code. Custom resources add rows at run time in the same form.
#ifndef BH_K8S_KIND_H
#define BH_K8S_KIND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct k8s_schema;    // schema.h: fields, types, merge keys of a kind

/* Collects validation failures; each becomes a cause of the Status. */
struct k8s_errors;

struct k8s_column {
	const char *name;         // "NAME", as kubectl prints it (capitalised like upstream: "Name", "Ready", "Status")
	const char *type;         // "string", "integer", "date"
	const char *format;       // "name" or ""
	const char *description;
	int priority;             // 0 always, 1 only with -o wide
};

struct k8s_kind {
	const char *group, *version;       // "" and "v1" for core
	const char *kind, *list_kind;      // "Pod", "PodList"
	const char *plural, *singular;     // "pods", "pod"
	const char *const *short_names;    // {"po", NULL} or NULL
	const char *const *categories;     // {"all", NULL} or NULL
	bool namespaced;
	bool storage;                      // false: another version of the same group/plural is the stored one
	const char *const *subresources;   // {"status", "log", "exec", ..., NULL} or NULL
	const char *const *verbs;          // NULL: create delete deletecollection get list patch update watch
	bool status_subresource;           // main endpoint keeps status, /status changes only status
	bool has_generation;               // metadata.generation counts changes of spec
	const struct k8s_schema *schema;   // NULL: fields are not known (no pruning, no strict checks)
	const struct k8s_column *columns;  // ended by name NULL; NULL: Name and Age
	const char *const *field_labels;   // fields to select on beside metadata.name and metadata.namespace; NULL: none
	const char *(*check_name)(const char *name);                // rule of metadata.name (name_rules.h); NULL: DNS subdomain
	/* Another row that holds the same objects (events of both groups, autoscaling/v1 and v2): NULL when this row stores
	 * them. Conversions work in place and also set apiVersion; NULL: only apiVersion differs. */
	const char *stored_group, *stored_version;                  // NULL: own group, the version with storage true
	void (*to_stored)(json_t *obj);
	void (*from_stored)(json_t *obj);
	const struct k8s_custom *custom;                            // of a custom resource (custom.h); NULL for built-in kinds
	int (*cells)(const json_t *obj, json_t *cells);             // append one cell per column; NULL: name and age
	/* The hooks below are those of the row that stores the objects (k8s_kind_stored) and see its form: decode by the row
	 * of the request, convert, then default, prepare and validate by the stored row. */
	void (*set_defaults)(json_t *obj);                          // fill defaults as upstream does; NULL: none
	void (*validate)(const json_t *obj, const json_t *old, struct k8s_errors *e);   // old: NULL on create; NULL: metadata only
	void (*prepare_create)(json_t *obj);                        // drop what a client may not set (status); NULL. Needs
	                                                            // metadata.uid to be set (Job)
	void (*prepare_update)(json_t *obj, const json_t *old);
	void (*warn)(const json_t *obj, json_t *texts);             // append sentences for the client (Warning headers); NULL
};

const struct k8s_kind *k8s_kinds(size_t *count);                 // the built-in rows
/* All that are served now: the built-in rows and those of custom resources, which come after, by group, preferred version
 * first, by name. The array is the caller's (free); NULL: no memory. */
const struct k8s_kind **k8s_kinds_now(size_t *count);
const struct k8s_kind *k8s_kind_find(const char *group, const char *version, const char *plural);
const struct k8s_kind *k8s_kind_by_name(const char *api_version, const char *kind);

/* The row that stores the objects of k (k itself for most). */
const struct k8s_kind *k8s_kind_stored(const struct k8s_kind *k);
/* Convert an object between two rows of the same objects, in place. */
void k8s_kind_convert(const struct k8s_kind *from, const struct k8s_kind *to, json_t *obj);
bool k8s_kind_has_verb(const struct k8s_kind *k, const char *verb);
bool k8s_kind_has_subresource(const struct k8s_kind *k, const char *name);
bool k8s_kind_field_selectable(const struct k8s_kind *k, const char *field);

/* What discovery says of a subresource. group NULL: group and version of the parent; kind NULL: kind of the parent. */
struct k8s_subresource {
	const char *name;
	const char *group, *version, *kind;
	const char *const *verbs;
};
const struct k8s_subresource *k8s_subresource_find(const char *name);

/* Validation failures. type as in Kubernetes: "FieldValueRequired", "FieldValueInvalid", "FieldValueNotSupported",
 * "FieldValueForbidden", "FieldValueDuplicate", "FieldValueNotFound", "FieldValueTooLong", "FieldValueTypeInvalid". */
struct k8s_errors *k8s_errors_new(void);
void k8s_errors_free(struct k8s_errors *e);
size_t k8s_errors_count(const struct k8s_errors *e);
void k8s_errors_add(struct k8s_errors *e, const char *type, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));   // text: upstream's, e.g. "Required value" or "Invalid value: \"x\": must be ..."
/* The 422 Status object: "Pod \"x\" is invalid: spec.containers[0].image: Required value" with details.causes. */
json_t *k8s_errors_status(const struct k8s_errors *e, const struct k8s_kind *k, const char *name);

/* Checks common to all kinds: metadata.name or generateName, namespace, labels, annotations, finalizers, ownerReferences. */
void k8s_validate_metadata(const struct k8s_kind *k, const json_t *obj, struct k8s_errors *e);

/* On update also: what of metadata may not change. */
void k8s_validate_metadata_update(const struct k8s_kind *k, const json_t *obj, const json_t *old, struct k8s_errors *e);
/* Everything at once: metadata, then the kind's own rules. old: NULL on create. */
void k8s_validate(const struct k8s_kind *k, const json_t *obj, const json_t *old, struct k8s_errors *e);

/* meta.k8s.io/v1 Table of objects (a JSON array of borrowed objects). include: "None", "Metadata" (default), "Object".
 * New reference. */
json_t *k8s_table(const struct k8s_kind *k, const json_t *objects, const char *include, const char *resource_version,
		  const char *continue_token);

#endif
