// SPDX-License-Identifier: Apache-2.0
// One vsock connection: a host client's socket on one side, packets and credit on the other; see vsock.h.
// Invariants: rx - fwd == buf_len <= VSOCK_BUF_BYTES (what we advertise); tx - guest_fwd <= guest_alloc;
// a connection whose state is CONN_FREE owns nothing and is in no list.
#include "vsock_internal.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/evloop.h"
#include "base/log.h"
#include "bulkhead/prda.h"
#include "virtio/iovspan.h"

PRDA_DEFINE_COUNTER(vsock_from_guest, "bulkhead_vsock_rx_bytes_total", "bytes that the guest sent on vsock connections");
PRDA_DEFINE_COUNTER(vsock_to_guest, "bulkhead_vsock_tx_bytes_total", "bytes sent to the guest on vsock connections");
PRDA_DEFINE_COUNTER(vsock_accepted, "bulkhead_vsock_connections_total", "connections to the guest begun");

#define SHUT_BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)
#define CLOSING_NS (2 * NS_PER_S)             // how long the guest may take to confirm
#define SWEEP_MS 500
#define CREDIT_STEP (VSOCK_BUF_BYTES / 4)     // tell the guest of freed space in steps of at least this
#define HELLO_MAX 32                          // bytes of "CONNECT 4294967295\n", generously

// A local port is 1, 20 bits that change with each use of the slot, 10 bits of slot: found without a search, and not
// used again soon.
#define PORT_BASE 0x40000000u
#define PORT_SLOT_BITS 10
_Static_assert(VSOCK_CONNS_MAX == 1u << PORT_SLOT_BITS, "a slot fits its bits of the port");

static void on_client(struct evloop *l, struct evwatch *w, uint32_t events, void *user);

struct conn *conn_find(struct vsock *v, uint32_t local_port, uint32_t guest_port)
{
	struct conn *c = &v->conn[local_port & (VSOCK_CONNS_MAX - 1)];
	if (c->state < CONN_CONNECTING || c->state == CONN_DRAINING)
		return NULL;
	return c->local_port == local_port && c->guest_port == guest_port ? c : NULL;
}

static uint32_t credit(const struct conn *c)
{
	uint32_t in_flight = c->tx - c->guest_fwd;
	return in_flight < c->guest_alloc ? c->guest_alloc - in_flight : 0;
}

