// SPDX-License-Identifier: Apache-2.0
// Log streams; see logstream.h.
#include "logstream.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "container.h"
#include "container_io.h"
#include "frame.h"
#include "message.h"
#include "stream.h"

struct reader {
	struct io_sink sink;
	struct container *container;
	struct stream *stream;
	uint64_t seq;            // last one sent
};

static struct reader *of(const struct io_sink *s) { return (struct reader *)((char *)s - offsetof(struct reader, sink)); }

static void reader_free(struct reader *r, bool send)
{
	if (r->container)
		container_io_unfollow(r->container->io, &r->sink);
	if (send)
		stream_close_sent(r->stream);
	else
		stream_close(r->stream);
	free(r);
}

static int send_record(struct reader *r, const struct logrecord *rec)
{
	Bulkhead__Agent__LogRecord m = BULKHEAD__AGENT__LOG_RECORD__INIT;
	m.seq = rec->seq;
	m.real_ns = rec->real_ns;
	m.channel = rec->channel;
	m.data = (ProtobufCBinaryData){.len = rec->len, .data = (uint8_t *)rec->data};
	m.end = rec->end;
	return message_send(stream_endpoint(r->stream), &m.base);
}

/* As much as the queue takes. When there is nothing more to come the sending side is closed; acknowledgements are still
 * read until hostd closes. */
static void send_records(struct reader *r)
{
	struct container_io *io = r->container->io;
	struct logrecord rec;
	bool any;
	while ((any = logring_after(container_io_ring(io), r->seq, &rec)) && !ep_full(stream_endpoint(r->stream))) {
		if (send_record(r, &rec))
			return;   // no memory: goes on with the next record or acknowledgement
		r->seq = rec.seq;
	}
	if (!any && container_io_ended(io))
		ep_finish(stream_endpoint(r->stream));
}

static void on_ring(struct io_sink *s) { send_records(of(s)); }

static void on_removed(struct io_sink *s)
{
	of(s)->container = NULL;
	reader_free(of(s), true);
}

static ssize_t on_input(void *user, const uint8_t *data, size_t len)
{
	struct reader *r = user;
	const uint8_t *message;
	size_t message_len;
	ssize_t n = frame_message(data, len, 64, &message, &message_len);
	if (n <= 0)
		return n;
	Bulkhead__Agent__LogAck *ack = bulkhead__agent__log_ack__unpack(NULL, message_len, message);
	if (!ack)
		return -EPROTO;
	logring_ack(container_io_ring(r->container->io), ack->seq);
	container_io_acked(r->container->io);
	bulkhead__agent__log_ack__free_unpacked(ack, NULL);
	return n;
}

static void on_drained(void *user) { send_records(user); }

static void on_stream_ended(void *user, int error)
{
	(void)error;
	reader_free(user, false);
}

static const struct endpoint_ops client_ops = {.input = on_input, .drained = on_drained, .ended = on_stream_ended};

void logstream_open(struct agent *a, struct stream *s, const Bulkhead__Agent__LogOpen *rq)
{
	struct err e = ERR_INIT;
	struct container *c = container_find(a, rq->container_id, &e);
	struct reader *r = c ? calloc(1, sizeof(*r)) : NULL;
	if (!r) {
		stream_refuse(s, &e);
		return;
	}
	*r = (struct reader){.container = c, .stream = s, .seq = rq->from_seq, .sink = {.ring = on_ring, .ended = on_removed}};
	stream_take(s, &client_ops, r, false);
	stream_ready(s);
	container_io_follow(c->io, &r->sink);
	send_records(r);
}
