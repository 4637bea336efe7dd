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

int status_internal(unsigned version, const char *message, struct buf *out)
{
	if (version < JSON_FROM)
		return buf_printf(out, "Internal error occurred: %s", message);
	own_buf struct buf text = BUF_INIT;
	if (buf_printf(&text, "Internal error occurred: %s", message))
		return -ENOMEM;
	/* The agent's words may hold bytes that are no UTF-8, and JSON must not. */
	own_json json_t *whole = json_stringn(text.data, text.len), *part = json_string(message);
	own_json json_t *status = json_pack("{s:{}, s:s, s:O, s:s, s:{s:[{s:O}]}, s:i}", "metadata", "status", "Failure",
		"message", whole ? whole : json_null(), "reason", "InternalError", "details", "causes", "message",
		part ? part : json_null(), "code", 500);
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
