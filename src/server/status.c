// SPDX-License-Identifier: Apache-2.0
#include "server/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/kind.h"

static json_t *out_of_memory(void)
{
	static json_t *s;   // made at the first call of status_new, which start-up does

	if (!s)
		s = json_pack("{s:s,s:s,s:{},s:s,s:s,s:s,s:i}", "kind", "Status", "apiVersion", "v1", "metadata", "status",
			      "Failure", "message", "Internal error occurred: out of memory", "reason", "InternalError", "code", 500);
	return json_incref(s);
}

static json_t *status_v(int code, const char *reason, const char *fmt, va_list args)
{
	own_free char *text = NULL;
	json_t *s;

	if (vasprintf(&text, fmt, args) < 0) {
		text = NULL;
		return out_of_memory();
	}
	s = json_pack("{s:s,s:s,s:{},s:s,s:s,s:s,s:i}", "kind", "Status", "apiVersion", "v1", "metadata", "status", "Failure",
		      "message", text, "reason", reason, "code", code);
	return s ? s : out_of_memory();
}

json_t *status_new(int code, const char *reason, const char *fmt, ...)
{
	va_list args;
	json_t *s;

	va_start(args, fmt);
	s = status_v(code, reason, fmt, args);
	va_end(args);
	return s;
}

static json_t *details(const struct k8s_kind *k, const char *name)
{
	json_t *d = json_object();

	if (name && *name)
		json_object_set_new(d, "name", json_string(name));
	if (k && *k->group)
		json_object_set_new(d, "group", json_string(k->group));
	if (k)
		json_object_set_new(d, "kind", json_string(k->plural));
	return d;
}

json_t *status_about(int code, const char *reason, const struct k8s_kind *k, const char *name, const char *fmt, ...)
{
	va_list args;
	json_t *s;

	va_start(args, fmt);
	s = status_v(code, reason, fmt, args);
	va_end(args);
	json_object_set_new(s, "details", details(k, name));
	return s;
}

json_t *status_cause(json_t *s, const char *reason, const char *message, const char *field)
{
	json_t *d = json_object_get(s, "details"), *causes, *cause;

	if (!d && !json_object_set_new(s, "details", json_object()))
		d = json_object_get(s, "details");
	causes = json_object_get(d, "causes");
	if (!causes && !json_object_set_new(d, "causes", json_array()))
		causes = json_object_get(d, "causes");
	cause = json_pack("{s:s,s:s}", "reason", reason, "message", message);
	if (field)
		json_object_set_new(cause, "field", json_string(field));
	json_array_append_new(causes, cause);
	return s;
}

json_t *status_bad_request(const char *fmt, ...)
{
	va_list args;
	json_t *s;

	va_start(args, fmt);
	s = status_v(400, "BadRequest", fmt, args);
	va_end(args);
	return s;
}

json_t *status_internal(const char *fmt, ...)
{
	own_free char *text = NULL;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(&text, fmt, args);
	va_end(args);
	if (n < 0) {
		text = NULL;
		return out_of_memory();
	}
	return status_cause(status_new(500, "InternalError", "Internal error occurred: %s", text), "", text, NULL);
}

/* "pods" or "deployments.apps" */
static const char *qualified(const struct k8s_kind *k, char *out, size_t size)
{
	snprintf(out, size, *k->group ? "%s.%s" : "%s", k->plural, k->group);
	return out;
}

json_t *status_not_found(const struct k8s_kind *k, const char *name)
{
	char q[256];

	return status_about(404, "NotFound", k, name, "%s \"%s\" not found", qualified(k, q, sizeof q), name);
}

json_t *status_exists(const struct k8s_kind *k, const char *name)
{
	char q[256];

	return status_about(409, "AlreadyExists", k, name, "%s \"%s\" already exists", qualified(k, q, sizeof q), name);
}

json_t *status_conflict(const struct k8s_kind *k, const char *name, const char *why)
{
	char q[256];

	return status_about(409, "Conflict", k, name, "Operation cannot be fulfilled on %s \"%s\": %s",
			    qualified(k, q, sizeof q), name, why);
}

json_t *status_forbidden(const struct k8s_kind *k, const char *name, const char *why)
{
	char q[256];

	if (!name || !*name)
		return status_about(403, "Forbidden", k, name, "%s is forbidden: %s", qualified(k, q, sizeof q), why);
	return status_about(403, "Forbidden", k, name, "%s \"%s\" is forbidden: %s", qualified(k, q, sizeof q), name, why);
}

json_t *status_errno(int error)
{
	switch (abs(error)) {
	case ENOMEM:
		return out_of_memory();
	case ENOSPC:
		return status_internal("no space left on the device that holds the store");
	case EFBIG:
		return status_new(413, "RequestEntityTooLarge", "Request entity too large: an object may have 1568768 bytes as it is stored");
	case ETIMEDOUT:
		return status_new(504, "Timeout", "the store did not answer in time: the change may have been made or not");
	default:
		return status_internal("store: %s", strerror(abs(error)));
	}
}

json_t *status_success(const struct k8s_kind *k, const char *name, const char *uid)
{
	json_t *d = details(k, name);

	if (uid)
		json_object_set_new(d, "uid", json_string(uid));
	return json_pack("{s:s,s:s,s:{},s:s,s:o}", "kind", "Status", "apiVersion", "v1", "metadata", "status", "Success",
			 "details", d);
}

int status_code(const json_t *s)
{
	return jpath_int(s, "code", 200);
}
