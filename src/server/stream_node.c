// SPDX-License-Identifier: Apache-2.0
// One connection to a node, on the loop's thread: dial, TLS, the request, then its answer or a tunnel.
#include "server/streams_internal.h"

#include <ctype.h>
#include <errno.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define DIAL_TIMEOUT_MS 10000

/* --- telling the user; loop thread --- */

void stream_announce(struct stream *st, bool first)
{
	void (*ready)(void *user) = NULL;

	pthread_mutex_lock(&st->lock);
	if (!st->closed && (first ? !st->announced : st->waiting)) {
		ready = st->ready;
		st->announced = true;
		st->waiting = false;
		ready(st->user);   // with the lock: stream_close waits for it
	}
	pthread_mutex_unlock(&st->lock);
}

static void drop_watch(struct evwatch **w)
{
	if (*w)
		evloop_remove(*w);
	*w = NULL;
}

void stream_end(struct stream *st)
{
	bool was_tunnel = st->state == STREAM_TUNNEL;

	if (st->state == STREAM_ENDED)
		return;
	st->state = STREAM_ENDED;
	drop_watch(&st->node_watch);
	drop_watch(&st->client_watch);
	drop_watch(&st->tunnel_watch);
	drop_watch(&st->timer);
	if (st->tls) {
		gnutls_bye(st->tls, GNUTLS_SHUT_WR);
		gnutls_deinit(st->tls);
		st->tls = NULL;
	}
	if (st->fd >= 0)
		close(st->fd);
	if (st->client_fd >= 0)
		close(st->client_fd);
	st->fd = st->client_fd = -1;
	if (st->prev)
		st->prev->next = st->next;
	else
		st->s->all = st->next;
	if (st->next)
		st->next->prev = st->prev;
	if (was_tunnel)
		stream_announce(st, false);
	stream_unref(st);
}

void stream_fail(struct stream *st, const char *fmt, const char *detail)
{
	pthread_mutex_lock(&st->lock);
	if (!st->failed) {
		st->failed = true;
		snprintf(st->why, sizeof st->why, fmt, detail);
	}
	pthread_mutex_unlock(&st->lock);
	stream_announce(st, true);
	stream_announce(st, false);
	stream_end(st);
}

/* --- bytes from the node --- */

static void read_head(struct stream *st)
{
	ssize_t n;

	pthread_mutex_lock(&st->lock);
	n = http_head_parse(st->from_node.data ? st->from_node.data : "", st->from_node.len, &st->head);
	if (n > 0) {
		buf_consume(&st->from_node, n);
		st->has_head = true;
		st->body_left = st->head.code == 101 ? -1 : st->head.content_length;
	}
	pthread_mutex_unlock(&st->lock);
	if (n < 0) {
		stream_fail(st, "the node's answer is malformed%s", "");
	} else if (n > 0) {
		st->state = STREAM_ANSWERED;
		drop_watch(&st->timer);
		stream_announce(st, true);
	} else if (st->node_over) {
		stream_fail(st, "the node closed the connection without an answer%s", "");
	}
}

/* Read what there is, while there is room. *over: nothing more will come. Returns true if anything changed. */
static bool tls_fill(gnutls_session_t tls, struct buf *b, bool *over)
{
	bool any = false;

	while (!*over && b->len < STREAM_BUFFER_MAX) {
		ssize_t n = buf_reserve(b, 16384) ? GNUTLS_E_MEMORY_ERROR : gnutls_record_recv(tls, b->data + b->len, 16384);
		if (n == GNUTLS_E_AGAIN)
			break;
		if (n == GNUTLS_E_INTERRUPTED)
			continue;
		if (n > 0)
			b->len += n;
		else
			*over = true;
		any = true;
	}
	return any;
}

/* Write what is there, as far as the peer takes it. Returns 0, or -EPIPE. */
static int tls_drain(gnutls_session_t tls, struct buf *b)
{
	while (b->len) {
		ssize_t n = gnutls_record_send(tls, b->data, b->len);
		if (n == GNUTLS_E_AGAIN)
			return 0;
		if (n == GNUTLS_E_INTERRUPTED)
			continue;
		if (n < 0)
			return -EPIPE;
		buf_consume(b, n);
	}
	return 0;
}

