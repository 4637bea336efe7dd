// SPDX-License-Identifier: Apache-2.0
// Opening a stream of an agent without waiting for it: a VM that hangs must hold up nothing but its own streams. Each
// attempt has a short-lived thread.
#ifndef BH_HOSTD_STREAMING_OPEN_H
#define BH_HOSTD_STREAMING_OPEN_H

#include "agent_client.h"
#include "base/err.h"

struct agent_opening;

/* open: copied. notify_fd: an eventfd that is written to when the attempt is over; the caller's, at least until it has
 * collected or abandoned the attempt. NULL: no memory or no thread. */
struct agent_opening *agent_opening_start(const char *vsock_path, const Bulkhead__Agent__StreamOpen *open, uint32_t timeout_ms,
					  int notify_fd);

/* -EINPROGRESS, or the result of agent_stream_open; then the attempt is freed. */
int agent_opening_collect(struct agent_opening *o, struct err *e);
void agent_opening_abandon(struct agent_opening *o);   // NULL allowed

#endif
