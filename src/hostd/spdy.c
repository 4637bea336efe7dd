// SPDX-License-Identifier: Apache-2.0
// SPDY/3.1, server side (the protocol's draft 3.1; sections are named where a rule comes from one).
//
// Flow control. We keep both kinds of windows (stream and connection). But the usual client (Go's spdystream, in
// kubectl and in the API server) neither sends WINDOW_UPDATE nor looks at ours, and would wait for ever once a window
// of ours had run out. So a window limits us only when the client has shown that it keeps windows: SETTINGS with an
// initial size or WINDOW_UPDATE for streams, WINDOW_UPDATE of stream 0 for the connection. Without them TCP holds us
// back: mux_room is 0 while the client does not read.
#include "spdy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "spdy_headers.h"

enum { SYN_STREAM = 1, SYN_REPLY, RST_STREAM, SETTINGS, PING = 6, GOAWAY, HEADERS, WINDOW_UPDATE };
enum { RST_PROTOCOL_ERROR = 1, RST_INVALID_STREAM = 2, RST_REFUSED_STREAM = 3, RST_CANCEL = 5 };
enum { FLAG_FIN = 1, FLAG_UNIDIRECTIONAL = 2 };
enum { SETTING_INITIAL_WINDOW = 7 };

#define HEADER_LEN 8
#define CONTROL_MAX (64u << 10)     // bytes of one control frame
#define WINDOW_DEFAULT 65536
#define WINDOW_MAX 0x7fffffff
#define UPDATE_AT (WINDOW_DEFAULT / 2)   // consumed bytes that make a WINDOW_UPDATE worthwhile

struct stream {
	uint32_t id;
	bool in_ended, out_ended;
	int64_t window;         // bytes the client still takes; below 0 when it does not keep windows
	uint32_t consumed;      // bytes gone on, not yet reported
};

struct spdy {
	struct mux mux;
	struct spdy_inflater *inflater;
	struct spdy_deflater *deflater;
	struct stream *streams;          // ordered by id
	size_t count, cap;
	uint32_t last_id;                // of the client
	int64_t window, initial_window;
	uint32_t consumed;
	bool windows_kept, connection_window_kept;
	bool goaway_sent, goaway_got;

	struct buf frame;                // a control frame, while it is not complete
	uint8_t head[HEADER_LEN];
	size_t head_len;
	uint32_t data_left;              // of the data frame being read
	uint32_t data_stream;
	bool data_fin;
	struct buf text;                 // strings of the header block being handled
};

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24), p[1] = (uint8_t)(v >> 16), p[2] = (uint8_t)(v >> 8), p[3] = (uint8_t)v;
}

static struct spdy *spdy_of(const struct mux *m) { return (struct spdy *)m; }   // the first member

/* Streams. */