static bool read_node(struct stream *st)
{
	bool any;

	pthread_mutex_lock(&st->lock);
	any = tls_fill(st->tls, &st->from_node, &st->node_over);
	pthread_mutex_unlock(&st->lock);
	return any;
}

/* --- the tunnel; loop thread --- */

enum pumped { PUMP_IDLE, PUMP_AGAIN, PUMP_OVER };

/* From one side to the other. AGAIN: the buffer was full, so TLS may hold more, of which no event would tell. */
static enum pumped pump(gnutls_session_t from, gnutls_session_t to, struct buf *b, bool *over)
{
	bool full;

	tls_fill(from, b, over);
	full = b->len >= STREAM_BUFFER_MAX;
	if (tls_drain(to, b) || (*over && !b->len))
		return PUMP_OVER;
	return full && !b->len ? PUMP_AGAIN : PUMP_IDLE;
}

static uint32_t interest(bool in_over, const struct buf *in, const struct buf *out)
{
	return (!in_over && in->len < STREAM_BUFFER_MAX ? EPOLLIN : 0) | (out->len ? EPOLLOUT : 0);
}

static void tunnel_step(struct stream *st)
{
	enum pumped up, down;

	do {
		up = pump(st->client, st->tls, &st->to_node, &st->client_over);
		down = pump(st->tls, st->client, &st->from_node, &st->node_over);
		if (up == PUMP_OVER || down == PUMP_OVER) {
			stream_end(st);
			return;
		}
	} while (up == PUMP_AGAIN || down == PUMP_AGAIN);
	evloop_modify(st->tunnel_watch, interest(st->client_over, &st->to_node, &st->from_node));
	evloop_modify(st->node_watch, interest(st->node_over, &st->from_node, &st->to_node));
}

static void on_tunnel(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l;
	(void)w;
	(void)events;
	tunnel_step(user);
}

