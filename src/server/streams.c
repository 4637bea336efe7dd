// SPDX-License-Identifier: Apache-2.0
// The thread that drives all streams, and the calls that others make; what a connection does: stream_node.c.
#include "server/streams.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/own.h"
#include "server/streams_internal.h"

void stream_unref(struct stream *st)
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

/* --- the loop --- */

static void look_at(struct stream *st)
{
	bool closed;

	pthread_mutex_lock(&st->lock);
	closed = st->closed;
	pthread_mutex_unlock(&st->lock);
	if (st->state == STREAM_ENDED) {
		stream_announce(st, false);   // a tunnel, or somebody waiting, that came too late
	} else if (closed) {
		stream_end(st);
	} else if (st->state == STREAM_DIALING && st->fd < 0) {
		stream_dial(st);
	} else if (st->state == STREAM_ANSWERED) {
		stream_answered(st);
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
		if (st->state == STREAM_DIALING && st->fd < 0 && !st->prev && s->all != st) {   // new
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
			stream_fail(s->all, "the server is stopping%s", "");
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
	was_full = st->from_node.len >= STREAM_BUFFER_MAX;
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
	gnutls_certificate_set_verify_function(s->cred, stream_verify_node);
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
