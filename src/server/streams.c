// SPDX-License-Identifier: Apache-2.0
#include "server/streams.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/evloop.h"
#include "base/own.h"

#define BUFFER_MAX 65536         // bytes held per direction
#define DIAL_TIMEOUT_MS 10000
#define WHY_MAX 256

enum state { DIALING, HANDSHAKE, ASKING, ANSWERED, TUNNEL, ENDED };

struct stream {
	struct streams *s;
	_Atomic int refs;            // the loop's and the user's
	struct stream *next, *prev;  // of all streams; loop thread
	struct stream *next_posted;
	bool posted;                 // under s->lock
	int fd;
	gnutls_session_t tls;
	enum state state;
	struct evwatch *node_watch, *client_watch, *timer;
	int client_fd;               // own copy, for hang-ups; -1: none
	unsigned timeout_ms;
	struct buf to_node;
	struct sockaddr_storage addr;
	socklen_t addr_len;
	char *address, *node_name;
	int port;
	bool node_over;              // nothing more comes from the node
	bool client_over;            // nothing more comes from the client

	// Tunnel; loop thread.
	gnutls_session_t client;
	int tunnel_fd;
	struct evwatch *tunnel_watch;

	pthread_mutex_t lock;        // the rest
	struct buf from_node;
	long long body_left;         // of Content-Length; -1: until the end
	struct http_head head;
	bool has_head, failed, closed, waiting, announced, wants_tunnel;
	char why[WHY_MAX];
	void (*ready)(void *user);
	void *user;
};

struct streams {
	struct evloop *loop;
	pthread_t thread;
	gnutls_certificate_credentials_t cred;
	int event_fd;
	struct stream *all;          // loop thread
	pthread_mutex_t lock;
	struct stream *posted;       // streams that somebody wants the loop to look at
	bool stopping;
};

static void stream_unref(struct stream *st)
{
	if (atomic_fetch_sub(&st->refs, 1) != 1)
		return;
	buf_fini(&st->to_node);
	buf_fini(&st->from_node);
	http_head_fini(&st->head);
	pthread_mutex_destroy(&st->lock);
	free(st->address);
	free(st->node_name);
	free(st);
}

/* Have the loop look at st. */
static void post(struct stream *st)
{
	struct streams *s = st->s;
	uint64_t one = 1;
	bool wake = false;

	pthread_mutex_lock(&s->lock);
	if (!st->posted) {
		st->posted = true;
		atomic_fetch_add(&st->refs, 1);
		st->next_posted = s->posted;
		s->posted = st;
		wake = true;
	}
	pthread_mutex_unlock(&s->lock);
	while (wake && write(s->event_fd, &one, sizeof one) < 0 && errno == EINTR)
		;
}

/* --- telling the user; loop thread --- */

static void announce(struct stream *st, bool first)
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

/* Release everything but the memory. */
static void end(struct stream *st)
{
	bool was_tunnel = st->state == TUNNEL;

	if (st->state == ENDED)
		return;
	st->state = ENDED;
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
		announce(st, false);
	stream_unref(st);
}

static void fail(struct stream *st, const char *fmt, const char *detail)
{
	pthread_mutex_lock(&st->lock);
	if (!st->failed) {
		st->failed = true;
		snprintf(st->why, sizeof st->why, fmt, detail);
	}
	pthread_mutex_unlock(&st->lock);
	announce(st, true);
	announce(st, false);
	end(st);
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
		fail(st, "the node's answer is malformed%s", "");
	} else if (n > 0) {
		st->state = ANSWERED;
		drop_watch(&st->timer);
		announce(st, true);
	} else if (st->node_over) {
		fail(st, "the node closed the connection without an answer%s", "");
	}
}

