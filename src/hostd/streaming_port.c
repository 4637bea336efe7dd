// SPDX-License-Identifier: Apache-2.0
// Port-forward; see streaming_port.h. Each forwarded connection is a pair of client streams, "data" and "error", tied
// together by a request id, and one stream of the agent. All of one client run in one poll loop.
#include "streaming_port.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "bulkhead/prda.h"
#include "spdy.h"
#include "streaming_open.h"
#include "streaming_session.h"
#include "websocket_channels.h"

#define PAIR_WAIT_MS 30000           // for the second stream of a pair; a kubelet waits as long
#define OPEN_TIMEOUT_MS 30000        // for a connection inside the VM
#define TO_AGENT_MAX (512u << 10)    // bytes waiting for one connection at which the client is no longer read
#define NO_STREAM UINT32_MAX

struct forward {
	char *id;                    // request id
	uint16_t port;
	uint32_t data, error;        // NO_STREAM: not there (yet)
	uint64_t since;              // monotonic ns
	struct agent_opening *opening;
	int fd;                      // -1: not connected
	struct buf to_agent;
	size_t taken;
	bool client_ended, shut;     // no more from the client; the agent has been told
	bool agent_ended;
	bool over;                   // to be removed
	size_t slot;                 // its place in the poll set
};

struct relay {
	struct session session;
	const struct port_request *rq;
	struct forward **list;
	size_t count, cap;
	int wake_fd;                 // an opening is over
	struct pollfd *fds;
	size_t fds_cap;
	unsigned char client_bytes[SESSION_READ], agent_bytes[SESSION_READ];
};

static size_t pending(const struct forward *f) { return f->to_agent.len - f->taken; }

static void forward_free(struct forward *f)
{
	agent_opening_abandon(f->opening);
	if (f->fd >= 0)
		close(f->fd);
	buf_fini(&f->to_agent);
	free(f->id);
	free(f);
}

static struct forward *forward_add(struct relay *r, const char *id)
{
	if (r->count == MUX_STREAMS_MAX / 2)
		return NULL;
	if (r->count == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 8;
		struct forward **more = realloc(r->list, cap * sizeof(*more));
		if (!more)
			return NULL;
		r->list = more;
		r->cap = cap;
	}
	struct forward *f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	*f = (struct forward){.id = strdup(id), .data = NO_STREAM, .error = NO_STREAM, .fd = -1, .since = clock_mono_ns()};
	if (!f->id) {
		forward_free(f);
		return NULL;
	}
	return r->list[r->count++] = f;
}

static struct forward *forward_by_stream(const struct relay *r, uint32_t stream)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->list[i]->data == stream || r->list[i]->error == stream)
			return r->list[i];
	return NULL;
}

static struct forward *forward_by_id(const struct relay *r, const char *id)
{
	for (size_t i = 0; i < r->count; i++)
		if (!strcmp(r->list[i]->id, id))
			return r->list[i];
	return NULL;
}

/* Our side of both streams ends, with a text on the error stream if something failed. */
static void say_end(struct relay *r, struct forward *f, const char *why)
{
	struct mux *m = r->session.mux;
	char text[ERR_TEXT_MAX + 256];
	if (why && f->error != NO_STREAM) {
		snprintf(text, sizeof(text), "error forwarding port %u to pod %s, uid %s: %s", f->port, r->rq->pod, r->rq->uid, why);
		mux_send(m, f->error, text, strlen(text));
	}
	if (f->data != NO_STREAM)
		mux_finish(m, f->data);
	if (f->error != NO_STREAM)
		mux_finish(m, f->error);
	f->agent_ended = true;
}

/* Both streams are there: connect. */
static void forward_start(struct relay *r, struct forward *f)
{
	Bulkhead__Agent__StreamOpen open = BULKHEAD__AGENT__STREAM_OPEN__INIT;
	Bulkhead__Agent__PortOpen port = BULKHEAD__AGENT__PORT_OPEN__INIT;
	port.port = f->port;
	open.what_case = BULKHEAD__AGENT__STREAM_OPEN__WHAT_PORT;
	open.port = &port;
	f->opening = agent_opening_start(r->rq->vsock_path, &open, OPEN_TIMEOUT_MS, r->wake_fd);
	if (!f->opening) {
		say_end(r, f, "no memory");
		f->over = true;
	}
}

static void forward_connected(struct relay *r, struct forward *f)
{
	struct err e = ERR_INIT;
	int fd = agent_opening_collect(f->opening, &e);
	if (fd == -EINPROGRESS)
		return;
	f->opening = NULL;
	if (fd >= 0) {
		f->fd = fd;
		return;
	}
	say_end(r, f, e.text);
	f->over = true;
}

/* From the client. */

/* Clients of old give no request id: they open "error", then "data" with the next odd number. */
static void request_id(uint32_t stream, const struct mux_headers *h, bool is_data, char *out, size_t room)
{
	const char *id = mux_header(h, "requestid");
	if (*id)
		snprintf(out, room, "%s", id);
	else
		snprintf(out, room, "%u", is_data ? stream - 2 : stream);
}

