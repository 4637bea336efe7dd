// SPDX-License-Identifier: Apache-2.0
// Many streams over one client connection, whatever the client speaks: SPDY/3.1 (spdy.c), the WebSocket channel
// protocols (websocket_channels.c), or SPDY inside WebSocket messages (websocket_tunnel.c). A mux does no input or
// output itself: bytes of the client go in with input, bytes for the client gather in `out`. One thread.
#ifndef BH_HOSTD_STREAMING_MUX_H
#define BH_HOSTD_STREAMING_MUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define MUX_HEADERS_MAX 32
#define MUX_STREAMS_MAX 4096   // open at once on one connection
#define MUX_OUT_MAX (256u << 10)   // room() is 0 while this much waits in out

/* What the client said about a stream when it opened it. Names are lower case. Strings are borrowed. */
struct mux_headers {
	size_t count;
	struct mux_header { const char *name, *value; } list[MUX_HEADERS_MAX];
};

static inline const char *mux_header(const struct mux_headers *h, const char *name)   // "" when absent
{
	for (size_t i = 0; i < h->count; i++) {
		const char *a = h->list[i].name, *b = name;
		while (*a && *a == *b)
			a++, b++;
		if (*a == *b)
			return h->list[i].value;
	}
	return "";
}

/* What happens on the streams; called from within input. None of them may free the mux. */
struct mux_sink {
	/* The client opened a stream. Return 0 to accept it, -errno to refuse. */
	int (*opened)(void *user, uint32_t stream, const struct mux_headers *h);
	/* Bytes of the client. Return 0 or -errno (the connection is given up). Say consumed when they have gone on. */
	int (*data)(void *user, uint32_t stream, const void *data, size_t len);
	/* The client sends no more on this stream; reset: and does not want to receive on it either. */
	void (*ended)(void *user, uint32_t stream, bool reset);
};

struct mux;

/* All of them return 0, -ENOMEM, or -ENOENT for a stream that is gone, where nothing else is said. */
struct mux_ops {
	/* Take in all of data. -EPROTO: the client broke the protocol; -ENODATA: it has said good-bye; others as sink. */
	int (*input)(struct mux *m, const void *data, size_t len);
	/* Queue bytes for the client; len at most room. */
	int (*send)(struct mux *m, uint32_t stream, const void *data, size_t len);
	int (*finish)(struct mux *m, uint32_t stream);                   // we send no more on this stream
	int (*reset)(struct mux *m, uint32_t stream);                    // forget the stream, both ways
	size_t (*window)(const struct mux *m, uint32_t stream);          // bytes the client is ready to take
	int (*consumed)(struct mux *m, uint32_t stream, size_t len);     // bytes given to data() have gone on
	int (*goodbye)(struct mux *m);                                   // the last thing sent
	void (*free)(struct mux *m);
};

struct mux {
	const struct mux_ops *ops;
	const struct mux_sink *sink;
	void *user;            // of the sink
	struct buf out;        // for the client; the owner takes bytes away from the front
	size_t out_taken;      // bytes at the front that have been taken already
};

static inline size_t mux_pending(const struct mux *m) { return m->out.len - m->out_taken; }

/* Bytes that send may be given now: what the client and our own buffer allow. */
static inline size_t mux_room(const struct mux *m, uint32_t stream)
{
	size_t pending = mux_pending(m), window;
	if (pending >= MUX_OUT_MAX)
		return 0;
	window = m->ops->window(m, stream);
	return window < MUX_OUT_MAX - pending ? window : MUX_OUT_MAX - pending;
}

static inline int mux_input(struct mux *m, const void *data, size_t len) { return m->ops->input(m, data, len); }
static inline int mux_send(struct mux *m, uint32_t stream, const void *data, size_t len)
{
	return m->ops->send(m, stream, data, len);
}
static inline int mux_finish(struct mux *m, uint32_t stream) { return m->ops->finish(m, stream); }
static inline int mux_reset(struct mux *m, uint32_t stream) { return m->ops->reset(m, stream); }
static inline int mux_consumed(struct mux *m, uint32_t stream, size_t len) { return m->ops->consumed(m, stream, len); }
static inline int mux_goodbye(struct mux *m) { return m->ops->goodbye(m); }

/* Take len bytes of out away. */
static inline void mux_taken(struct mux *m, size_t len)
{
	m->out_taken += len;
	if (m->out_taken == m->out.len) {
		m->out.len = m->out_taken = 0;
	} else if (m->out_taken > MUX_OUT_MAX / 2) {
		buf_consume(&m->out, m->out_taken);
		m->out_taken = 0;
	}
}

static inline void mux_free(struct mux *m)
{
	if (m)
		m->ops->free(m);
}

#endif
