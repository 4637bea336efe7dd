// SPDX-License-Identifier: Apache-2.0
// What the validators share: field paths that become text only when something is wrong, and the usual failures.
#ifndef BH_K8S_VALIDATE_H
#define BH_K8S_VALIDATE_H

#include <jansson.h>
#include <stdbool.h>

#include "kind.h"

/* One step of a path; lives on the caller's stack. */
struct k8s_path {
	const struct k8s_path *up;   // NULL at the root (PATH_ROOT(NULL): a root without a name)
	const char *name;            // ".name", or NULL: "[index]" or "[key]"
	size_t index;
	const char *key;
};

#define PATH_ROOT(text) (&(const struct k8s_path){.name = (text)})
#define PATH(path, text) (&(const struct k8s_path){.up = (path), .name = (text)})
#define PATH_AT(path, i) (&(const struct k8s_path){.up = (path), .index = (i)})
#define PATH_KEY(path, text) (&(const struct k8s_path){.up = (path), .key = (text)})

struct buf;
int k8s_path_text(const struct k8s_path *path, struct buf *out);

/* detail: NULL for none. value: any JSON value, printed as upstream prints it (strings quoted). */
void k8s_required(struct k8s_errors *e, const struct k8s_path *path, const char *detail);
void k8s_invalid(struct k8s_errors *e, const struct k8s_path *path, const json_t *value, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void k8s_invalid_str(struct k8s_errors *e, const struct k8s_path *path, const char *value, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void k8s_forbidden(struct k8s_errors *e, const struct k8s_path *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void k8s_duplicate(struct k8s_errors *e, const struct k8s_path *path, const json_t *value);
void k8s_duplicate_str(struct k8s_errors *e, const struct k8s_path *path, const char *value);
void k8s_not_found(struct k8s_errors *e, const struct k8s_path *path, const char *value);
void k8s_too_long(struct k8s_errors *e, const struct k8s_path *path, size_t max_bytes);
void k8s_too_many(struct k8s_errors *e, const struct k8s_path *path, size_t have, size_t max);

/* value must be one of allowed (ended by NULL; listed sorted in the message). "" counts as absent: Required when required. */
bool k8s_check_enum(struct k8s_errors *e, const struct k8s_path *path, const char *value, const char *const *allowed,
		    bool required);
/* Applies one of name_rules.h to value: "Invalid value: ...". Returns whether it was right. */
bool k8s_check_rule(struct k8s_errors *e, const struct k8s_path *path, const char *value, const char *(*rule)(const char *));
/* An integer field within [min, max]; message fmt as upstream's "must be between 1 and 65535, inclusive". Absent is fine. */
bool k8s_check_port(struct k8s_errors *e, const struct k8s_path *path, const json_t *value);
/* "must be greater than or equal to 0" */
bool k8s_check_not_negative(struct k8s_errors *e, const struct k8s_path *path, const json_t *value);

void k8s_check_labels(struct k8s_errors *e, const struct k8s_path *path, const json_t *labels);
void k8s_check_annotations(struct k8s_errors *e, const struct k8s_path *path, const json_t *annotations);
/* metav1.LabelSelector */
void k8s_check_label_selector(struct k8s_errors *e, const struct k8s_path *path, const json_t *selector);
/* "field is immutable" unless equal; absent equals null. */
void k8s_check_immutable(struct k8s_errors *e, const struct k8s_path *path, const json_t *now, const json_t *before);

#endif
