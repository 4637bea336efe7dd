// SPDX-License-Identifier: Apache-2.0
// WebSocket messages; see websocket.h. Frames are wslay's; its message layer is not used, because it gathers whole
// messages in memory and a client may send one of any size.
#include "websocket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <wslay/wslay.h>

#define CONTROL_MAX 125
#define PENDING_MAX (1u << 20)   // bytes for the client at which its pings are no longer answered but cut off

struct websocket {
	wslay_frame_context_ptr frames;
	struct buf *out;
	websocket_message_fn *fn;
	void *user;
	const uint8_t *in;        // bytes being taken in
	size_t in_len;
	uint64_t frame_left;      // of the frame being read
	bool in_frame, in_message, close_sent;
	uint8_t control[CONTROL_MAX];
	size_t control_len;
	bool send_failed;
};

static ssize_t give_input(uint8_t *to, size_t len, int flags, void *user)
{
	(void)flags;
	struct websocket *w = user;
	size_t n = len < w->in_len ? len : w->in_len;
	if (!n)
		return -1;
	memcpy(to, w->in, n);
	w->in += n;
	w->in_len -= n;
	return (ssize_t)n;
}

static ssize_t take_output(const uint8_t *data, size_t len, int flags, void *user)
{
	(void)flags;
	struct websocket *w = user;
	return buf_append(w->out, data, len) ? -1 : (ssize_t)len;
}

struct websocket *websocket_new(struct buf *out, websocket_message_fn *fn, void *user)
{
	static const struct wslay_frame_callbacks callbacks = {.send_callback = take_output, .recv_callback = give_input};
	struct websocket *w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->out = out;
	w->fn = fn;
	w->user = user;
	if (wslay_frame_context_init(&w->frames, &callbacks, w)) {
		free(w);
		return NULL;
	}
	return w;
}

void websocket_free(struct websocket *w)
{
	if (!w)
		return;
	wslay_frame_context_free(w->frames);
	free(w);
}

/* One whole frame in two parts. wslay takes a frame's bytes in any number of calls. */
static int send_frame(struct websocket *w, uint8_t opcode, const void *prefix, size_t prefix_len, const void *data, size_t len)
{
	struct wslay_frame_iocb frame = {.fin = 1, .opcode = opcode, .payload_length = prefix_len + len};
	const struct { const void *data; size_t len; } parts[] = {{prefix, prefix_len}, {data, len}};
	bool begun = false;
	if (w->send_failed)
		return -ENOMEM;   // half a frame may be in out: nothing sensible can follow
	for (size_t i = 0; i < 2; i++) {
		frame.data = parts[i].data;
		frame.data_length = parts[i].len;
		while (frame.data_length || (i == 1 && !begun)) {
			ssize_t n = wslay_frame_send(w->frames, &frame);
			if (n < 0) {
				w->send_failed = true;
				return -ENOMEM;
			}
			begun = true;
			frame.data += n;
			frame.data_length -= (size_t)n;
		}
	}
	return 0;
}

int websocket_send(struct websocket *w, bool text, const void *prefix, size_t prefix_len, const void *data, size_t len)
{
	if (w->close_sent)
		return -EPIPE;
	return send_frame(w, text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME, prefix, prefix_len, data, len);
}

int websocket_close(struct websocket *w, uint16_t code)
{
	uint8_t raw[2] = {(uint8_t)(code >> 8), (uint8_t)code};
	if (w->close_sent)
		return 0;
	w->close_sent = true;
	return send_frame(w, WSLAY_CONNECTION_CLOSE, NULL, 0, raw, sizeof(raw));
}

static int refuse(struct websocket *w)
{
	websocket_close(w, WSLAY_CODE_PROTOCOL_ERROR);
	return -EPROTO;
}

static int on_control(struct websocket *w, uint8_t opcode)
{
	size_t len = w->control_len;
	if (opcode == WSLAY_CONNECTION_CLOSE) {
		if (!w->close_sent) {
			w->close_sent = true;
			send_frame(w, WSLAY_CONNECTION_CLOSE, NULL, 0, w->control, len >= 2 ? 2 : 0);   // 5.5.1: its code back
		}
		return -ENODATA;
	}
	if (opcode == WSLAY_PING && !w->close_sent) {
		if (w->out->len > PENDING_MAX)   // pings without end, answers not read
			return refuse(w);
		return send_frame(w, WSLAY_PONG, NULL, 0, w->control, len);
	}
	return 0;   // a pong
}

