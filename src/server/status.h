// SPDX-License-Identifier: Apache-2.0
// Status objects: how every failure reaches a client, in the words of Kubernetes. A function that can fail for a
// client's reasons returns NULL or one of these (a new reference, never NULL: without memory a static one).
#ifndef BH_SERVER_STATUS_H
#define BH_SERVER_STATUS_H

#include <jansson.h>

struct k8s_kind;

json_t *status_new(int code, const char *reason, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same with details {name, group, kind: plural}; name may be NULL. */
json_t *status_about(int code, const char *reason, const struct k8s_kind *k, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* Add a cause to details; s is returned. */
json_t *status_cause(json_t *s, const char *reason, const char *message, const char *field);

json_t *status_bad_request(const char *fmt, ...) __attribute__((format(printf, 1, 2)));        // 400 BadRequest
json_t *status_not_found(const struct k8s_kind *k, const char *name);                         // pods "x" not found
json_t *status_exists(const struct k8s_kind *k, const char *name);                            // pods "x" already exists
json_t *status_conflict(const struct k8s_kind *k, const char *name, const char *why);         // Operation cannot be fulfilled on ...
json_t *status_forbidden(const struct k8s_kind *k, const char *name, const char *why);        // pods "x" is forbidden: why
json_t *status_internal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));           // Internal error occurred: ...
json_t *status_errno(int error);                                                              // from the store or memory
json_t *status_success(const struct k8s_kind *k, const char *name, const char *uid);

int status_code(const json_t *s);

#define STATUS_MODIFIED "the object has been modified; please apply your changes to the latest version and try again"

#endif
