// SPDX-License-Identifier: Apache-2.0
// Standard streams of a container; see container_io.h.
#include "container_io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "console.h"
#include "container.h"
#include "endpoint.h"

struct container_io {
	struct container *container;
	struct logring *ring;
	struct io_sink *sinks;
	int child[3];                 // the container's ends, until crun has them
	struct console *console;      // waiting for the terminal
	struct endpoint *in;          // with a terminal: the same as out
	struct endpoint *out, *err;
	struct output { struct container_io *io; uint32_t channel; } outputs[2];
	bool started, exited, ended, input_full;
};

struct container_io *container_io_new(struct container *c)
{
	struct container_io *io = calloc(1, sizeof(*io));
	if (!io)
		return NULL;
	*io = (struct container_io){.container = c, .ring = logring_new(CONTAINER_LOG_BYTES), .child = {-1, -1, -1}};
	for (unsigned i = 0; i < 2; i++)
		io->outputs[i] = (struct output){io, i + 1};
	if (!io->ring) {
		free(io);
		return NULL;
	}
	return io;
}

static void close_endpoint(struct container_io *io, struct endpoint **ep)
{
	struct endpoint *gone = *ep;
	if (io->in == gone)
		io->in = NULL;
	*ep = NULL;
	ep_close(gone);
}

/* live_only: those who wait for live output; who follows the ring has records to fetch still. */
static void tell_end(struct container_io *io, bool live_only)
{
	for (struct io_sink **p = &io->sinks; *p;) {
		struct io_sink *s = *p;
		if (live_only && !s->output) {
			p = &s->next;
			continue;
		}
		*p = s->next;
		s->ended(s);
	}
}

void container_io_free(struct container_io *io)
{
	if (!io)
		return;
	tell_end(io, false);
	container_io_spawned(io);
	console_free(io->console);
	close_endpoint(io, &io->out);
	close_endpoint(io, &io->err);
	ep_close(io->in);
	logring_free(io->ring);
	free(io);
}

uint64_t container_io_last_seq(const struct container_io *io) { return logring_last(io->ring); }
struct logring *container_io_ring(struct container_io *io) { return io->ring; }
bool container_io_takes_input(const struct container_io *io) { return io->started; }
bool container_io_ended(const struct container_io *io) { return io->ended; }

static void update_hold(struct container_io *io)
{
	bool hold = !io->started || logring_full(io->ring);
	for (struct io_sink *s = io->sinks; s && !hold; s = s->next)
		hold = s->full && s->full(s);
	if (io->out)
		ep_hold(io->out, hold);
	if (io->err)
		ep_hold(io->err, hold);
}

void container_io_acked(struct container_io *io) { update_hold(io); }
void container_io_room(struct container_io *io) { update_hold(io); }

/* A sink's callback may remove it (or another one that has ended): the next is read first, and removal is only ever
 * of the sink being called. */
static void tell_ring(struct container_io *io)
{
	for (struct io_sink *s = io->sinks, *next; s; s = next) {
		next = s->next;
		if (s->ring)
			s->ring(s);
	}
}

static void maybe_end(struct container_io *io)
{
	if (!io->exited || io->out || io->err || io->ended)
		return;
	io->ended = true;
	ep_close(io->in);
	io->in = NULL;
	if (logring_end(io->ring, clock_real_ns()))
		log_error("container", "%s: no memory for the end of the log", io->container->id);
	tell_ring(io);
	tell_end(io, true);
}

static ssize_t on_output(void *user, const uint8_t *data, size_t len)
{
	struct output *o = user;
	struct container_io *io = o->io;
	if (logring_append(io->ring, o->channel, clock_real_ns(), data, len)) {
		ep_hold(o->channel == 1 ? io->out : io->err, true);   // no memory now: an acknowledgement frees some
		return 0;
	}
	for (struct io_sink *s = io->sinks; s; s = s->next)
		if (s->output)
			s->output(s, o->channel, data, len);
	tell_ring(io);
	update_hold(io);
	return (ssize_t)len;
}

static void on_output_eof(void *user)
{
	struct output *o = user;
	close_endpoint(o->io, o->channel == 1 ? &o->io->out : &o->io->err);
	maybe_end(o->io);
}

static void on_output_ended(void *user, int error)
{
	(void)error;
	on_output_eof(user);
}

static void on_input_drained(void *user)
{
	struct container_io *io = user;
	io->input_full = false;
	for (struct io_sink *s = io->sinks, *next; s; s = next) {
		next = s->next;
		if (s->input_drained)
			s->input_drained(s);
	}
}