static void start_tunnel(struct stream *st)
{
	int on = 1, off = 0;

	st->state = STREAM_TUNNEL;
	drop_watch(&st->client_watch);   // from now on the tunnel itself sees it
	// The listener gathers small pieces, which suits answers but not a terminal.
	setsockopt(st->tunnel_fd, IPPROTO_TCP, TCP_CORK, &off, sizeof off);
	setsockopt(st->tunnel_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	st->tunnel_watch = evloop_add(st->s->loop, st->tunnel_fd, EPOLLIN, on_tunnel, st);
	if (st->tunnel_watch)
		tunnel_step(st);
	else
		stream_end(st);
}

/* --- the node's side; loop thread --- */

static void handshake(struct stream *st)
{
	int r = gnutls_handshake(st->tls);

	if (r == GNUTLS_E_AGAIN || r == GNUTLS_E_INTERRUPTED) {
		evloop_modify(st->node_watch, gnutls_record_get_direction(st->tls) ? EPOLLOUT : EPOLLIN);
		return;
	}
	if (r < 0) {
		stream_fail(st, "TLS with the node: %s", gnutls_strerror(r));
		return;
	}
	st->state = STREAM_ASKING;
	evloop_modify(st->node_watch, EPOLLIN | EPOLLOUT);
	if (st->timeout_ms)
		evloop_timer_set(st->timer, st->timeout_ms, 0);
	else
		drop_watch(&st->timer);
}

/* "dial tcp 10.0.0.1:10250: connect: connection refused" */
static void fail_errno(struct stream *st, int error)
{
	const char *text = strerror(error);
	char detail[STREAM_WHY_MAX];

	snprintf(detail, sizeof detail, "%s:%d: connect: %c%s", st->address, st->port, tolower((unsigned char)text[0]), text + 1);
	stream_fail(st, "dial tcp %s", detail);
}

static void dialed(struct stream *st)
{
	int error = 0, one = 1;
	socklen_t len = sizeof error;

	getsockopt(st->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error) {
		fail_errno(st, error);
		return;
	}
	setsockopt(st->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(st->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	st->state = STREAM_HANDSHAKE;
	handshake(st);
}

static void ask(struct stream *st)
{
	if (tls_drain(st->tls, &st->to_node)) {
		stream_fail(st, "the node closed the connection%s", "");
		return;
	}
	evloop_modify(st->node_watch, st->to_node.len ? EPOLLIN | EPOLLOUT : EPOLLIN);
	if (read_node(st))
		read_head(st);
}

/* The user reads the body, or wants a tunnel, or has not said yet. */
void stream_answered(struct stream *st)
{
	bool full, over, tunnel;

	pthread_mutex_lock(&st->lock);
	tunnel = st->wants_tunnel;
	if (!tunnel)
		tls_fill(st->tls, &st->from_node, &st->node_over);
	full = st->from_node.len >= STREAM_BUFFER_MAX;
	over = st->node_over;
	pthread_mutex_unlock(&st->lock);
	if (tunnel) {
		start_tunnel(st);
		return;
	}
	evloop_modify(st->node_watch, full || over ? 0 : EPOLLIN);
	stream_announce(st, false);
}

static void on_node(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct stream *st = user;

	(void)l;
	(void)w;
	(void)events;
	switch (st->state) {
	case STREAM_DIALING: dialed(st); break;
	case STREAM_HANDSHAKE: handshake(st); break;
	case STREAM_ASKING: ask(st); break;
	case STREAM_ANSWERED: stream_answered(st); break;
	case STREAM_TUNNEL: tunnel_step(st); break;
	case STREAM_ENDED: break;
	}
}

static void on_client_gone(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l;
	(void)w;
	(void)events;
	stream_fail(user, "the client went away%s", "");
}

static void on_timeout(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct stream *st = user;
	char detail[STREAM_WHY_MAX];

	(void)l;
	(void)w;
	(void)events;
	snprintf(detail, sizeof detail, "%s:%d", st->address, st->port);
	stream_fail(st, "dial tcp %s: i/o timeout", detail);
}

static int start_tls(struct stream *st)
{
	int r = gnutls_init(&st->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);

	if (r >= 0)
		r = gnutls_set_default_priority(st->tls);
	if (r >= 0)
		r = gnutls_credentials_set(st->tls, GNUTLS_CRD_CERTIFICATE, st->s->cred);
	if (r < 0)
		return r;
	gnutls_session_set_ptr(st->tls, st);
	gnutls_transport_set_int(st->tls, st->fd);
	gnutls_handshake_set_timeout(st->tls, 0);
	return 0;
}

void stream_dial(struct stream *st)
{
	struct evloop *loop = st->s->loop;
	int r;

	st->fd = socket(st->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (st->fd < 0) {
		fail_errno(st, errno);
		return;
	}
	r = start_tls(st);
	if (r < 0) {
		stream_fail(st, "TLS with the node: %s", gnutls_strerror(r));
		return;
	}
	if (connect(st->fd, (struct sockaddr *)&st->addr, st->addr_len) && errno != EINPROGRESS) {
		fail_errno(st, errno);
		return;
	}
	st->node_watch = evloop_add(loop, st->fd, EPOLLOUT, on_node, st);
	st->timer = evloop_timer(loop, DIAL_TIMEOUT_MS, 0, on_timeout, st);
	if (st->client_fd >= 0)
		st->client_watch = evloop_add(loop, st->client_fd, EPOLLRDHUP, on_client_gone, st);
	if (!st->node_watch || !st->timer || (st->client_fd >= 0 && !st->client_watch))
		fail_errno(st, ENOMEM);
}

/* The chain must lead to our authority, and the certificate name the node or the address. */
int stream_verify_node(gnutls_session_t tls)
{
	struct stream *st = gnutls_session_get_ptr(tls);
	unsigned status = 1;

	if (!gnutls_certificate_verify_peers3(tls, st->node_name, &status) && !status)
		return 0;
	return gnutls_certificate_verify_peers3(tls, st->address, &status) || status ? GNUTLS_E_CERTIFICATE_ERROR : 0;
}
