// SPDX-License-Identifier: Apache-2.0
// Attach; see attach.h. Possible from creation on, so that a client misses nothing. Ends with the container's exit code.
#include "attach.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "container.h"
#include "container_io.h"
#include "frame.h"
#include "stream.h"

struct attach {
	struct io_sink sink;
	struct container *container;
	struct stream *stream;
	bool want[3];              // stdin, stdout, stderr
	bool input_ended;
};

static struct attach *of(const struct io_sink *s) { return (struct attach *)((char *)s - offsetof(struct attach, sink)); }

static void on_output(struct io_sink *s, uint32_t channel, const void *data, size_t len)
{
	struct attach *t = of(s);
	if (t->want[channel])
		stream_send_channel(t->stream, (uint8_t)channel, data, len);
}

static bool is_full(const struct io_sink *s) { return ep_full(stream_endpoint(of(s)->stream)); }

static void on_ended(struct io_sink *s)
{
	struct attach *t = of(s);
	Bulkhead__Agent__ExecExit exit = BULKHEAD__AGENT__EXEC_EXIT__INIT;
	exit.exit_code = t->container->exit_code;
	exit.signal = t->container->signal;
	stream_send_exit(t->stream, &exit);
	stream_close_sent(t->stream);
	free(t);
}

static void on_input_drained(struct io_sink *s) { ep_hold(stream_endpoint(of(s)->stream), false); }

static void end_input(struct attach *t)
{
	if (t->want[0] && !t->input_ended)
		container_io_input_end(t->container->io);
	t->input_ended = true;
}

static void on_client_bytes(void *user, const void *data, size_t len)
{
	struct attach *t = user;
	if (t->want[0] && !t->input_ended && !container_io_input(t->container->io, data, len))
		ep_hold(stream_endpoint(t->stream), true);
}

static void on_client_end(void *user) { end_input(user); }

static void on_client_resize(void *user, unsigned cols, unsigned rows)
{
	struct attach *t = user;
	container_io_resize(t->container->io, cols, rows);
}

static ssize_t on_client_input(void *user, const uint8_t *data, size_t len)
{
	static const struct channel_ops ops = {.input = on_client_bytes, .input_end = on_client_end,
					       .resize = on_client_resize};
	return channel_input(&ops, user, data, len);
}

static void on_client_drained(void *user) { container_io_room(((struct attach *)user)->container->io); }

static void on_client_gone(void *user, int error)
{
	struct attach *t = user;
	(void)error;
	end_input(t);
	container_io_unfollow(t->container->io, &t->sink);
	stream_close(t->stream);
	free(t);
}

static const struct endpoint_ops client_ops = {.input = on_client_input, .drained = on_client_drained,
					       .ended = on_client_gone};

void attach_open(struct agent *a, struct stream *s, const Bulkhead__Agent__AttachOpen *rq)
{
	struct err e = ERR_INIT;
	struct container *c = container_find(a, rq->container_id, &e);
	if (c && container_io_ended(c->io))
		err_set(&e, EINVAL, "container '%s' is not running", c->id);
	struct attach *t = e.code ? NULL : calloc(1, sizeof(*t));
	if (!t) {
		stream_refuse(s, &e);
		return;
	}
	*t = (struct attach){.container = c, .stream = s, .want = {rq->stdin, rq->stdout, rq->stderr},
			     .sink = {.output = on_output, .full = is_full, .ended = on_ended,
				      .input_drained = on_input_drained}};
	stream_take(s, &client_ops, t, false);
	stream_ready(s);
	if (!container_io_takes_input(c->io))
		ep_hold(stream_endpoint(s), true);
	if (rq->size)
		container_io_resize(c->io, rq->size->cols, rq->size->rows);
	container_io_follow(c->io, &t->sink);
}
