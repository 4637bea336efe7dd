// SPDX-License-Identifier: Apache-2.0
// The last words of an exec or attach; see streaming_status.h. kubectl takes its exit code and its error text from them.
#include "streaming_status.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"

#define JSON_FROM 4   // first version with a metav1.Status

static int put_json(json_t *status, struct buf *out)
{
	char *text = status ? json_dumps(status, JSON_COMPACT) : NULL;
	int rc = text ? buf_puts(out, text) : -ENOMEM;
	free(text);
	return rc;
}

int status_success(unsigned version, struct buf *out)
{
	return version < JSON_FROM ? 0 : buf_puts(out, "{\"metadata\":{},\"status\":\"Success\"}");
}

int status_exit_code(unsigned version, int exit_code, struct buf *out)
{
	char message[100], code[16];
	snprintf(message, sizeof(message), "command terminated with non-zero exit code: exit status %d", exit_code);
	snprintf(code, sizeof(code), "%d", exit_code);
	if (version < JSON_FROM)
		return buf_puts(out, message);
	own_json json_t *status = json_pack("{s:{}, s:s, s:s, s:s, s:{s:[{s:s, s:s}]}}", "metadata", "status", "Failure",
		"message", message, "reason", "NonZeroExitCode", "details", "causes", "reason", "ExitCode", "message", code);
	return put_json(status, out);
}

/* The agent's words may hold bytes that are no UTF-8, and JSON must not: then what is not ASCII becomes '?'. */
static json_t *json_text(const char *text)
{
	json_t *value = json_string(text);
	char *copy = value ? NULL : strdup(text);
	for (char *p = copy; p && *p; p++)
		if (*p & 0x80)
			*p = '?';
	if (copy)
		value = json_string(copy);
	free(copy);
	return value;
}

int status_internal(unsigned version, const char *message, struct buf *out)
{
	if (version < JSON_FROM)
		return buf_printf(out, "Internal error occurred: %s", message);
	own_json json_t *part = json_text(message), *whole = NULL;
	if (part)
		whole = json_sprintf("Internal error occurred: %s", json_string_value(part));
	own_json json_t *status = json_pack("{s:{}, s:s, s:O, s:s, s:{s:[{s:O}]}, s:i}", "metadata", "status", "Failure",
		"message", whole, "reason", "InternalError", "details", "causes", "message", part, "code", 500);
	return put_json(status, out);
}

int status_exec_failure(const char *container_id, const char *argv0, int code, const char *said, struct buf *out)
{
	if (buf_printf(out, "error executing command in container: failed to exec in container: failed to start exec \"%s\": "
			    "OCI runtime exec failed: exec failed: unable to start container process: ", container_id))
		return -ENOMEM;
	if (code == ENOENT && !strchr(argv0, '/'))
		return buf_printf(out, "exec: \"%s\": executable file not found in $PATH: unknown", argv0);
	if (code == ENOENT)
		return buf_printf(out, "exec: \"%s\": stat %s: no such file or directory: unknown", argv0, argv0);
	if (code == EACCES)
		return buf_printf(out, "exec: \"%s\": permission denied: unknown", argv0);
	return buf_printf(out, "%s: unknown", said && *said ? said : strerror(code));
}
