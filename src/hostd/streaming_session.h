// SPDX-License-Identifier: Apache-2.0
// One upgraded connection: a wire, and the mux that its bytes go through. The thread of the connection runs a relay
// (streaming_exec.c, streaming_port.c) as a loop around session_step.
#ifndef BH_HOSTD_STREAMING_SESSION_H
#define BH_HOSTD_STREAMING_SESSION_H

#include <poll.h>
#include <stdbool.h>

#include "streaming_mux.h"
#include "streaming_wire.h"

#define SESSION_FDS 2            // the first descriptors of each poll are the session's
#define SESSION_READ 32768

struct session {
	struct wire wire;
	struct mux *mux;         // owned by the relay
	int stop_fd;             // readable: hostd stops
	bool paused;             // set by the relay: leave the client's bytes where they are
	unsigned char *buffer;   // SESSION_READ bytes, the relay's
};

/* Send what waits as far as that goes without waiting. To be called before the descriptors for session_step are chosen:
 * a relay that does not read its other side because the client had no room must look again after this. */
int session_flush(struct session *s);

/* Wait for the session's descriptors and for fds[SESSION_FDS] to fds[count - 1]; send what waits, and take in what the
 * client sent. fds: count of them; the first ones are filled in here. timeout_ms: -1 for ever.
 * Returns 0; -EPIPE the client is gone or has said good-bye; -ECANCELED hostd stops; -EPROTO and others: of the mux. */
int session_step(struct session *s, struct pollfd *fds, size_t count, int timeout_ms);

/* The end: say good-bye, wait until the client has taken everything (as long as it lives), then until it closes or a
 * moment has passed. Closing earlier, with bytes of the client unread, would make TCP throw away what it has not
 * yet got. */
void session_finish(struct session *s);

#endif