static int on_opened(void *user, uint32_t stream, const struct mux_headers *h)
{
	struct relay *r = user;
	const char *type = mux_header(h, "streamtype"), *port_text = mux_header(h, "port");
	bool is_data = !strcmp(type, "data");
	char *end, id[64];
	unsigned long port = strtoul(port_text, &end, 10);
	if ((!is_data && strcmp(type, "error")) || *port_text < '0' || *port_text > '9' || *end || port < 1 || port > 65535)
		return -EINVAL;
	request_id(stream, h, is_data, id, sizeof(id));
	struct forward *f = forward_by_id(r, id);
	if (f && (f->port != port || *(is_data ? &f->data : &f->error) != NO_STREAM))
		return -EEXIST;
	if (!f)
		f = forward_add(r, id);
	if (!f)
		return -ENOSPC;
	f->port = (uint16_t)port;
	*(is_data ? &f->data : &f->error) = stream;
	if (f->data != NO_STREAM && f->error != NO_STREAM)
		forward_start(r, f);
	return 0;
}

static int on_data(void *user, uint32_t stream, const void *data, size_t len)
{
	struct relay *r = user;
	struct forward *f = forward_by_stream(r, stream);
	if (!f || f->data != stream || f->over || f->shut)
		return mux_consumed(r->session.mux, stream, len);
	return buf_append(&f->to_agent, data, len);
}

static void on_ended(void *user, uint32_t stream, bool reset)
{
	struct relay *r = user;
	struct forward *f = forward_by_stream(r, stream);
	if (!f)
		return;
	if (f->data == stream) {
		f->client_ended = true;
		if (reset) {
			f->data = NO_STREAM;
			if (!f->agent_ended)
				say_end(r, f, NULL);
			f->over = true;
		}
	} else if (reset) {
		f->error = NO_STREAM;
	}
}

/* Between the VM and the client. */

static int write_agent(struct relay *r, struct forward *f)
{
	size_t before = pending(f);
	while (pending(f)) {
		ssize_t n = send(f->fd, f->to_agent.data + f->taken, pending(f), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) {
			f->taken = f->to_agent.len;   // nobody reads it; what the VM sent may still be read
			f->shut = true;
			break;
		}
		f->taken += (size_t)n;
	}
	size_t gone = before - pending(f);
	if (f->taken == f->to_agent.len) {
		f->to_agent.len = f->taken = 0;
		if (f->to_agent.cap > TO_AGENT_MAX)
			buf_fini(&f->to_agent);
	} else if (f->taken > TO_AGENT_MAX / 2) {
		buf_consume(&f->to_agent, f->taken);
		f->taken = 0;
	}
	if (f->client_ended && !f->shut && !pending(f)) {
		f->shut = true;
		shutdown(f->fd, SHUT_WR);
	}
	return gone && f->data != NO_STREAM ? mux_consumed(r->session.mux, f->data, gone) : 0;
}

static int read_agent(struct relay *r, struct forward *f)
{
	size_t room = mux_room(r->session.mux, f->data);
	if (room > sizeof(r->agent_bytes))
		room = sizeof(r->agent_bytes);
	if (!room)
		return 0;
	ssize_t n = recv(f->fd, r->agent_bytes, room, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		say_end(r, f, NULL);
		return 0;
	}
	int rc = mux_send(r->session.mux, f->data, r->agent_bytes, (size_t)n);
	return rc == -ENOENT ? 0 : rc;
}

static int forward_step(struct relay *r, struct forward *f)
{
	short ready = f->slot ? r->fds[f->slot].revents : 0;
	int rc = 0;
	if (f->fd >= 0 && !f->over)
		rc = write_agent(r, f);
	if (!rc && (ready & (POLLIN | POLLHUP | POLLERR)) && !f->over && !f->agent_ended)
		rc = read_agent(r, f);
	/* Over channels the client cannot say that it has ended. */
	if (f->agent_ended && (f->client_ended || f->shut || r->rq->transport == PORT_CHANNELS))
		f->over = true;
	return rc;
}

/* Fill the poll set. Returns its size, 0: no memory. */
static size_t poll_set(struct relay *r, bool *waiting)
{
	size_t n = SESSION_FDS;
	if (r->fds_cap < n + 1 + r->count) {
		size_t cap = (n + 1 + r->count) * 2;
		struct pollfd *more = realloc(r->fds, cap * sizeof(*more));
		if (!more)
			return 0;
		r->fds = more;
		r->fds_cap = cap;
	}
	r->fds[n++] = (struct pollfd){.fd = r->wake_fd, .events = POLLIN};
	r->session.paused = false;
	*waiting = false;
	for (size_t i = 0; i < r->count; i++) {
		struct forward *f = r->list[i];
		short events = 0;
		*waiting |= f->data == NO_STREAM || f->error == NO_STREAM;
		r->session.paused |= pending(f) > TO_AGENT_MAX;
		f->slot = 0;
		if (f->fd < 0)
			continue;
		if (!f->agent_ended && f->data != NO_STREAM && mux_room(r->session.mux, f->data))
			events |= POLLIN;
		if (pending(f))
			events |= POLLOUT;
		if (!events)
			continue;   // not even POLLHUP, which would be reported for ever
		f->slot = n;
		r->fds[n++] = (struct pollfd){.fd = f->fd, .events = events};
	}
	return n;
}