static bool may_read(const struct conn *c)
{
	return c->state == CONN_OPEN && c->readable && !(c->shut_host & VIRTIO_VSOCK_SHUTDOWN_SEND) &&
	       !(c->shut_guest & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

bool conn_wants_tx(const struct conn *c) { return c->owe || (may_read(c) && credit(c)); }

// ---- beginning and end

static void listen_on(struct vsock *v)
{
	if (!v->listen_watch && v->live < VSOCK_CONNS_MAX)
		v->listen_watch = evloop_add(v->a.loop, v->a.listen_fd, EPOLLIN, conn_accept, v);
}

static void listen_off(struct vsock *v)
{
	if (v->listen_watch)
		evloop_remove(v->listen_watch);
	v->listen_watch = NULL;
}

static void client_close(struct conn *c)
{
	if (c->watch)
		evloop_remove(c->watch);
	if (c->fd >= 0)
		close(c->fd);
	free(c->buf);
	c->watch = NULL;
	c->fd = -1;
	c->buf = NULL;
	c->buf_len = 0;
}

void conn_free(struct conn *c)
{
	struct vsock *v = c->v;
	if (c->state == CONN_FREE)
		return;
	vsock_unready(c);
	client_close(c);
	c->state = CONN_FREE;
	c->owe = 0;
	v->live--;
	__atomic_store_n(&v->conns, v->live, __ATOMIC_RELAXED);
	listen_on(v);
}

static struct conn *conn_new(struct vsock *v, int fd)
{
	unsigned slot = v->next_slot;
	while (v->conn[slot].state != CONN_FREE)
		slot = (slot + 1) % VSOCK_CONNS_MAX;
	v->next_slot = (slot + 1) % VSOCK_CONNS_MAX;
	struct conn *c = &v->conn[slot];
	uint32_t use = (c->use + 1) & 0xfffff;
	*c = (struct conn){.v = v, .state = CONN_HELLO, .use = use, .fd = fd,
			   .local_port = PORT_BASE | use << PORT_SLOT_BITS | slot};
	v->live++;
	prda_add(vsock_accepted, 1);
	__atomic_store_n(&v->conns, v->live, __ATOMIC_RELAXED);
	return c;
}

void conn_accept(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)w, (void)events;
	struct vsock *v = user;
	int fd = accept4(v->a.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		log_limited(LOG_LEVEL_WARN, "vsock", "a client was not accepted: %s", strerror(errno));
		listen_off(v);   // tried again by the sweep
		evloop_timer_set(v->closing_timer, SWEEP_MS, SWEEP_MS);
		return;
	}
	struct conn *c = conn_new(v, fd);
	c->watch = evloop_add(l, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, on_client, c);
	if (!c->watch)
		return conn_free(c);
	if (v->live == VSOCK_CONNS_MAX)
		listen_off(v);
}

// The connection is in error: reset it on the guest's side, close it on the client's.
static void conn_reset(struct conn *c)
{
	client_close(c);
	c->state = CONN_CLOSING;
	c->owe = OWE_RST;
	c->deadline_ns = UINT64_MAX;
	vsock_ready(c);
}

// Nothing can flow to or from the client any more, and everything it sent was passed on.
static void client_gone(struct conn *c)
{
	if (c->state == CONN_HELLO || c->state == CONN_DRAINING || c->owe & OWE_REQUEST)
		return conn_free(c);
	if (c->state == CONN_CONNECTING || c->shut_guest == SHUT_BOTH)
		return conn_reset(c);
	client_close(c);
	c->fwd = c->rx;
	c->state = CONN_CLOSING;
	c->shut_host = SHUT_BOTH;
	c->owe = OWE_SHUTDOWN;
	c->deadline_ns = clock_mono_ns() + CLOSING_NS;
	evloop_timer_set(c->v->closing_timer, SWEEP_MS, SWEEP_MS);
	vsock_ready(c);
}

void conn_sweep(struct vsock *v)
{
	uint64_t now = clock_mono_ns();
	bool more = false;
	for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++) {
		struct conn *c = &v->conn[i];
		if (c->state != CONN_CLOSING || c->owe & OWE_RST)
			continue;
		if (now < c->deadline_ns)
			more = true;
		else
			conn_reset(c);
	}
	listen_on(v);
	if (!more && v->listen_watch)
		evloop_timer_set(v->closing_timer, 0, 0);
}

// ---- guest to client

static void owe_credit(struct conn *c)
{
	if (c->fwd - c->fwd_told >= CREDIT_STEP)
		c->owe |= OWE_CREDIT;
}

// The client does not read any more. What the guest sends is dropped.
static void client_deaf(struct conn *c)
{
	free(c->buf);
	c->buf = NULL;
	c->buf_len = 0;
	c->fwd = c->rx;
	c->shut_host |= VIRTIO_VSOCK_SHUTDOWN_RCV;
	c->owe |= OWE_SHUTDOWN;
}

static ssize_t client_send(struct conn *c, struct iovec *iov, int n)
{
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)n};
	ssize_t sent = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent >= 0)
		return sent;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static int buf_put(struct conn *c, const struct iovec *payload, int n, size_t off, uint32_t len)
{
	if (!c->buf) {
		c->buf = malloc(VSOCK_BUF_BYTES);
		if (!c->buf)
			return -ENOMEM;
		c->buf_start = 0;
	}
	while (len) {
		uint32_t at = (c->buf_start + c->buf_len) % VSOCK_BUF_BYTES;
		uint32_t part = VSOCK_BUF_BYTES - at < len ? VSOCK_BUF_BYTES - at : len;
		iovspan_read(payload, n, off, c->buf + at, part);
		c->buf_len += part;
		off += part;
		len -= part;
	}
	return 0;
}

// Everything that the guest sent before it shut down has reached the client: shut down there.
static void pass_shutdown(struct conn *c)
{
	if (c->buf_len)
		return;
	if (c->state == CONN_DRAINING)
		return conn_free(c);
	if (c->state != CONN_OPEN)
		return;
	if (c->shut_guest == SHUT_BOTH)
		return conn_reset(c);   // virtio 1.2, 5.10.6.6.1: a complete shutdown is confirmed by a reset
	if (c->shut_guest & VIRTIO_VSOCK_SHUTDOWN_SEND)
		shutdown(c->fd, SHUT_WR);
}

