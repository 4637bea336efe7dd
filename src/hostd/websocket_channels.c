// SPDX-License-Identifier: Apache-2.0
// Channel protocols over WebSocket; see websocket_channels.h.
#include "websocket_channels.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/gnutls.h>

#include "websocket.h"

#define CLOSE_CHANNEL 255
#define NO_CHANNEL (-1)

struct channel { bool in_ended, out_ended; };

struct channels {
	struct mux mux;
	struct websocket *ws;
	struct websocket_channels_opts opts;
	struct channel *list;
	int current;           // channel of the message being read, CLOSE_CHANNEL, NO_CHANNEL to skip it
	bool numbered;         // its first byte has been seen
	char base64[4];        // characters that do not make up a group yet
	size_t base64_len;
};

static struct channels *channels_of(const struct mux *m) { return (struct channels *)m; }

static struct channel *channel_of(const struct mux *m, uint32_t n)
{
	struct channels *c = channels_of(m);
	return n < c->opts.count ? &c->list[n] : NULL;
}

static int choose_channel(const struct channels *c, uint8_t byte)
{
	int n = c->opts.base64 ? byte - '0' : byte;
	if (c->opts.close_signal && byte == CLOSE_CHANNEL)
		return CLOSE_CHANNEL;
	/* As a kubelet does, messages for channels that are not there are passed over. */
	return n >= 0 && (uint32_t)n < c->opts.count ? n : NO_CHANNEL;
}

static int deliver(struct channels *c, const void *data, size_t len)
{
	if (!len || c->current == NO_CHANNEL)
		return 0;
	if (c->current == CLOSE_CHANNEL) {
		uint8_t n = *(const uint8_t *)data;
		if (n >= c->opts.count || c->list[n].in_ended)
			return 0;
		c->list[n].in_ended = true;
		c->mux.sink->ended(c->mux.user, n, false);
		return 0;
	}
	if (c->list[c->current].in_ended)
		return 0;
	return c->mux.sink->data(c->mux.user, (uint32_t)c->current, data, len);
}

static int deliver_group(struct channels *c, const char *text, size_t len)
{
	gnutls_datum_t in = {(unsigned char *)text, (unsigned)len}, raw;
	if (!len)
		return 0;
	if (gnutls_base64_decode2(&in, &raw))
		return -EPROTO;
	int rc = deliver(c, raw.data, raw.size);
	gnutls_free(raw.data);
	return rc;
}

/* Base64 comes in pieces of any length: whole groups of four are decoded, the rest waits. */
static int deliver_base64(struct channels *c, const char *text, size_t len, bool last)
{
	while (c->base64_len && c->base64_len < 4 && len) {
		c->base64[c->base64_len++] = *text++;
		len--;
	}
	int rc = 0;
	if (c->base64_len == 4) {
		c->base64_len = 0;
		rc = deliver_group(c, c->base64, 4);
	}
	size_t whole = len - len % 4;
	if (!rc)
		rc = deliver_group(c, text, whole);
	memcpy(c->base64 + c->base64_len, text + whole, len - whole);
	c->base64_len += len - whole;
	if (!rc && last && c->base64_len)
		rc = -EPROTO;
	return rc;
}

static int on_message(void *user, bool first, bool last, const void *data, size_t len)
{
	struct channels *c = user;
	const char *p = data;
	if (first) {
		c->numbered = false;
		c->base64_len = 0;
	}
	if (!c->numbered && len) {
		c->current = choose_channel(c, (uint8_t)*p++);
		c->numbered = true;
		len--;
	}
	if (!c->numbered)
		return 0;
	return c->opts.base64 ? deliver_base64(c, p, len, last) : deliver(c, p, len);
}

static int channels_input(struct mux *m, const void *data, size_t len)
{
	return websocket_input(channels_of(m)->ws, data, len);
}

static int channels_send(struct mux *m, uint32_t n, const void *data, size_t len)
{
	struct channels *c = channels_of(m);
	struct channel *ch = channel_of(m, n);
	if (!ch || ch->out_ended)
		return -ENOENT;
	uint8_t number = (uint8_t)(c->opts.base64 ? '0' + n : n);
	if (!c->opts.base64)
		return websocket_send(c->ws, false, &number, 1, data, len);
	gnutls_datum_t raw = {(unsigned char *)data, (unsigned)len}, text = {NULL, 0};
	if (len && gnutls_base64_encode2(&raw, &text))
		return -ENOMEM;
	int rc = websocket_send(c->ws, true, &number, 1, text.data, text.size);
	gnutls_free(text.data);
	return rc;
}

static int channels_finish(struct mux *m, uint32_t n)
{
	struct channel *ch = channel_of(m, n);
	if (!ch || ch->out_ended)
		return -ENOENT;
	ch->out_ended = true;   // the protocol has no word for it
	return 0;
}

static int channels_reset(struct mux *m, uint32_t n)
{
	struct channel *ch = channel_of(m, n);
	if (!ch)
		return -ENOENT;
	ch->in_ended = ch->out_ended = true;
	return 0;
}

static size_t channels_window(const struct mux *m, uint32_t n)
{
	(void)m, (void)n;
	return SIZE_MAX;
}

static int channels_consumed(struct mux *m, uint32_t n, size_t len)
{
	(void)m, (void)n, (void)len;
	return 0;
}

static int channels_goodbye(struct mux *m) { return websocket_close(channels_of(m)->ws, 1000); }

static void channels_free(struct mux *m)
{
	struct channels *c = channels_of(m);
	websocket_free(c->ws);
	buf_fini(&c->mux.out);
	free(c->list);
	free(c);
}

struct mux *websocket_channels_new(const struct websocket_channels_opts *o, const struct mux_sink *sink, void *user)
{
	static const struct mux_ops ops = {
		.input = channels_input, .send = channels_send, .finish = channels_finish, .reset = channels_reset,
		.window = channels_window, .consumed = channels_consumed, .goodbye = channels_goodbye, .free = channels_free,
	};
	struct channels *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->mux = (struct mux){.ops = &ops, .sink = sink, .user = user};
	c->opts = *o;
	c->list = calloc(o->count ? o->count : 1, sizeof(*c->list));
	c->ws = websocket_new(&c->mux.out, on_message, c);
	if (!c->list || !c->ws) {
		channels_free(&c->mux);
		return NULL;
	}
	return &c->mux;
}