/* The header of a frame has been read. */
static int on_frame(struct websocket *w, const struct wslay_frame_iocb *f)
{
	bool control = wslay_is_ctrl_frame(f->opcode);
	/* 5.1: a client masks. 5.2: no extension was agreed on, so no reserved bits. 5.4, 5.5: fragments. */
	if (!f->mask || f->rsv || (control && (!f->fin || f->payload_length > CONTROL_MAX)))
		return -EPROTO;
	if (f->opcode > WSLAY_BINARY_FRAME && f->opcode != WSLAY_CONNECTION_CLOSE && f->opcode != WSLAY_PING && f->opcode != WSLAY_PONG)
		return -EPROTO;
	if (!control && (f->opcode == WSLAY_CONTINUATION_FRAME) != w->in_message)
		return -EPROTO;
	w->frame_left = f->payload_length;
	w->in_frame = true;
	w->control_len = 0;
	return 0;
}

static int on_bytes(struct websocket *w, const struct wslay_frame_iocb *f, bool first_of_frame)
{
	w->frame_left -= f->data_length;
	bool end = w->frame_left == 0;
	w->in_frame = !end;
	if (wslay_is_ctrl_frame(f->opcode)) {
		if (f->data_length)
			memcpy(w->control + w->control_len, f->data, f->data_length);
		w->control_len += f->data_length;
		return end ? on_control(w, f->opcode) : 0;
	}
	bool first = first_of_frame && !w->in_message;
	bool last = end && f->fin;
	w->in_message = !last;
	return w->fn(w->user, first, last, f->data, f->data_length);
}

int websocket_input(struct websocket *w, const void *data, size_t len)
{
	w->in = data;
	w->in_len = len;
	for (;;) {
		struct wslay_frame_iocb f;
		ssize_t n = wslay_frame_recv(w->frames, &f);
		if (n == WSLAY_ERR_WANT_READ && !w->in_len)
			return 0;
		if (n < 0)
			return refuse(w);
		bool first = !w->in_frame;
		if ((first && on_frame(w, &f)) || f.data_length > w->frame_left)
			return refuse(w);
		int rc = on_bytes(w, &f, first);
		if (rc)
			return rc;
	}
}

int websocket_accept(const char *key, char out[WEBSOCKET_ACCEPT_MAX])
{
	static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";   // RFC 6455, 1.3
	char text[24 + sizeof(magic)];
	uint8_t sha1[20];
	gnutls_datum_t in = {(unsigned char *)key, (unsigned)strlen(key)}, raw, b64;
	if (in.size != 24 || gnutls_base64_decode2(&in, &raw))
		return -EINVAL;
	bool ok = raw.size == 16;
	gnutls_free(raw.data);
	if (!ok)
		return -EINVAL;
	memcpy(text, key, 24);
	memcpy(text + 24, magic, sizeof(magic));
	if (gnutls_hash_fast(GNUTLS_DIG_SHA1, text, strlen(text), sha1))
		return -EINVAL;
	raw = (gnutls_datum_t){sha1, sizeof(sha1)};
	if (gnutls_base64_encode2(&raw, &b64))
		return -EINVAL;
	ok = b64.size < WEBSOCKET_ACCEPT_MAX;
	if (ok) {
		memcpy(out, b64.data, b64.size);
		out[b64.size] = '\0';
	}
	gnutls_free(b64.data);
	return ok ? 0 : -EINVAL;
}

const char *websocket_choose(const char *offered, const char *const ours[])
{
	while (*offered) {
		offered += strspn(offered, ", \t");
		size_t len = strcspn(offered, ", \t");
		for (size_t i = 0; ours[i]; i++)
			if (strlen(ours[i]) == len && !strncasecmp(ours[i], offered, len))
				return ours[i];
		offered += len;
	}
	return NULL;
}
