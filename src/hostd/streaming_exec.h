// SPDX-License-Identifier: Apache-2.0
// exec and attach: the relay between a client's streams and one stream of the agent.
#ifndef BH_HOSTD_STREAMING_EXEC_H
#define BH_HOSTD_STREAMING_EXEC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "streaming_wire.h"

struct exec_request {
	bool attach;
	const char *vsock_path, *container_id;
	char *const *argv;               // exec: argc words
	size_t argc;
	bool in, out, err, tty;          // what the client asked for
	bool drop_stdin;                 // the container has none open: what the client sends goes nowhere
	bool websocket;                  // else SPDY
	bool base64;                     // WebSocket: of the base64 protocols
	unsigned version;                // of the remote command protocol, 1 to 5
};

/* Runs until the command has ended or the client is gone; on the thread that calls. stop_fd: readable when hostd stops. */
void exec_relay(struct wire *w, int stop_fd, const struct exec_request *rq);

#define EXEC_OPEN_TIMEOUT_MS 10000   // for the agent to start the command

/* Ask the agent for the stream. Returns its descriptor, or -errno with the sentence a client is to be told in text. */
int exec_open(const struct exec_request *rq, struct buf *text);

/* /run (streaming_run.c): execute without streams and gather the output in out. Returns 0 or -errno, what a kubelet
 * says in text. */
int exec_run(const struct exec_request *rq, int stop_fd, struct buf *out, struct buf *text);

#endif
