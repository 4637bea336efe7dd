// SPDX-License-Identifier: Apache-2.0
#include "conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define WIRE (256 << 10)

void give_up(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("load: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

void pool_init(struct pool *p, const char *host, int port, const char *ca, const char *cert, const char *key)
{
	*p = (struct pool){ .host = host, .port = port, .epoll_fd = epoll_create1(EPOLL_CLOEXEC), .wire = malloc(WIRE) };
	mallopt(M_TRIM_THRESHOLD, 64 << 20);   // memory that records need again and again is not given back and faulted in
	mallopt(M_MMAP_THRESHOLD, 16 << 20);
	gnutls_certificate_allocate_credentials(&p->cred);
	if (gnutls_certificate_set_x509_trust_file(p->cred, ca, GNUTLS_X509_FMT_PEM) < 1)
		give_up("%s: no certificate", ca);
	if (gnutls_certificate_set_x509_key_file(p->cred, cert, key, GNUTLS_X509_FMT_PEM) < 0)
		give_up("%s, %s: no certificate and key", cert, key);
}

/* GnuTLS asks for a record's head, then for the rest: one system call for what is there instead of two for each. One buffer does for
 * all: it is empty when GnuTLS is told that there is no more, which is after one system call, so that answers stay short. */
static ssize_t pull(gnutls_transport_ptr_t ptr, void *out, size_t len)
{
	struct conn *c = ptr;
	struct pool *p = c->pool;
	size_t there = p->wire_len - p->wire_pos;

	if (!there) {
		ssize_t n = p->wire_dry ? -1 : recv(c->fd, p->wire, WIRE, 0);
		if (p->wire_dry)
			gnutls_transport_set_errno(c->tls, EAGAIN);
		if (n <= 0)
			return n;
		p->wire_dry = true;
		p->wire_pos = 0;
		p->wire_len = there = n;
	}
	if (len > there)
		len = there;
	memcpy(out, p->wire + p->wire_pos, len);
	p->wire_pos += len;
	return len;
}

static void dial(struct conn *c)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(c->pool->port) };
	int one = 1, r;

	inet_pton(AF_INET, c->pool->host, &a.sin_addr);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a))
		give_up("connect to %s:%d: %s", c->pool->host, c->pool->port, strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	gnutls_init(&c->tls, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL);
	gnutls_set_default_priority(c->tls);
	gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, c->pool->cred);
	gnutls_transport_set_int(c->tls, c->fd);
	do
		r = gnutls_handshake(c->tls);
	while (r < 0 && !gnutls_error_is_fatal(r));
	if (r < 0)
		give_up("TLS: %s", gnutls_strerror(r));
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	gnutls_transport_set_ptr2(c->tls, c, (gnutls_transport_ptr_t)(intptr_t)c->fd);
	gnutls_transport_set_pull_function(c->tls, pull);
}

struct conn *conn_open(struct pool *p, void (*answered)(struct conn *c, int code, const char *body, size_t len), void *user)
{
	struct conn *c = calloc(1, sizeof *c);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

	c->pool = p;
	c->answered = answered;
	c->user = user;
	dial(c);
	epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, c->fd, &ev);
	p->open++;
	return c;
}

void conn_close(struct conn *c)
{
	c->pool->open--;
	gnutls_deinit(c->tls);
	close(c->fd);
	buf_fini(&c->in);
	buf_fini(&c->out);
	buf_fini(&c->decoded);
	free(c);
}

void conn_leave(struct conn *c)
{
	epoll_ctl(c->pool->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
}

void conn_enter(struct conn *c)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

	epoll_ctl(c->pool->epoll_fd, EPOLL_CTL_ADD, c->fd, &ev);
}

static void flush(struct conn *c)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

	while (c->out.len) {
		ssize_t n = gnutls_record_send(c->tls, c->out.data, c->out.len);
		if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
			break;
		if (n < 0)
			give_up("send: %s", gnutls_strerror(n));
		buf_consume(&c->out, n);
	}
	if (c->out.len)
		ev.events |= EPOLLOUT;
	epoll_ctl(c->pool->epoll_fd, EPOLL_CTL_MOD, c->fd, &ev);
}

