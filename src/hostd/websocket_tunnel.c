// SPDX-License-Identifier: Apache-2.0
// SPDY/3.1 inside WebSocket messages, both as a mux around the SPDY mux. The borders of messages mean nothing.
#include <errno.h>
#include <stdlib.h>

#include "spdy.h"
#include "websocket.h"
#include "websocket_channels.h"

struct tunnel {
	struct mux mux;
	struct mux *inner;
	struct websocket *ws;
};

static struct tunnel *tunnel_of(const struct mux *m) { return (struct tunnel *)m; }

/* What the SPDY side wants to send goes into a message. rc: of the call that may have made it; passed through. */
static int wrap(struct tunnel *t, int rc)
{
	size_t len = mux_pending(t->inner);
	if (!len)
		return rc;
	int sent = websocket_send(t->ws, false, NULL, 0, t->inner->out.data + t->inner->out_taken, len);
	mux_taken(t->inner, len);
	return rc ? rc : sent == -EPIPE ? 0 : sent;
}

static int on_message(void *user, bool first, bool last, const void *data, size_t len)
{
	struct tunnel *t = user;
	(void)first, (void)last;
	return len ? wrap(t, mux_input(t->inner, data, len)) : 0;
}

static int tunnel_input(struct mux *m, const void *data, size_t len)
{
	return websocket_input(tunnel_of(m)->ws, data, len);
}

static int tunnel_send(struct mux *m, uint32_t stream, const void *data, size_t len)
{
	return wrap(tunnel_of(m), mux_send(tunnel_of(m)->inner, stream, data, len));
}

static int tunnel_finish(struct mux *m, uint32_t stream)
{
	return wrap(tunnel_of(m), mux_finish(tunnel_of(m)->inner, stream));
}

static int tunnel_reset(struct mux *m, uint32_t stream)
{
	return wrap(tunnel_of(m), mux_reset(tunnel_of(m)->inner, stream));
}

static size_t tunnel_window(const struct mux *m, uint32_t stream)
{
	const struct mux *inner = tunnel_of(m)->inner;
	return inner->ops->window(inner, stream);
}

static int tunnel_consumed(struct mux *m, uint32_t stream, size_t len)
{
	return wrap(tunnel_of(m), mux_consumed(tunnel_of(m)->inner, stream, len));
}

static int tunnel_goodbye(struct mux *m)
{
	struct tunnel *t = tunnel_of(m);
	int rc = wrap(t, mux_goodbye(t->inner));
	return rc ? rc : websocket_close(t->ws, 1000);
}

static void tunnel_free(struct mux *m)
{
	struct tunnel *t = tunnel_of(m);
	mux_free(t->inner);
	websocket_free(t->ws);
	buf_fini(&t->mux.out);
	free(t);
}

struct mux *websocket_tunnel_new(const struct mux_sink *sink, void *user)
{
	static const struct mux_ops ops = {
		.input = tunnel_input, .send = tunnel_send, .finish = tunnel_finish, .reset = tunnel_reset,
		.window = tunnel_window, .consumed = tunnel_consumed, .goodbye = tunnel_goodbye, .free = tunnel_free,
	};
	struct tunnel *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->mux = (struct mux){.ops = &ops};
	t->inner = spdy_new(sink, user);
	t->ws = websocket_new(&t->mux.out, on_message, t);
	if (!t->inner || !t->ws) {
		tunnel_free(&t->mux);
		return NULL;
	}
	return &t->mux;
}