static struct stream *stream_find(const struct spdy *s, uint32_t id)
{
	size_t lo = 0, hi = s->count;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (s->streams[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < s->count && s->streams[lo].id == id ? &s->streams[lo] : NULL;
}

static struct stream *stream_add(struct spdy *s, uint32_t id)   // id is above all others
{
	if (s->count == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 8;
		struct stream *more = realloc(s->streams, cap * sizeof(*more));
		if (!more)
			return NULL;
		s->streams = more;
		s->cap = cap;
	}
	struct stream *st = &s->streams[s->count++];
	*st = (struct stream){.id = id, .window = s->initial_window};
	return st;
}

static void stream_remove(struct spdy *s, struct stream *st)
{
	size_t i = (size_t)(st - s->streams);
	memmove(st, st + 1, (s->count - i - 1) * sizeof(*st));
	s->count--;
}

/* Frames out. */

static int send_control(struct spdy *s, uint16_t type, uint8_t flags, const void *body, uint32_t len)
{
	uint8_t head[HEADER_LEN] = {0x80, 3, (uint8_t)(type >> 8), (uint8_t)type};
	put_u32(head + 4, len);
	head[4] = flags;
	return buf_append(&s->mux.out, head, sizeof(head)) || buf_append(&s->mux.out, body, len) ? -ENOMEM : 0;
}

static int send_pair(struct spdy *s, uint16_t type, uint32_t a, uint32_t b)   // RST_STREAM, WINDOW_UPDATE, GOAWAY
{
	uint8_t body[8];
	put_u32(body, a);
	put_u32(body + 4, b);
	return send_control(s, type, 0, body, sizeof(body));
}

static int send_reply(struct spdy *s, uint32_t id)
{
	const struct mux_headers none = {.count = 0};
	struct buf body = BUF_INIT;
	uint8_t raw[4];
	put_u32(raw, id);
	int rc = buf_append(&body, raw, sizeof(raw));
	if (!rc)
		rc = spdy_headers_write(s->deflater, &none, &body);
	if (!rc)
		rc = send_control(s, SYN_REPLY, 0, body.data, (uint32_t)body.len);
	buf_fini(&body);
	return rc;
}

static int send_data(struct spdy *s, uint32_t id, uint8_t flags, const void *data, size_t len)
{
	uint8_t head[HEADER_LEN];
	put_u32(head, id);
	put_u32(head + 4, (uint32_t)len);
	head[4] = flags;
	return buf_append(&s->mux.out, head, sizeof(head)) || buf_append(&s->mux.out, data, len) ? -ENOMEM : 0;
}

/* Frames in. Each handler gets the frame without its first 8 bytes. */

static void client_ended(struct spdy *s, struct stream *st)
{
	uint32_t id = st->id;
	if (st->in_ended)
		return;
	st->in_ended = true;
	if (st->out_ended)
		stream_remove(s, st);
	s->mux.sink->ended(s->mux.user, id, false);
}

static int on_syn_stream(struct spdy *s, uint8_t flags, const uint8_t *body, uint32_t len)
{
	struct mux_headers h;
	if (len < 10)
		return -EPROTO;
	int rc = spdy_headers_read(s->inflater, body + 10, len - 10, &s->text, &h);
	if (rc)
		return rc;
	uint32_t id = get_u32(body) & 0x7fffffff;
	/* 2.3.2: the client's ids are odd and rise. A repeated id is an error of that stream only. */
	if (id % 2 == 0 || id <= s->last_id)
		return id ? send_pair(s, RST_STREAM, id, RST_PROTOCOL_ERROR) : -EPROTO;
	s->last_id = id;
	if (s->goaway_sent)
		return 0;   // 2.6.6: ignored
	if (s->count >= MUX_STREAMS_MAX)
		return send_pair(s, RST_STREAM, id, RST_REFUSED_STREAM);
	struct stream *st = stream_add(s, id);
	if (!st)
		return -ENOMEM;
	st->out_ended = flags & FLAG_UNIDIRECTIONAL;
	rc = send_reply(s, id);
	if (rc)
		return rc;
	rc = s->mux.sink->opened(s->mux.user, id, &h);
	if (rc == -ENOMEM)
		return rc;
	if (rc) {
		st = stream_find(s, id);
		if (st)
			stream_remove(s, st);
		return send_pair(s, RST_STREAM, id, RST_REFUSED_STREAM);
	}
	st = stream_find(s, id);
	if (st && (flags & FLAG_FIN))
		client_ended(s, st);
	return 0;
}

static int on_headers(struct spdy *s, uint8_t flags, const uint8_t *body, uint32_t len)
{
	struct mux_headers h;
	if (len < 4)
		return -EPROTO;
	int rc = spdy_headers_read(s->inflater, body + 4, len - 4, &s->text, &h);
	if (rc)
		return rc;
	struct stream *st = stream_find(s, get_u32(body) & 0x7fffffff);
	if (st && (flags & FLAG_FIN))
		client_ended(s, st);
	return 0;
}

static int on_rst_stream(struct spdy *s, uint8_t flags, const uint8_t *body, uint32_t len)
{
	(void)flags;
	if (len != 8)
		return -EPROTO;
	uint32_t id = get_u32(body) & 0x7fffffff;
	struct stream *st = stream_find(s, id);
	if (st) {
		stream_remove(s, st);
		s->mux.sink->ended(s->mux.user, id, true);
	}
	return 0;
}

static int on_settings(struct spdy *s, uint8_t flags, const uint8_t *body, uint32_t len)
{
	(void)flags;
	if (len < 4 || (len - 4) % 8 || get_u32(body) != (len - 4) / 8)
		return -EPROTO;
	for (uint32_t at = 4; at < len; at += 8) {
		uint32_t id = get_u32(body + at) & 0xffffff, value = get_u32(body + at + 4);
		if (id != SETTING_INITIAL_WINDOW)
			continue;
		if (value > WINDOW_MAX)
			return -EPROTO;
		/* 2.6.8: open streams move by the difference. */
		for (size_t i = 0; i < s->count; i++)
			s->streams[i].window += (int64_t)value - s->initial_window;
		s->initial_window = value;
		s->windows_kept = true;
	}
	return 0;
}

static int on_ping(struct spdy *s, uint8_t flags, const uint8_t *body, uint32_t len)
{
	(void)flags;
	if (len != 4)
		return -EPROTO;
	/* 2.6.5: even ids would answer pings of ours, and we send none. An endless stream of pings must not fill memory. */
	if (get_u32(body) % 2 == 0)
		return 0;
	return mux_pending(&s->mux) > 2 * MUX_OUT_MAX ? -EPROTO : send_control(s, PING, 0, body, len);
}

static int on_goaway(struct spdy *s, uint8_t flags, const uint8_t *body, uint32_t len)
{
	(void)flags;
	(void)body;
	if (len < 4)
		return -EPROTO;
	s->goaway_got = true;
	return 0;
}

static int on_window_update(struct spdy *s, uint8_t flags, const uint8_t *body, uint32_t len)
{
	(void)flags;
	if (len != 8)
		return -EPROTO;
	uint32_t id = get_u32(body) & 0x7fffffff, delta = get_u32(body + 4) & 0x7fffffff;
	struct stream *st = id ? stream_find(s, id) : NULL;
	if (id && !st)
		return 0;   // crossed with the end of the stream
	int64_t *window = id ? &st->window : &s->window;
	if (*window + delta > WINDOW_MAX)
		return -EPROTO;
	*window += delta;
	s->windows_kept = true;
	s->connection_window_kept |= id == 0;
	return 0;
}

static int on_control(struct spdy *s, const uint8_t *frame, size_t len)
{
	static int (*const handlers[])(struct spdy *, uint8_t, const uint8_t *, uint32_t) = {
		[SYN_STREAM] = on_syn_stream, [RST_STREAM] = on_rst_stream, [SETTINGS] = on_settings,
		[PING] = on_ping, [GOAWAY] = on_goaway, [HEADERS] = on_headers, [WINDOW_UPDATE] = on_window_update,
	};
	unsigned type = (unsigned)frame[2] << 8 | frame[3];
	if ((frame[0] & 0x7f) != 0 || frame[1] != 3)
		return -EPROTO;
	/* SYN_REPLY answers streams of ours, and we open none: skipped like a type that is not known, but its headers
	 * would leave the decompressor behind, so it is an error. */
	if (type == SYN_REPLY)
		return -EPROTO;
	if (type >= sizeof(handlers) / sizeof(handlers[0]) || !handlers[type])
		return 0;
	return handlers[type](s, frame[4], frame + HEADER_LEN, (uint32_t)(len - HEADER_LEN));
}

/* Bytes of a data frame's body. */
static int on_data(struct spdy *s, const uint8_t *data, size_t len)
{
	struct stream *st = stream_find(s, s->data_stream);
	s->data_left -= (uint32_t)len;
	if (st && !st->in_ended && len) {
		int rc = s->mux.sink->data(s->mux.user, s->data_stream, data, len);
		if (rc)
			return rc;
	} else if (len) {
		int rc = s->mux.ops->consumed(&s->mux, 0, len);   // of a stream that is gone: only the connection counts it
		if (rc)
			return rc;
	}
	if (s->data_left == 0 && s->data_fin) {
		st = stream_find(s, s->data_stream);
		if (st)
			client_ended(s, st);
	}
	return 0;
}

/* The first 8 bytes of a frame are there. */
static int on_head(struct spdy *s)
{
	uint32_t len = get_u32(s->head + 4) & 0xffffff;
	s->head_len = 0;
	if (s->head[0] & 0x80) {
		if (len > CONTROL_MAX)
			return -EPROTO;
		s->frame.len = 0;
		int rc = buf_append(&s->frame, s->head, HEADER_LEN);
		return rc || len ? rc : on_control(s, s->head, HEADER_LEN);
	}
	s->data_stream = get_u32(s->head);
	s->data_left = len;
	s->data_fin = s->head[4] & FLAG_FIN;
	if (!s->data_stream)
		return -EPROTO;
	return len ? 0 : on_data(s, NULL, 0);
}

/* Bytes still missing of the control frame being gathered; 0: none is. */
static size_t control_left(const struct spdy *s)
{
	if (s->frame.len < HEADER_LEN)
		return 0;
	return HEADER_LEN + (get_u32((uint8_t *)s->frame.data + 4) & 0xffffff) - s->frame.len;
}

static int spdy_input(struct mux *m, const void *data, size_t len)
{
	struct spdy *s = spdy_of(m);
	const uint8_t *p = data;
	while (len) {
		size_t left = control_left(s), n;
		int rc;
		if (left) {
			n = left < len ? left : len;
			rc = buf_append(&s->frame, p, n);
			if (!rc && n == left) {
				size_t total = s->frame.len;
				s->frame.len = 0;
				rc = on_control(s, (uint8_t *)s->frame.data, total);
			}
		} else if (s->data_left) {
			n = s->data_left < len ? s->data_left : len;
			rc = on_data(s, p, n);
		} else {
			n = HEADER_LEN - s->head_len < len ? HEADER_LEN - s->head_len : len;
			memcpy(s->head + s->head_len, p, n);
			s->head_len += n;
			rc = s->head_len == HEADER_LEN ? on_head(s) : 0;
		}
		if (rc)
			return rc;
		p += n;
		len -= n;
	}
	return s->goaway_got && s->count == 0 ? -ENODATA : 0;
}

/* The rest of the mux. */

static int spdy_send(struct mux *m, uint32_t id, const void *data, size_t len)
{
	struct spdy *s = spdy_of(m);
	struct stream *st = stream_find(s, id);
	if (!st || st->out_ended)
		return -ENOENT;
	if (!len)
		return 0;
	st->window -= (int64_t)len;
	s->window -= (int64_t)len;
	return send_data(s, id, 0, data, len);
}

static int spdy_finish(struct mux *m, uint32_t id)
{
	struct spdy *s = spdy_of(m);
	struct stream *st = stream_find(s, id);
	if (!st || st->out_ended)
		return -ENOENT;
	st->out_ended = true;
	if (st->in_ended)
		stream_remove(s, st);
	return send_data(s, id, FLAG_FIN, NULL, 0);
}

static int spdy_reset(struct mux *m, uint32_t id)
{
	struct spdy *s = spdy_of(m);
	struct stream *st = stream_find(s, id);
	if (!st)
		return -ENOENT;
	stream_remove(s, st);
	return send_pair(s, RST_STREAM, id, RST_CANCEL);
}

static size_t spdy_window(const struct mux *m, uint32_t id)
{
	const struct spdy *s = spdy_of(m);
	const struct stream *st = stream_find(s, id);
	int64_t w = WINDOW_MAX;
	if (!st)
		return (size_t)w;   // send says -ENOENT
	if (s->windows_kept && st->window < w)
		w = st->window;
	if (s->connection_window_kept && s->window < w)
		w = s->window;
	return w > 0 ? (size_t)w : 0;
}

static int credit(struct spdy *s, uint32_t id, uint32_t *consumed, size_t len)
{
	*consumed += (uint32_t)len;
	if (*consumed < UPDATE_AT)
		return 0;
	uint32_t delta = *consumed;
	*consumed = 0;
	return send_pair(s, WINDOW_UPDATE, id, delta);
}

static int spdy_consumed(struct mux *m, uint32_t id, size_t len)
{
	struct spdy *s = spdy_of(m);
	struct stream *st = id ? stream_find(s, id) : NULL;
	int rc = credit(s, 0, &s->consumed, len);
	return rc || !st || st->in_ended ? rc : credit(s, id, &st->consumed, len);
}

static int spdy_goodbye(struct mux *m)
{
	struct spdy *s = spdy_of(m);
	if (s->goaway_sent)
		return 0;
	s->goaway_sent = true;
	return send_pair(s, GOAWAY, s->last_id, 0);
}

static void spdy_free(struct mux *m)
{
	struct spdy *s = spdy_of(m);
	spdy_inflater_free(s->inflater);
	spdy_deflater_free(s->deflater);
	buf_fini(&s->mux.out);
	buf_fini(&s->frame);
	buf_fini(&s->text);
	free(s->streams);
	free(s);
}

struct mux *spdy_new(const struct mux_sink *sink, void *user)
{
	static const struct mux_ops ops = {
		.input = spdy_input, .send = spdy_send, .finish = spdy_finish, .reset = spdy_reset,
		.window = spdy_window, .consumed = spdy_consumed, .goodbye = spdy_goodbye, .free = spdy_free,
	};
	struct spdy *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->mux = (struct mux){.ops = &ops, .sink = sink, .user = user};
	s->window = s->initial_window = WINDOW_DEFAULT;
	s->inflater = spdy_inflater_new();
	s->deflater = spdy_deflater_new();
	if (!s->inflater || !s->deflater) {
		spdy_free(&s->mux);
		return NULL;
	}
	return &s->mux;
}