static void client_flush(struct conn *c)
{
	while (c->buf_len) {
		uint32_t first = VSOCK_BUF_BYTES - c->buf_start < c->buf_len ? VSOCK_BUF_BYTES - c->buf_start : c->buf_len;
		struct iovec iov[2] = {{c->buf + c->buf_start, first}, {c->buf, c->buf_len - first}};
		ssize_t n = client_send(c, iov, 2);
		if (n < 0) {
			client_deaf(c);
			break;
		}
		if (!n)
			return owe_credit(c);
		c->buf_start = (c->buf_start + (uint32_t)n) % VSOCK_BUF_BYTES;
		c->buf_len -= (uint32_t)n;
		c->fwd += (uint32_t)n;
	}
	free(c->buf);
	c->buf = NULL;
	owe_credit(c);
	pass_shutdown(c);
}

static void guest_data(struct conn *c, struct iovec *payload, int n, uint32_t len)
{
	if (c->shut_guest & VIRTIO_VSOCK_SHUTDOWN_SEND || len > VSOCK_BUF_BYTES - (c->rx - c->fwd))
		return conn_reset(c);
	c->rx += len;
	stat_add(&c->v->rx_bytes, len);
	prda_add(vsock_from_guest, len);
	if (c->state != CONN_OPEN || c->shut_host & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		c->fwd += len;
		return owe_credit(c);
	}
	ssize_t sent = 0;
	if (!c->buf_len) {
		sent = client_send(c, payload, n);
		if (sent < 0)
			return client_deaf(c);
		c->fwd += (uint32_t)sent;
	}
	if ((uint32_t)sent < len && buf_put(c, payload, n, (size_t)sent, len - (uint32_t)sent))
		return conn_reset(c);
	owe_credit(c);
}

static void guest_shutdown(struct conn *c, uint32_t flags)
{
	c->shut_guest |= flags & SHUT_BOTH;
	if (c->state == CONN_CLOSING && c->shut_guest == SHUT_BOTH)
		return conn_reset(c);
	if (c->state == CONN_OPEN && c->shut_guest & VIRTIO_VSOCK_SHUTDOWN_RCV)
		shutdown(c->fd, SHUT_RD);
	pass_shutdown(c);
}

static void guest_reset(struct conn *c)
{
	if (c->state != CONN_OPEN || !c->buf_len)
		return conn_free(c);
	c->state = CONN_DRAINING;
	c->owe = 0;
	vsock_unready(c);
	shutdown(c->fd, SHUT_RD);
}

static void guest_accepts(struct conn *c)
{
	if (c->state != CONN_CONNECTING || c->owe & OWE_REQUEST)
		return conn_reset(c);
	char ok[HELLO_MAX];
	int len = snprintf(ok, sizeof(ok), "OK %u\n", c->local_port);
	if (send(c->fd, ok, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) != len)
		return conn_reset(c);
	c->state = CONN_OPEN;
}

void conn_packet(struct conn *c, const struct virtio_vsock_hdr *h, struct iovec *payload, int n)
{
	if (c->owe & OWE_RST)
		return;   // it ends; the guest will hear
	c->guest_alloc = le32toh(h->buf_alloc);
	c->guest_fwd = le32toh(h->fwd_cnt);
	if (credit(c))
		c->asked = false;
	switch (le16toh(h->op)) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		guest_accepts(c);
		break;
	case VIRTIO_VSOCK_OP_RST:
		guest_reset(c);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		guest_shutdown(c, le32toh(h->flags));
		break;
	case VIRTIO_VSOCK_OP_RW:
		guest_data(c, payload, n, le32toh(h->len));
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		c->owe |= OWE_CREDIT;
		break;
	default:
		conn_reset(c);
	}
	if (c->state != CONN_FREE)
		vsock_ready(c);
}

// ---- client to guest