/* Read what there is, while there is room. *over: nothing more will come. Returns true if anything changed. */
static bool tls_fill(gnutls_session_t tls, struct buf *b, bool *over)
{
	bool any = false;

	while (!*over && b->len < BUFFER_MAX) {
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
	full = b->len >= BUFFER_MAX;
	if (tls_drain(to, b) || (*over && !b->len))
		return PUMP_OVER;
	return full && !b->len ? PUMP_AGAIN : PUMP_IDLE;
}

static uint32_t interest(bool in_over, const struct buf *in, const struct buf *out)
{
	return (!in_over && in->len < BUFFER_MAX ? EPOLLIN : 0) | (out->len ? EPOLLOUT : 0);
}

static void tunnel_step(struct stream *st)
{
	enum pumped up, down;

	do {
		up = pump(st->client, st->tls, &st->to_node, &st->client_over);
		down = pump(st->tls, st->client, &st->from_node, &st->node_over);
		if (up == PUMP_OVER || down == PUMP_OVER) {
			end(st);
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

	st->state = TUNNEL;
	drop_watch(&st->client_watch);   // from now on the tunnel itself sees it
	// The listener gathers small pieces, which suits answers but not a terminal.
	setsockopt(st->tunnel_fd, IPPROTO_TCP, TCP_CORK, &off, sizeof off);
	setsockopt(st->tunnel_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	st->tunnel_watch = evloop_add(st->s->loop, st->tunnel_fd, EPOLLIN, on_tunnel, st);
	if (st->tunnel_watch)
		tunnel_step(st);
	else
		end(st);
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
		fail(st, "TLS with the node: %s", gnutls_strerror(r));
		return;
	}
	st->state = ASKING;
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
	char detail[WHY_MAX];

	snprintf(detail, sizeof detail, "%s:%d: connect: %c%s", st->address, st->port, tolower((unsigned char)text[0]), text + 1);
	fail(st, "dial tcp %s", detail);
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
	st->state = HANDSHAKE;
	handshake(st);
}

static void ask(struct stream *st)
{
	if (tls_drain(st->tls, &st->to_node)) {
		fail(st, "the node closed the connection%s", "");
		return;
	}
	evloop_modify(st->node_watch, st->to_node.len ? EPOLLIN | EPOLLOUT : EPOLLIN);
	if (read_node(st))
		read_head(st);
}

/* The user reads the body, or wants a tunnel, or has not said yet. */
static void answered(struct stream *st)
{
	bool full, over, tunnel;

	pthread_mutex_lock(&st->lock);
	tunnel = st->wants_tunnel;
	if (!tunnel)
		tls_fill(st->tls, &st->from_node, &st->node_over);
	full = st->from_node.len >= BUFFER_MAX;
	over = st->node_over;
	pthread_mutex_unlock(&st->lock);
	if (tunnel) {
		start_tunnel(st);
		return;
	}
	evloop_modify(st->node_watch, full || over ? 0 : EPOLLIN);
	announce(st, false);
}

static void on_node(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct stream *st = user;

	(void)l;
	(void)w;
	(void)events;
	switch (st->state) {
	case DIALING: dialed(st); break;
	case HANDSHAKE: handshake(st); break;
	case ASKING: ask(st); break;
	case ANSWERED: answered(st); break;
	case TUNNEL: tunnel_step(st); break;
	case ENDED: break;
	}
}

static void on_client_gone(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l;
	(void)w;
	(void)events;
	fail(user, "the client went away%s", "");
}

static void on_timeout(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct stream *st = user;
	char detail[WHY_MAX];

	(void)l;
	(void)w;
	(void)events;
	snprintf(detail, sizeof detail, "%s:%d", st->address, st->port);
	fail(st, "dial tcp %s: i/o timeout", detail);
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

static void dial(struct stream *st)
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
		fail(st, "TLS with the node: %s", gnutls_strerror(r));
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
static int verify_node(gnutls_session_t tls)
{
	struct stream *st = gnutls_session_get_ptr(tls);
	unsigned status = 1;

	if (!gnutls_certificate_verify_peers3(tls, st->node_name, &status) && !status)
		return 0;
	return gnutls_certificate_verify_peers3(tls, st->address, &status) || status ? GNUTLS_E_CERTIFICATE_ERROR : 0;
}

/* --- the loop --- */

static void look_at(struct stream *st)
{
	bool closed;

	pthread_mutex_lock(&st->lock);
	closed = st->closed;
	pthread_mutex_unlock(&st->lock);
	if (st->state == ENDED) {
		announce(st, false);   // a tunnel, or somebody waiting, that came too late
	} else if (closed) {
		end(st);
	} else if (st->state == DIALING && st->fd < 0) {
		dial(st);
	} else if (st->state == ANSWERED) {
		answered(st);
	}
}

static void on_posted(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct streams *s = user;
	struct stream *list, *st;
	uint64_t count;
	bool stopping;

	(void)w;
	(void)events;
	if (read(s->event_fd, &count, sizeof count) < 0)
		count = 0;
	pthread_mutex_lock(&s->lock);
	list = s->posted;
	s->posted = NULL;
	for (st = list; st; st = st->next_posted)
		st->posted = false;
	stopping = s->stopping;
	pthread_mutex_unlock(&s->lock);
	while (list) {
		st = list;
		list = st->next_posted;
		if (st->state == DIALING && st->fd < 0 && !st->prev && s->all != st) {   // new
			st->next = s->all;
			if (s->all)
				s->all->prev = st;
			s->all = st;
		}
		look_at(st);
		stream_unref(st);
	}
	if (stopping) {
		while (s->all)
			fail(s->all, "the server is stopping%s", "");
		evloop_stop(l);
	}
}

static void *streams_main(void *arg)
{
	struct streams *s = arg;

	evloop_run(s->loop);
	return NULL;
}

/* --- calls from other threads --- */

static int parse_address(const struct stream_target *t, struct stream *st)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&st->addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&st->addr;

	if (inet_pton(AF_INET, t->address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(t->port);
		st->addr_len = sizeof *v4;
	} else if (inet_pton(AF_INET6, t->address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(t->port);
		st->addr_len = sizeof *v6;
	} else {
		return -EINVAL;
	}
	return 0;
}

int stream_open(struct streams *s, const struct stream_target *t, const char *head, int client_fd, unsigned timeout_ms,
		void (*ready)(void *user), void *user, struct stream **out)
{
	struct stream *st = calloc(1, sizeof *st);
	bool stopping;

	if (!st)
		return -ENOMEM;
	*st = (struct stream){ .s = s, .refs = 2, .fd = -1, .client_fd = -1, .timeout_ms = timeout_ms, .ready = ready,
			       .user = user, .port = t->port, .address = strdup(t->address), .node_name = strdup(t->node_name) };
	pthread_mutex_init(&st->lock, NULL);
	if (!st->address || !st->node_name || buf_puts(&st->to_node, head) || parse_address(t, st)) {
		stream_unref(st);
		stream_unref(st);
		return -ENOMEM;
	}
	pthread_mutex_lock(&s->lock);
	stopping = s->stopping;
	pthread_mutex_unlock(&s->lock);
	if (stopping) {
		stream_unref(st);
		stream_unref(st);
		return -ESHUTDOWN;
	}
	if (client_fd >= 0)   // a copy: the number may belong to another connection before the loop hears of it
		st->client_fd = fcntl(client_fd, F_DUPFD_CLOEXEC, 0);
	*out = st;
	post(st);
	return 0;
}

void stream_close(struct stream *st)
{
	if (!st)
		return;
	pthread_mutex_lock(&st->lock);
	st->closed = true;
	pthread_mutex_unlock(&st->lock);
	post(st);
	stream_unref(st);
}

const struct http_head *stream_head(const struct stream *st, const char **why)
{
	const struct http_head *h;

	pthread_mutex_lock((pthread_mutex_t *)&st->lock);
	h = st->has_head ? &st->head : NULL;
	*why = st->why;
	pthread_mutex_unlock((pthread_mutex_t *)&st->lock);
	return h;
}

ssize_t stream_read(struct stream *st, char *out, size_t max)
{
	ssize_t n;
	bool was_full;

	pthread_mutex_lock(&st->lock);
	was_full = st->from_node.len >= BUFFER_MAX;
	n = st->from_node.len < max ? st->from_node.len : max;
	if (st->body_left >= 0 && n > st->body_left)
		n = st->body_left;
	if (n) {
		memcpy(out, st->from_node.data, n);
		buf_consume(&st->from_node, n);
		if (st->body_left > 0)
			st->body_left -= n;
	} else if (st->body_left == 0) {
		n = -ENODATA;
	} else if (st->node_over || st->failed) {
		n = st->failed || st->body_left > 0 ? -EPIPE : -ENODATA;
	}
	pthread_mutex_unlock(&st->lock);
	if (was_full && n > 0)
		post(st);
	return n;
}

bool stream_wait(struct stream *st, void (*suspend)(void *user))
{
	bool wait;

	pthread_mutex_lock(&st->lock);
	wait = !st->from_node.len && !st->node_over && !st->failed && st->body_left != 0;
	if (wait) {
		suspend(st->user);
		st->waiting = true;
	}
	pthread_mutex_unlock(&st->lock);
	return wait;
}

int stream_tunnel(struct stream *st, gnutls_session_t client, int fd, const char *first)
{
	struct buf all = BUF_INIT;

	pthread_mutex_lock(&st->lock);
	if (buf_puts(&all, first) || (st->from_node.len && buf_append(&all, st->from_node.data, st->from_node.len))) {
		pthread_mutex_unlock(&st->lock);
		buf_fini(&all);
		return -ENOMEM;
	}
	buf_fini(&st->from_node);
	st->from_node = all;
	st->client = client;
	st->tunnel_fd = fd;
	st->wants_tunnel = st->waiting = true;
	pthread_mutex_unlock(&st->lock);
	post(st);
	return 0;
}

/* --- starting and stopping --- */

static int load_credentials(struct streams *s, const char *root, struct err *e)
{
	char ca[4096], crt[4096], key[4096];
	int r = gnutls_certificate_allocate_credentials(&s->cred);

	snprintf(ca, sizeof ca, "%s/pki/ca.crt", root);
	snprintf(crt, sizeof crt, "%s/pki/kubelet-client.crt", root);
	snprintf(key, sizeof key, "%s/pki/kubelet-client.key", root);
	if (r >= 0)
		r = gnutls_certificate_set_x509_trust_file(s->cred, ca, GNUTLS_X509_FMT_PEM);
	if (r >= 0)
		r = gnutls_certificate_set_x509_key_file(s->cred, crt, key, GNUTLS_X509_FMT_PEM);
	if (r < 0)
		return err_set(e, EINVAL, "certificates for calls to nodes: %s", gnutls_strerror(r));
	gnutls_certificate_set_verify_function(s->cred, verify_node);
	return 0;
}

void streams_free(struct streams *s)
{
	struct stream *st;

	if (!s)
		return;
	while ((st = s->posted)) {
		s->posted = st->next_posted;
		stream_unref(st);
	}
	evloop_free(s->loop);
	if (s->cred)
		gnutls_certificate_free_credentials(s->cred);
	if (s->event_fd >= 0)
		close(s->event_fd);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int streams_start(const char *root, struct streams **out, struct err *e)
{
	struct streams *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	pthread_mutex_init(&s->lock, NULL);
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->loop = evloop_new();
	r = load_credentials(s, root, e);
	if (!r && (s->event_fd < 0 || !s->loop || !evloop_add(s->loop, s->event_fd, EPOLLIN, on_posted, s)))
		r = err_set(e, ENOMEM, "start the streams thread: out of memory or descriptors");
	if (!r && (r = -pthread_create(&s->thread, NULL, streams_main, s)))
		err_sys(e, -r, "start the streams thread");
	if (r) {
		streams_free(s);
		return r;
	}
	*out = s;
	return 0;
}

void streams_stop(struct streams *s)
{
	uint64_t one = 1;

	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_mutex_unlock(&s->lock);
	while (write(s->event_fd, &one, sizeof one) < 0 && errno == EINTR)
		;
	pthread_join(s->thread, NULL);
}