static void drop_unpaired(struct relay *r)
{
	uint64_t now = clock_mono_ns();
	for (size_t i = 0; i < r->count; i++) {
		struct forward *f = r->list[i];
		if ((f->data != NO_STREAM && f->error != NO_STREAM) || f->over || now - f->since < PAIR_WAIT_MS * NS_PER_MS)
			continue;
		if (f->data != NO_STREAM)
			mux_reset(r->session.mux, f->data);
		if (f->error != NO_STREAM)
			mux_reset(r->session.mux, f->error);
		f->over = true;
	}
}

static void remove_over(struct relay *r)
{
	size_t kept = 0;
	for (size_t i = 0; i < r->count; i++) {
		if (r->list[i]->over)
			forward_free(r->list[i]);
		else
			r->list[kept++] = r->list[i];
	}
	r->count = kept;
}

static int relay_step(struct relay *r)
{
	bool waiting;
	int rc = session_flush(&r->session);
	if (rc)
		return rc;
	size_t n = poll_set(r, &waiting);
	if (!n)
		return -ENOMEM;
	rc = session_step(&r->session, r->fds, n, waiting ? 1000 : -1);
	if (rc)
		return rc;
	if (r->fds[SESSION_FDS].revents) {
		eventfd_t count;
		eventfd_read(r->wake_fd, &count);
		for (size_t i = 0; i < r->count; i++)
			if (r->list[i]->opening)
				forward_connected(r, r->list[i]);
	}
	/* Forwards that the client has just opened stand behind those of the poll set and have no slot. */
	for (size_t i = 0; i < r->count; i++) {
		rc = forward_step(r, r->list[i]);
		if (rc)
			return rc;
	}
	if (waiting)
		drop_unpaired(r);
	remove_over(r);
	return 0;
}

/* Over channels the ports are in the request: a pair of channels each, and the first message of each is the port. */
static int open_channels(struct relay *r)
{
	for (size_t i = 0; i < r->rq->ports_count; i++) {
		char port[8], id[24];
		uint8_t first[2] = {(uint8_t)r->rq->ports[i], (uint8_t)(r->rq->ports[i] >> 8)};
		snprintf(port, sizeof(port), "%u", r->rq->ports[i]);
		snprintf(id, sizeof(id), "%zu", i);
		for (uint32_t part = 0; part < 2; part++) {
			uint32_t channel = (uint32_t)i * 2 + part;
			const struct mux_headers h = {3, {{"streamtype", part ? "error" : "data"}, {"port", port}, {"requestid", id}}};
			int rc = on_opened(r, channel, &h);
			if (!rc)
				rc = mux_send(r->session.mux, channel, first, sizeof(first));
			if (rc)
				return rc;
		}
	}
	return 0;
}

static struct mux *new_mux(struct relay *r)
{
	static const struct mux_sink sink = {.opened = on_opened, .data = on_data, .ended = on_ended};
	const struct websocket_channels_opts opts = {.count = (uint32_t)r->rq->ports_count * 2, .base64 = r->rq->base64};
	switch (r->rq->transport) {
	case PORT_CHANNELS:
		return websocket_channels_new(&opts, &sink, r);
	case PORT_TUNNEL:
		return websocket_tunnel_new(&sink, r);
	default:
		return spdy_new(&sink, r);
	}
}

static void relay_free(struct relay *r)
{
	for (size_t i = 0; i < r->count; i++)
		forward_free(r->list[i]);
	mux_free(r->session.mux);
	if (r->wake_fd >= 0)
		close(r->wake_fd);
	free(r->list);
	free(r->fds);
	free(r);
}

PRDA_DEFINE_COUNTER(port_streams, "bulkhead_portforward_streams_total", "port-forward connections of clients begun");

void port_relay(struct wire *w, int stop_fd, const struct port_request *rq)
{
	struct relay *r = calloc(1, sizeof(*r));
	if (!r)
		return;
	prda_add(port_streams, 1);
	r->rq = rq;
	r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->session = (struct session){.wire = *w, .stop_fd = stop_fd, .buffer = r->client_bytes};
	r->session.mux = new_mux(r);
	int rc = r->session.mux && r->wake_fd >= 0 ? 0 : -ENOMEM;
	if (!rc && rq->transport == PORT_CHANNELS)
		rc = open_channels(r);
	while (!rc && (rq->transport != PORT_CHANNELS || r->count))
		rc = relay_step(r);
	if (rc == -ENOMEM)
		log_error("streaming", "no memory for a port-forward");
	if (r->session.mux && (!rc || rc == -EPROTO))
		session_finish(&r->session);
	relay_free(r);
}
