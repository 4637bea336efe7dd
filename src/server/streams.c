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
	int sock;
	struct evwatch *sock_watch;
	struct MHD_UpgradeResponseHandle *urh;

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
	if (st->state == ENDED)
		return;
	st->state = ENDED;
	drop_watch(&st->node_watch);
	drop_watch(&st->client_watch);
	drop_watch(&st->sock_watch);
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
	if (st->urh)
		MHD_upgrade_action(st->urh, MHD_UPGRADE_ACTION_CLOSE);
	st->fd = st->client_fd = st->sock = -1;
	st->urh = NULL;
	if (st->prev)
		st->prev->next = st->next;
	else
		st->s->all = st->next;
	if (st->next)
		st->next->prev = st->prev;
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

static void set_node_over(struct stream *st)
{
	pthread_mutex_lock(&st->lock);
	st->node_over = true;
	pthread_mutex_unlock(&st->lock);
}

/* Read what there is, while there is room. Returns true if anything came or the node is at its end. */
static bool read_node(struct stream *st)
{
	bool any = false;

	while (!st->node_over) {
		char data[16384];
		ssize_t n;
		bool full;
		pthread_mutex_lock(&st->lock);
		full = st->from_node.len >= BUFFER_MAX;
		pthread_mutex_unlock(&st->lock);
		if (full)
			break;
		n = gnutls_record_recv(st->tls, data, sizeof data);
		if (n == GNUTLS_E_AGAIN)
			break;
		if (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_REHANDSHAKE)
			continue;
		any = true;
		if (n <= 0) {
			set_node_over(st);
			break;
		}
		pthread_mutex_lock(&st->lock);
		if (buf_append(&st->from_node, data, n))
			st->node_over = true;
		pthread_mutex_unlock(&st->lock);
	}
	return any;
}

/* Returns 0, or -errno when the node cannot be written to. */
static int write_node(struct stream *st)
{
	while (st->to_node.len) {
		ssize_t n = gnutls_record_send(st->tls, st->to_node.data, st->to_node.len);
		if (n == GNUTLS_E_AGAIN)
			return 0;
		if (n == GNUTLS_E_INTERRUPTED)
			continue;
		if (n < 0)
			return -EPIPE;
		buf_consume(&st->to_node, n);
	}
	return 0;
}

/* --- the tunnel; loop thread --- */

/* Client to node. Returns false when the tunnel is over. */
static bool pump_to_node(struct stream *st)
{
	while (!st->client_over && st->to_node.len < BUFFER_MAX) {
		char data[16384];
		ssize_t n = recv(st->sock, data, sizeof data, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0)
			st->client_over = true;
		else if (buf_append(&st->to_node, data, n))
			return false;
	}
	if (write_node(st))
		return false;
	return !(st->client_over && !st->to_node.len);
}

/* Send what is there. Returns false when the client takes nothing any more; *left: what remains. */
static bool write_client(struct stream *st, size_t *left)
{
	bool ok = true;

	pthread_mutex_lock(&st->lock);
	while (st->from_node.len && ok) {
		ssize_t n = send(st->sock, st->from_node.data, st->from_node.len, MSG_NOSIGNAL);
		if (n >= 0)
			buf_consume(&st->from_node, n);
		else if (errno == EAGAIN)
			break;
		else
			ok = errno == EINTR;
	}
	*left = st->from_node.len;
	pthread_mutex_unlock(&st->lock);
	return ok;
}

static bool pump_to_client(struct stream *st)
{
	size_t left;
	bool more;

	do {   // the buffer may have been full while TLS held more, of which no event would tell
		more = read_node(st);
		if (!write_client(st, &left))
			return false;
	} while (more && !left && !st->node_over);
	return !(st->node_over && !left);
}

static void tunnel_step(struct stream *st)
{
	uint32_t node = 0, sock = 0;

	if (!pump_to_node(st) || !pump_to_client(st)) {
		end(st);
		return;
	}
	if (!st->client_over && st->to_node.len < BUFFER_MAX)
		sock |= EPOLLIN;
	if (st->from_node.len)
		sock |= EPOLLOUT;
	if (!st->node_over && st->from_node.len < BUFFER_MAX)
		node |= EPOLLIN;
	if (st->to_node.len)
		node |= EPOLLOUT;
	evloop_modify(st->sock_watch, sock);
	evloop_modify(st->node_watch, node);
}

static void on_sock(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l;
	(void)w;
	(void)events;
	tunnel_step(user);
}

static void start_tunnel(struct stream *st)
{
	st->state = TUNNEL;
	drop_watch(&st->client_watch);   // from now on the tunnel itself sees it
	fcntl(st->sock, F_SETFL, fcntl(st->sock, F_GETFL) | O_NONBLOCK);
	st->sock_watch = evloop_add(st->s->loop, st->sock, EPOLLIN, on_sock, st);
	if (st->sock_watch)
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
	if (write_node(st)) {
		fail(st, "the node closed the connection%s", "");
		return;
	}
	evloop_modify(st->node_watch, st->to_node.len ? EPOLLIN | EPOLLOUT : EPOLLIN);
	if (read_node(st))
		read_head(st);
}

/* The user reads the body (or has not said yet what becomes of it). */
static void answered(struct stream *st)
{
	bool full, over;

	read_node(st);
	pthread_mutex_lock(&st->lock);
	full = st->from_node.len >= BUFFER_MAX;
	over = st->node_over;
	pthread_mutex_unlock(&st->lock);
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
	bool closed, tunnel;

	pthread_mutex_lock(&st->lock);
	closed = st->closed;
	tunnel = st->wants_tunnel;
	pthread_mutex_unlock(&st->lock);
	if (st->state == ENDED) {
		if (tunnel && st->urh) {   // it ended before its tunnel began
			MHD_upgrade_action(st->urh, MHD_UPGRADE_ACTION_CLOSE);
			st->urh = NULL;
		}
	} else if (closed) {
		end(st);
	} else if (st->state == DIALING && st->fd < 0) {
		dial(st);
	} else if (st->state == ANSWERED) {
		if (tunnel)
			start_tunnel(st);
		else
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

	if (!st)
		return -ENOMEM;
	*st = (struct stream){ .s = s, .refs = 2, .fd = -1, .sock = -1, .client_fd = -1, .timeout_ms = timeout_ms, .ready = ready,
			       .user = user, .port = t->port, .address = strdup(t->address), .node_name = strdup(t->node_name) };
	pthread_mutex_init(&st->lock, NULL);
	if (!st->address || !st->node_name || buf_puts(&st->to_node, head) || parse_address(t, st)) {
		stream_unref(st);
		stream_unref(st);
		return -ENOMEM;
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

void stream_tunnel(struct stream *st, int sock, struct MHD_UpgradeResponseHandle *urh, const char *extra, size_t extra_len)
{
	pthread_mutex_lock(&st->lock);
	st->sock = sock;
	st->urh = urh;
	st->wants_tunnel = true;
	pthread_mutex_unlock(&st->lock);
	// The loop does not touch to_node between the request and the tunnel.
	if (extra_len && buf_append(&st->to_node, extra, extra_len)) {
		stream_close(st);
		return;
	}
	post(st);
	stream_unref(st);
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

static void streams_free(struct streams *s)
{
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
	streams_free(s);
}
