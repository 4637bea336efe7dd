// SPDX-License-Identifier: Apache-2.0
// Stream connections; see stream.h. Until a session takes it, a stream is in the list of those being opened.
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "attach.h"
#include "base/log.h"
#include "exec.h"
#include "frame.h"
#include "logstream.h"
#include "message.h"
#include "portforward.h"
#include "share.h"

#define OPEN_MAX_BYTES (1u << 20)
#define STREAMS_MAX 4096

struct stream {
	struct streams *streams;
	struct endpoint *ep;
	const struct endpoint_ops *ops;   // the session's; NULL: being opened
	void *user;
	struct stream *prev, *next;
};

struct streams {
	struct agent *agent;
	unsigned count;
	struct stream *list;
};

static void stream_free(struct stream *s)
{
	if (s->prev)
		s->prev->next = s->next;
	else
		s->streams->list = s->next;
	if (s->next)
		s->next->prev = s->prev;
	s->streams->count--;
	free(s);
}

void stream_close(struct stream *s)
{
	if (!s)
		return;
	ep_close(s->ep);
	stream_free(s);
}

void stream_close_sent(struct stream *s)
{
	if (!s)
		return;
	ep_close_sent(s->ep);
	stream_free(s);
}

struct endpoint *stream_endpoint(struct stream *s) { return s->ep; }

void stream_take(struct stream *s, const struct endpoint_ops *ops, void *user, bool keep_tail)
{
	s->ops = ops;
	s->user = user;
	ep_end_at_hangup(s->ep, !keep_tail);
}

void stream_ready(struct stream *s)
{
	Bulkhead__Agent__StreamReady ready = BULKHEAD__AGENT__STREAM_READY__INIT;
	message_send(s->ep, &ready.base);
}

void stream_refuse(struct stream *s, const struct err *e)
{
	Bulkhead__Agent__StreamReady ready = BULKHEAD__AGENT__STREAM_READY__INIT;
	ready.error_code = e->code ? e->code : EIO;
	ready.error = (char *)e->text;
	message_send(s->ep, &ready.base);
	stream_close_sent(s);
}

void stream_send_channel(struct stream *s, uint8_t channel, const void *data, size_t len)
{
	uint8_t head[FRAME_CHANNEL_HEAD];
	do {
		size_t n = len < FRAME_CHANNEL_MAX ? len : FRAME_CHANNEL_MAX;
		frame_channel_head(head, channel, (uint32_t)n);
		ep_send(s->ep, head, sizeof(head), data, n);
		data = (const char *)data + n;
		len -= n;
	} while (len);
}

void stream_send_exit(struct stream *s, const Bulkhead__Agent__ExecExit *exit)
{
	message_send_channel(s->ep, FRAME_EXIT, &exit->base);
}

ssize_t channel_input(const struct channel_ops *ops, void *user, const uint8_t *data, size_t len)
{
	uint8_t channel;
	const uint8_t *bytes;
	uint32_t n;
	ssize_t taken = frame_channel(data, len, &channel, &bytes, &n);
	if (taken <= 0)
		return taken;
	if (channel == FRAME_STDIN && n) {
		ops->input(user, bytes, n);
	} else if (channel == FRAME_STDIN) {
		ops->input_end(user);
	} else if (channel == FRAME_RESIZE) {
		Bulkhead__Agent__TermSize *size = bulkhead__agent__term_size__unpack(NULL, n, bytes);
		if (!size)
			return -EPROTO;
		ops->resize(user, size->cols, size->rows);
		bulkhead__agent__term_size__free_unpacked(size, NULL);
	} else if (channel != FRAME_STDOUT && channel != FRAME_STDERR) {
		return -EPROTO;
	}   // else: the client has lost interest in an output; it may drop what comes
	return taken;
}

static void open_session(struct stream *s, const Bulkhead__Agent__StreamOpen *open)
{
	struct agent *a = s->streams->agent;
	struct err e;
	switch (open->what_case) {
	case BULKHEAD__AGENT__STREAM_OPEN__WHAT_EXEC:
		exec_open(a, s, open->exec);
		break;
	case BULKHEAD__AGENT__STREAM_OPEN__WHAT_ATTACH:
		attach_open(a, s, open->attach);
		break;
	case BULKHEAD__AGENT__STREAM_OPEN__WHAT_LOG:
		logstream_open(a, s, open->log);
		break;
	case BULKHEAD__AGENT__STREAM_OPEN__WHAT_PORT:
		port_open(a, s, open->port);
		break;
	case BULKHEAD__AGENT__STREAM_OPEN__WHAT_SHARE:
		share_open(a, s, open->share);
		break;
	default:
		err_set(&e, ENOSYS, "this agent does not know the stream; its version is " BULKHEAD_VERSION);
		stream_refuse(s, &e);
	}
}

static ssize_t on_input(void *user, const uint8_t *data, size_t len)
{
	struct stream *s = user;
	const uint8_t *message;
	size_t message_len;
	if (s->ops)
		return s->ops->input(s->user, data, len);
	ssize_t n = frame_message(data, len, OPEN_MAX_BYTES, &message, &message_len);
	if (n <= 0)
		return n;
	Bulkhead__Agent__StreamOpen *open = bulkhead__agent__stream_open__unpack(NULL, message_len, message);
	if (!open)
		return -EPROTO;
	open_session(s, open);
	bulkhead__agent__stream_open__free_unpacked(open, NULL);
	return n;
}

static void on_eof(void *user)
{
	struct stream *s = user;
	if (s->ops && s->ops->eof)
		s->ops->eof(s->user);
	else if (s->ops)
		s->ops->ended(s->user, 0);
	else
		stream_close(s);
}

static void on_drained(void *user)
{
	struct stream *s = user;
	if (s->ops && s->ops->drained)
		s->ops->drained(s->user);
}

static void on_ended(void *user, int error)
{
	struct stream *s = user;
	if (s->ops)
		s->ops->ended(s->user, error);
	else
		stream_close(s);
}

static const struct endpoint_ops stream_ops = {.input = on_input, .eof = on_eof, .drained = on_drained, .ended = on_ended};

void streams_add(struct streams *ss, int fd)
{
	struct stream *s = ss->count < STREAMS_MAX ? calloc(1, sizeof(*s)) : NULL;
	if (!s) {
		log_limited(LOG_LEVEL_WARN, "stream", "refused: %u streams are open", ss->count);
		close(fd);
		return;
	}
	*s = (struct stream){.streams = ss, .next = ss->list};
	s->ep = ep_new(ss->agent->loop, fd, EP_BOTH, OPEN_MAX_BYTES + FRAME_MESSAGE_HEAD, &stream_ops, s);
	if (!s->ep) {
		free(s);
		return;
	}
	if (ss->list)
		ss->list->prev = s;
	ss->list = s;
	ss->count++;
}

struct streams *streams_new(struct agent *a)
{
	struct streams *ss = calloc(1, sizeof(*ss));
	if (ss)
		ss->agent = a;
	return ss;
}

void streams_free(struct streams *ss)
{
	if (!ss)
		return;
	while (ss->list) {
		struct stream *s = ss->list;
		if (s->ops)
			s->ops->ended(s->user, 0);
		if (ss->list == s)
			stream_close(s);
	}
	free(ss);
}
