// SPDX-License-Identifier: Apache-2.0
// Stream connections (port 1025): each is opened by one StreamOpen and then belongs to one exec, attach, log or port
// session.
#ifndef BH_AGENT_STREAM_H
#define BH_AGENT_STREAM_H

#include <stdbool.h>

#include "agent.pb-c.h"
#include "base/err.h"
#include "endpoint.h"

struct agent;
struct stream;
struct streams;

struct streams *streams_new(struct agent *a);   // NULL: no memory
void streams_add(struct streams *ss, int fd);    // a new connection; fd is its own now
void streams_free(struct streams *s);      // NULL allowed; sessions are told that their stream has ended

/* A session takes the stream: ops as for endpoints; ended also comes at a hang-up while held, unless keep_tail (then
 * bytes that the peer sent before it closed are still delivered). The session must stream_close after ended. */
void stream_take(struct stream *s, const struct endpoint_ops *ops, void *user, bool keep_tail);

void stream_ready(struct stream *s);                             // StreamReady without error
void stream_refuse(struct stream *s, const struct err *e);       // StreamReady with it, then closed and freed
void stream_close(struct stream *s);                             // at once; NULL allowed
void stream_close_sent(struct stream *s);                        // when all is sent; NULL allowed
struct endpoint *stream_endpoint(struct stream *s);              // borrowed

/* Channel frames of exec and attach. */
void stream_send_channel(struct stream *s, uint8_t channel, const void *data, size_t len);
void stream_send_exit(struct stream *s, const Bulkhead__Agent__ExecExit *exit);

/* What a client's frames mean to a session. */
struct channel_ops {
	void (*input)(void *user, const void *data, size_t len);     // stdin
	void (*input_end)(void *user);
	void (*resize)(void *user, unsigned cols, unsigned rows);
};

/* Understands one frame from the client. Returns bytes taken, 0: more needed, -errno: not a frame a client sends. */
ssize_t channel_input(const struct channel_ops *ops, void *user, const uint8_t *data, size_t len);

#endif