void conn_send(struct conn *c, const char *head, const char *body, size_t len)
{
	c->busy = true;
	c->started_ns = clock_mono_ns();
	c->code = 0;
	c->body_off = 0;
	buf_puts(&c->out, head);
	buf_append(&c->out, body, len);
	flush(c);
}

/* Returns false while the head is not complete. */
static bool read_head(struct conn *c)
{
	char *end = c->in.data ? strstr(c->in.data, "\r\n\r\n") : NULL, *at;

	if (!end)
		return false;
	*end = '\0';
	c->code = atoi(c->in.data + 9);
	c->length = 0;
	at = strcasestr(c->in.data, "\r\ncontent-length:");
	if (at)
		c->length = atoll(at + 17);
	else if (strcasestr(c->in.data, "\r\ntransfer-encoding: chunked"))
		c->length = -1;
	buf_consume(&c->in, end + 4 - c->in.data);
	c->decoded.len = 0;
	return true;
}

/* Decode what chunks are there. Returns true at the last one. */
static bool read_chunks(struct conn *c)
{
	size_t at = 0;
	bool last = false;

	while (!last && at < c->in.len) {
		char *line_end = memmem(c->in.data + at, c->in.len - at, "\r\n", 2);
		size_t n, start;
		if (!line_end)
			break;
		n = strtoul(c->in.data + at, NULL, 16);
		start = line_end + 2 - c->in.data;
		if (start + n + 2 > c->in.len)
			break;
		buf_append(&c->decoded, c->in.data + start, n);
		at = start + n + 2;
		last = n == 0;
	}
	if (at)
		buf_consume(&c->in, at);
	return last;
}

static void answer(struct conn *c)
{
	if (c->length >= 0) {
		size_t len = c->length;
		struct buf whole = c->in;
		if (c->in.len < len)
			return;
		c->in = (struct buf)BUF_INIT;
		if (whole.len > len)
			buf_append(&c->in, whole.data + len, whole.len - len);
		c->busy = false;
		c->answered(c, c->code, whole.data ? whole.data : "", len);
		whole.len = 0;
		if (!c->in.data)
			c->in = whole;
		else
			buf_fini(&whole);
	} else if (read_chunks(c)) {
		c->busy = false;
		c->answered(c, c->code, c->decoded.data ? c->decoded.data : "", c->decoded.len);
	} else if (c->streaming && c->decoded.len) {
		c->answered(c, c->code, c->decoded.data, c->decoded.len);
		c->decoded.len = 0;
	}
}

static void readable(struct conn *c)
{
	c->pool->wire_pos = c->pool->wire_len = 0;
	c->pool->wire_dry = false;
	for (;;) {
		ssize_t n;
		buf_reserve(&c->in, 65536);
		n = gnutls_record_recv(c->tls, c->in.data + c->in.len, 65536);
		if (n == GNUTLS_E_AGAIN)
			break;
		if (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_REHANDSHAKE)
			continue;
		if (!n && !c->closed)
			conn_leave(c);
		c->closed = !n;
		if (c->closed)
			break;
		if (n < 0)
			give_up("receive: %s", gnutls_strerror(n));
		c->in.len += n;
		c->in.data[c->in.len] = '\0';
	}
	if (c->busy && (c->code || read_head(c)))
		answer(c);
	if (c->closed && c->busy)
		give_up("receive: the server closed the connection");
}

void pool_run(struct pool *p, int ms)
{
	struct epoll_event ev[128];
	int n = epoll_wait(p->epoll_fd, ev, 128, ms);

	for (int i = 0; i < n; i++) {
		struct conn *c = ev[i].data.ptr;
		if (ev[i].events & EPOLLOUT)
			flush(c);
		if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			readable(c);
	}
}