static void on_terminal_drained(void *user) { on_input_drained(((struct output *)user)->io); }

static void on_input_ended(void *user, int error)
{
	struct container_io *io = user;
	(void)error;
	ep_close(io->in);
	io->in = NULL;
	on_input_drained(io);   // what waits is dropped from now on
}

static const struct endpoint_ops output_ops = {.input = on_output, .eof = on_output_eof, .ended = on_output_ended};
static const struct endpoint_ops terminal_ops = {.input = on_output, .eof = on_output_eof, .ended = on_output_ended,
						 .drained = on_terminal_drained};
static const struct endpoint_ops input_ops = {.drained = on_input_drained, .ended = on_input_ended};

static void on_terminal(void *user, int fd)
{
	struct container_io *io = user;
	io->console = NULL;
	io->out = ep_new(io->container->agent->loop, fd, EP_BOTH, 0, &terminal_ops, &io->outputs[0]);
	io->in = io->out;
	update_hold(io);
}

static int open_pipes(struct container_io *io, struct err *e)
{
	struct evloop *l = io->container->agent->loop;
	int out[2], err[2], in[2];
	if (pipe2(out, O_CLOEXEC))
		return err_sys(e, errno, "make a pipe");
	io->child[1] = out[1];
	io->out = ep_new(l, out[0], EP_READ, 0, &output_ops, &io->outputs[0]);
	if (pipe2(err, O_CLOEXEC))
		return err_sys(e, errno, "make a pipe");
	io->child[2] = err[1];
	io->err = ep_new(l, err[0], EP_READ, 0, &output_ops, &io->outputs[1]);
	if (io->container->stdin_open) {
		if (pipe2(in, O_CLOEXEC))
			return err_sys(e, errno, "make a pipe");
		io->child[0] = in[0];
		io->in = ep_new(l, in[1], EP_WRITE, 0, &input_ops, io);
	}
	if (!io->out || !io->err || (io->container->stdin_open && !io->in))
		return err_set(e, ENOMEM, "no memory");
	update_hold(io);
	return 0;
}

int container_io_open(struct container_io *io, int stdio[3], struct err *e)
{
	char path[PATH_MAX + 32];
	int rc;
	if (io->container->tty) {
		snprintf(path, sizeof(path), "%s/tty", io->container->dir);
		io->console = console_new(io->container->agent->loop, path, on_terminal, io, e);
		rc = io->console ? 0 : -e->code;
	} else {
		rc = open_pipes(io, e);
	}
	if (rc)
		container_io_failed(io);
	memcpy(stdio, io->child, sizeof(io->child));
	return rc;
}

const char *container_io_console_path(const struct container_io *io) { return console_path(io->console); }

void container_io_spawned(struct container_io *io)
{
	for (int i = 0; i < 3; i++) {
		if (io->child[i] >= 0)
			close(io->child[i]);
		io->child[i] = -1;
	}
}

void container_io_started(struct container_io *io)
{
	io->started = true;
	if (io->console)
		console_poll(io->console);   // the terminal was sent before crun ended
	update_hold(io);
	on_input_drained(io);
}

/* What is in the pipes came from crun, not from the container. */
void container_io_failed(struct container_io *io)
{
	container_io_spawned(io);
	console_free(io->console);
	io->console = NULL;
	close_endpoint(io, &io->out);
	close_endpoint(io, &io->err);
	io->exited = true;
	maybe_end(io);
}

void container_io_exited(struct container_io *io)
{
	io->exited = true;
	if (io->console)
		console_free(io->console);
	io->console = NULL;
	maybe_end(io);
}

void container_io_follow(struct container_io *io, struct io_sink *s)
{
	s->next = io->sinks;
	io->sinks = s;
	update_hold(io);
}

void container_io_unfollow(struct container_io *io, struct io_sink *s)
{
	struct io_sink **p = &io->sinks;
	while (*p && *p != s)
		p = &(*p)->next;
	if (*p)
		*p = s->next;
	update_hold(io);
}

bool container_io_input(struct container_io *io, const void *data, size_t len)
{
	if (!io->in)
		return true;
	ep_send(io->in, data, len, NULL, 0);
	io->input_full = ep_full(io->in);
	return !io->input_full;
}

void container_io_input_end(struct container_io *io)
{
	if (!io->container->stdin_once || io->container->tty || !io->in)
		return;
	ep_close_sent(io->in);
	io->in = NULL;
}

void container_io_resize(struct container_io *io, unsigned cols, unsigned rows)
{
	if (io->container->tty && io->out)
		console_resize(ep_fd(io->out), cols, rows);
}
