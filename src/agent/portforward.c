// SPDX-License-Identifier: Apache-2.0
// Port streams; see portforward.h. Half-close is kept: the end of one direction is passed on, the other goes on.
#include "portforward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"
#include "base/evloop.h"
#include "pod.h"
#include "stream.h"

struct port {
	struct agent *agent;
	struct stream *stream;
	uint16_t number;
	size_t attempt;            // 0: 127.0.0.1, 1: ::1, then the pod's addresses
	int fd;                    // connecting
	struct evwatch *watch;
	struct endpoint *tcp;      // connected
	bool client_eof, tcp_eof;
};

static void port_free(struct port *p)
{
	if (p->watch)
		evloop_remove(p->watch);
	if (p->fd >= 0)
		close(p->fd);
	free(p);
}

/* Both ends have sent all, or one is broken: what is queued still goes out. */
static void finish(struct port *p)
{
	stream_close_sent(p->stream);
	ep_close_sent(p->tcp);
	port_free(p);
}

static ssize_t from_client(void *user, const uint8_t *data, size_t len)
{
	struct port *p = user;
	if (!p->tcp)
		return 0;
	ep_send(p->tcp, data, len, NULL, 0);
	if (ep_full(p->tcp))
		ep_hold(stream_endpoint(p->stream), true);
	return (ssize_t)len;
}

static ssize_t from_tcp(void *user, const uint8_t *data, size_t len)
{
	struct port *p = user;
	ep_send(stream_endpoint(p->stream), data, len, NULL, 0);
	if (ep_full(stream_endpoint(p->stream)))
		ep_hold(p->tcp, true);
	return (ssize_t)len;
}

static void client_drained(void *user)
{
	struct port *p = user;
	if (p->tcp)
		ep_hold(p->tcp, false);
}

static void tcp_drained(void *user) { ep_hold(stream_endpoint(((struct port *)user)->stream), false); }

static void client_eof(void *user)
{
	struct port *p = user;
	p->client_eof = true;
	if (p->tcp_eof)
		finish(p);
	else if (p->tcp)
		ep_finish(p->tcp);
}

static void tcp_eof(void *user)
{
	struct port *p = user;
	p->tcp_eof = true;
	if (p->client_eof)
		finish(p);
	else
		ep_finish(stream_endpoint(p->stream));
}

static void broken(void *user, int error)
{
	(void)error;
	finish(user);
}

static const struct endpoint_ops client_ops = {.input = from_client, .eof = client_eof, .drained = client_drained,
					       .ended = broken};
static const struct endpoint_ops tcp_ops = {.input = from_tcp, .eof = tcp_eof, .drained = tcp_drained, .ended = broken};

static void try_next(struct port *p, int error);

static void connected(struct port *p)
{
	int fd = p->fd;
	p->fd = -1;
	p->tcp = ep_new(p->agent->loop, fd, EP_BOTH, 0, &tcp_ops, p);
	if (!p->tcp) {
		try_next(p, ENOMEM);
		return;
	}
	stream_ready(p->stream);
	if (p->client_eof)
		ep_finish(p->tcp);
	ep_hold(stream_endpoint(p->stream), false);
}

static void on_connect(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct port *p = user;
	int error = 0;
	socklen_t len = sizeof(error);
	(void)l, (void)events;
	evloop_remove(w);
	p->watch = NULL;
	getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error)
		try_next(p, error);
	else
		connected(p);
}

static const char *nth_address(const struct port *p, size_t n)
{
	const char *const *pod;
	size_t count = pod_addresses(p->agent->pod, &pod);
	return n == 0 ? "127.0.0.1" : n == 1 ? "::1" : n - 2 < count ? pod[n - 2] : NULL;
}

static socklen_t socket_address(const char *text, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	inet_pton(AF_INET6, text, &v6->sin6_addr);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	return sizeof(*v6);
}

/* error: why the attempt before failed. */
static void try_next(struct port *p, int error)
{
	const char *address;
	while ((address = nth_address(p, p->attempt++))) {
		struct sockaddr_storage sa;
		socklen_t len = socket_address(address, p->number, &sa);
		if (p->fd >= 0)
			close(p->fd);
		p->fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (p->fd < 0)
			continue;
		if (!connect(p->fd, (struct sockaddr *)&sa, len) || errno == EINPROGRESS) {
			p->watch = evloop_add(p->agent->loop, p->fd, EPOLLOUT, on_connect, p);
			if (p->watch)
				return;
			errno = ENOMEM;
		}
		if (!error || errno == ECONNREFUSED)
			error = errno;
	}
	struct err e;
	err_set(&e, error ? error : ECONNREFUSED, "connect to port %u of the pod: %s", p->number,
		strerror(error ? error : ECONNREFUSED));
	stream_refuse(p->stream, &e);
	port_free(p);
}

void port_open(struct agent *a, struct stream *s, const Bulkhead__Agent__PortOpen *rq)
{
	struct err e = ERR_INIT;
	struct port *p = NULL;
	if (!rq->port || rq->port > 65535)
		err_set(&e, EINVAL, "%u is not a TCP port", rq->port);
	else if (!(p = calloc(1, sizeof(*p))))
		err_set(&e, ENOMEM, "no memory");
	if (!p) {
		stream_refuse(s, &e);
		return;
	}
	*p = (struct port){.agent = a, .stream = s, .number = (uint16_t)rq->port, .fd = -1};
	stream_take(s, &client_ops, p, true);
	ep_hold(stream_endpoint(s), true);
	try_next(p, 0);
}