// Read from the client into the guest's buffer. Returns bytes; 0: nothing now, or the client has ended.
static size_t client_read(struct conn *c, struct iovec *payload, int n, size_t room)
{
	if (room > credit(c)) {
		room = credit(c);
		n = iovspan_cut(payload, n, 0, room, &payload);
	}
	ssize_t got;
	do
		got = readv(c->fd, payload, n);
	while (got < 0 && errno == EINTR);
	if (got > 0) {
		c->tx += (uint32_t)got;
		stat_add(&c->v->tx_bytes, (uint64_t)got);
		prda_add(vsock_to_guest, got);
		if (!credit(c) && !c->asked) {
			c->asked = true;
			c->owe |= OWE_ASK;
		}
		return (size_t)got;
	}
	c->readable = false;
	if (got < 0 && errno == EAGAIN)
		return 0;
	if (c->hup || got < 0) {
		client_gone(c);
	} else {
		c->shut_host |= VIRTIO_VSOCK_SHUTDOWN_SEND;
		c->owe |= OWE_SHUTDOWN;
	}
	return 0;
}

static bool fill_owed(struct conn *c, struct virtio_vsock_hdr *h)
{
	static const struct { unsigned owe; uint16_t op; } order[] = {
		{OWE_RST, VIRTIO_VSOCK_OP_RST}, {OWE_REQUEST, VIRTIO_VSOCK_OP_REQUEST},
		{OWE_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN}, {OWE_ASK, VIRTIO_VSOCK_OP_CREDIT_REQUEST},
		{OWE_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE},
	};
	for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (!(c->owe & order[i].owe))
			continue;
		c->owe &= ~order[i].owe;
		h->op = htole16(order[i].op);
		if (order[i].owe == OWE_SHUTDOWN)
			h->flags = htole32(c->shut_host);
		return true;
	}
	return false;
}

bool conn_fill(struct conn *c, struct virtio_vsock_hdr *h, struct iovec *payload, int n, size_t room)
{
	size_t len = 0;
	if (!(c->owe & (OWE_RST | OWE_REQUEST | OWE_SHUTDOWN)) && may_read(c) && credit(c))
		len = client_read(c, payload, n, room);
	if (len) {
		h->op = htole16(VIRTIO_VSOCK_OP_RW);
		h->len = htole32((uint32_t)len);
	} else if (!fill_owed(c, h)) {
		return false;
	}
	h->buf_alloc = htole32(VSOCK_BUF_BYTES);
	h->fwd_cnt = htole32(c->fwd);
	c->fwd_told = c->fwd;
	c->owe &= ~OWE_CREDIT;
	if (le16toh(h->op) == VIRTIO_VSOCK_OP_RST)
		conn_free(c);
	return true;
}

// ---- the client's first line

// "CONNECT <port>\n" with a port of decimal digits. Returns 0 or -EINVAL.
static int hello_parse(const char *line, size_t len, uint32_t *port)
{
	static const char word[] = "CONNECT ";
	size_t i = sizeof(word) - 1;
	if (len <= i || memcmp(line, word, i))
		return -EINVAL;
	uint64_t p = 0;
	for (; i < len; i++) {
		if (line[i] < '0' || line[i] > '9')
			return -EINVAL;
		p = p * 10 + (uint64_t)(line[i] - '0');
		if (p > UINT32_MAX)
			return -EINVAL;
	}
	*port = (uint32_t)p;
	return 0;
}

static void client_hello(struct conn *c)
{
	char line[HELLO_MAX];
	ssize_t n = recv(c->fd, line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		return conn_free(c);
	char *end = memchr(line, '\n', (size_t)n);
	if (!end && n < HELLO_MAX)
		return;
	if (!end || hello_parse(line, (size_t)(end - line), &c->guest_port)) {
		log_limited(LOG_LEVEL_WARN, "vsock", "a client did not begin with CONNECT <port> and a newline");
		return conn_free(c);
	}
	size_t used = (size_t)(end - line) + 1;
	if (recv(c->fd, line, used, MSG_DONTWAIT) != (ssize_t)used)
		return conn_free(c);
	c->state = CONN_CONNECTING;
	c->owe = OWE_REQUEST;
	c->readable = true;   // more may have come behind the line
}

static void on_client(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)w;
	struct conn *c = user;
	struct vsock *v = c->v;
	if (events & ~(uint32_t)EPOLLOUT)
		c->readable = true;
	if (events & (EPOLLHUP | EPOLLERR))
		c->hup = true;
	if (c->state == CONN_HELLO)
		client_hello(c);
	else if (events & EPOLLOUT && c->buf_len)
		client_flush(c);
	if (c->state == CONN_FREE)
		return;
	if (c->hup && (c->state != CONN_OPEN || !may_read(c)))
		client_gone(c);
	vsock_ready(c);
	vsock_send(v);
}
