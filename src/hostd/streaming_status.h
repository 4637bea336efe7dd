// SPDX-License-Identifier: Apache-2.0
// How an exec or attach ended, in the words of the remote command protocols.
#ifndef BH_HOSTD_STREAMING_STATUS_H
#define BH_HOSTD_STREAMING_STATUS_H

#include "base/buf.h"

/* Append what goes on the error stream. version: 1 to 5 of the protocol; up to 3 success is no bytes and a failure is
 * plain text, from 4 on it is a metav1.Status. All return 0 or -ENOMEM. */
int status_success(unsigned version, struct buf *out);
int status_exit_code(unsigned version, int exit_code, struct buf *out);
int status_internal(unsigned version, const char *message, struct buf *out);   // "Internal error occurred: " + message

/* What containerd says when a command cannot be started. code: errno; said: the agent's sentence. */
int status_exec_failure(const char *container_id, const char *argv0, int code, const char *said, struct buf *out);

#endif
