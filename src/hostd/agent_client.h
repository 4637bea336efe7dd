// SPDX-License-Identifier: Apache-2.0
// hostd's side of the agent protocol (src/agent/proto/agent.proto): one control connection per VM, and streams.
#ifndef BH_HOSTD_AGENT_CLIENT_H
#define BH_HOSTD_AGENT_CLIENT_H

#include <stdint.h>

#include "agent.pb-c.h"
#include "base/err.h"

struct agent_client;

/* Called on the client's reader thread for each event, and once with ev NULL when the connection has ended. Must not
 * call agent_client_close. */
typedef void agent_event_fn(void *user, const Bulkhead__Agent__Event *ev);

/* Connect to the agent behind VMDIR/vsock.sock (CONNECT 1024), retrying until it answers or deadline_ms has passed or
 * *cancel is nonzero; does the Hello. hello: may be NULL; free with bulkhead__agent__hello_reply__free_unpacked.
 * Blocking. 0, -ETIMEDOUT, -ECANCELED, -EPROTO, -errno. */
int agent_client_open(const char *vsock_path, uint32_t deadline_ms, const volatile int *cancel, agent_event_fn *on_event,
		      void *user, struct agent_client **c, Bulkhead__Agent__HelloReply **hello, struct err *e);
/* Events go to somebody else from now on. 0; -EPIPE: the connection has ended, and nobody is told. */
int agent_client_become(struct agent_client *c, agent_event_fn *on_event, void *user);
void agent_client_close(struct agent_client *c);   // waits for the reader thread; NULL allowed

/* For what a pod cannot go on without: on a machine that has much to do, a guest may get its turn late. */
#define AGENT_ANSWER_MS 60000
/* Send rq (id is filled in) and wait for its reply. reply: may be NULL; else freed by the caller with
 * bulkhead__agent__reply__free_unpacked(reply, NULL). Any thread, many at once. Returns 0, -ETIMEDOUT, -EPIPE (VM gone)
 * or the agent's own -error_code with its sentence in e. */
int agent_request(struct agent_client *c, Bulkhead__Agent__Request *rq, uint32_t timeout_ms,
		  Bulkhead__Agent__Reply **reply, struct err *e);

/* Open a stream (CONNECT 1025, StreamOpen, StreamReady). Returns a connected blocking socket, owned by the caller, or
 * -errno: the agent's error_code (-ENOENT no such container or command, -ECONNREFUSED...) with its sentence in e. */
int agent_stream_open(const char *vsock_path, const Bulkhead__Agent__StreamOpen *open, uint32_t timeout_ms, struct err *e);

/* One frame of an exec or attach stream. Both block; 0 or -errno; -ENODATA at the end of the stream. */
#define AGENT_FRAME_MAX 65536
enum { AGENT_STDIN, AGENT_STDOUT, AGENT_STDERR, AGENT_EXIT, AGENT_RESIZE };
int agent_frame_send(int fd, uint8_t channel, const void *data, uint32_t len);
int agent_frame_recv(int fd, uint8_t *channel, void *data, uint32_t *len);   // *len: room in, bytes out

#endif
