// SPDX-License-Identifier: Apache-2.0
// vsock with a guest's driver and host clients in this process.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include <linux/virtio_vsock.h>

#include "base/evloop.h"
#include "virtio/virtq_fake.h"
#include "virtio/vsock.h"

#define HDR sizeof(struct virtio_vsock_hdr)
#define RX_BUF 4096
#define CID 3

struct world {
	struct fake_ram ram;
	struct evloop *loop;
	int listen_fd;
	struct sockaddr_un addr;
	socklen_t addr_len;
	struct vsock *v;
	struct fake_ring rx, tx;
	gpa_t rx_buf[FAKE_SIZE];
	gpa_t tx_buf;
	uint32_t alloc, fwd;      // the guest's credit, put into each of its packets
};

struct packet {
	struct virtio_vsock_hdr h;
	uint8_t data[RX_BUF];
};

static void spin(struct world *w)
{
	for (int i = 0; i < 8; i++)
		assert_int_equal(evloop_once(w->loop, 0), 0);
}

static void give_rx(struct world *w, uint16_t i)
{
	w->rx.desc[i] = (struct vring_desc){.addr = w->rx_buf[i], .len = HDR + RX_BUF, .flags = VRING_DESC_F_WRITE};
	fake_offer(&w->rx, i);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	w->alloc = 65536;
	fake_ram_init(&w->ram);
	w->loop = evloop_new();
	w->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	w->addr.sun_family = AF_UNIX;
	w->addr_len = sizeof(w->addr);
	assert_int_equal(bind(w->listen_fd, (struct sockaddr *)&w->addr, sizeof(sa_family_t)), 0);
	assert_int_equal(getsockname(w->listen_fd, (struct sockaddr *)&w->addr, &w->addr_len), 0);
	assert_int_equal(listen(w->listen_fd, 16), 0);
	struct vsock_attr a = {.loop = w->loop, .listen_fd = w->listen_fd, .guest_cid = CID, .nqueues = 2};
	assert_int_equal(vsock_new(&a, &w->v), 0);
	struct virtio_dev *d = vsock_dev(w->v);
	fake_ring_init(&w->rx, &w->ram);
	fake_ring_init(&w->tx, &w->ram);
	assert_int_equal(fake_ring_start(&w->rx, &d->vq[0], 0), 0);
	assert_int_equal(fake_ring_start(&w->tx, &d->vq[1], 0), 0);
	for (uint16_t i = 0; i < FAKE_SIZE; i++) {
		w->rx_buf[i] = fake_alloc(&w->ram, HDR + RX_BUF);
		give_rx(w, i);
	}
	w->tx_buf = fake_alloc(&w->ram, HDR + 65536);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	vsock_free(w->v);
	evloop_free(w->loop);
	close(w->listen_fd);
	fake_ram_fini(&w->ram);
	free(w);
	return 0;
}

// The guest sends a packet in one buffer.
static void guest_raw(struct world *w, const struct virtio_vsock_hdr *h, const void *data, size_t len)
{
	struct virtio_dev *d = vsock_dev(w->v);
	uint8_t *to = fake_at(&w->ram, w->tx_buf);
	memcpy(to, h, HDR);
	if (len)
		memcpy(to + HDR, data, len);
	fake_offer(&w->tx, fake_desc(&w->tx, w->tx_buf, (uint32_t)(HDR + len), 0));
	d->ops->queue_kick(d, 1);
}

static void guest_send(struct world *w, uint16_t op, uint32_t from, uint32_t to, uint32_t flags, const void *data, size_t len)
{
	struct virtio_vsock_hdr h = {.src_cid = CID, .dst_cid = 2, .src_port = from, .dst_port = to, .len = (uint32_t)len,
				     .type = VIRTIO_VSOCK_TYPE_STREAM, .op = op, .flags = flags, .buf_alloc = w->alloc,
				     .fwd_cnt = w->fwd};
	guest_raw(w, &h, data, len);
	assert_int_not_equal(fake_take(&w->tx, NULL), -1);
	spin(w);
}

// The next packet to the guest; its buffer is given back. False: none.
static bool guest_recv(struct world *w, struct packet *p)
{
	uint32_t len;
	spin(w);
	int i = fake_take(&w->rx, &len);
	if (i < 0)
		return false;
	assert_in_range(len, HDR, HDR + RX_BUF);
	memcpy(p, fake_at(&w->ram, w->rx_buf[i]), len);
	assert_int_equal(p->h.len, len - HDR);
	assert_int_equal(p->h.src_cid, 2);
	assert_int_equal(p->h.dst_cid, CID);
	assert_int_equal(p->h.type, VIRTIO_VSOCK_TYPE_STREAM);
	give_rx(w, (uint16_t)i);
	return true;
}

static void expect_op(struct world *w, struct packet *p, uint16_t op)
{
	assert_true(guest_recv(w, p));
	assert_int_equal(p->h.op, op);
}

static void expect_silence(struct world *w)
{
	struct packet p;
	assert_false(guest_recv(w, &p));
}

static int client(struct world *w, const char *hello)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&w->addr, w->addr_len), 0);
	assert_int_equal(write(fd, hello, strlen(hello)), (ssize_t)strlen(hello));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	spin(w);
	return fd;
}

static void expect_read(int fd, const char *want)
{
	char got[256] = "";
	ssize_t n = read(fd, got, sizeof(got) - 1);
	assert_true(n >= 0);
	assert_string_equal(got, want);
}

static void expect_closed(int fd)
{
	char c;
	assert_int_equal(read(fd, &c, 1), 0);
	close(fd);
}

static void expect_nothing(int fd)
{
	char c;
	assert_int_equal(read(fd, &c, 1), -1);
	assert_int_equal(errno, EAGAIN);
}

// An open connection of a client to the guest's port 7.
static int open_conn(struct world *w, uint32_t *port)
{
	struct packet p;
	int fd = client(w, "CONNECT 7\n");
	expect_op(w, &p, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(p.h.dst_port, 7);
	assert_in_range(p.h.buf_alloc, 65536, 1 << 20);
	*port = p.h.src_port;
	guest_send(w, VIRTIO_VSOCK_OP_RESPONSE, 7, *port, 0, NULL, 0);
	char ok[64];
	snprintf(ok, sizeof(ok), "OK %u\n", *port);
	expect_read(fd, ok);
	return fd;
}

static void bytes_both_ways(void **state)
{
	struct world *w = *state;
	struct packet p;
	uint32_t port;
	int fd = open_conn(w, &port);
	assert_int_equal(write(fd, "hello", 5), 5);
	expect_op(w, &p, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(p.h.len, 5);
	assert_memory_equal(p.data, "hello", 5);
	guest_send(w, VIRTIO_VSOCK_OP_RW, 7, port, 0, "world", 5);
	expect_read(fd, "world");
	struct vsock_stats s;
	vsock_stats(w->v, &s);
	assert_int_equal(s.rx_bytes, 5);
	assert_int_equal(s.tx_bytes, 5);
	assert_int_equal(s.conns, 1);
	assert_true(s.first_rx_ns);
	close(fd);
}

static void bytes_behind_the_hello(void **state)
{
	struct world *w = *state;
	struct packet p;
	int fd = client(w, "CONNECT 7\nearly");
	expect_op(w, &p, VIRTIO_VSOCK_OP_REQUEST);
	expect_silence(w);
	guest_send(w, VIRTIO_VSOCK_OP_RESPONSE, 7, p.h.src_port, 0, NULL, 0);
	expect_op(w, &p, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(p.h.len, 5);
	close(fd);
}

static void hello_in_pieces(void **state)
{
	struct world *w = *state;
	struct packet p;
	int fd = client(w, "CONN");
	expect_silence(w);
	assert_int_equal(write(fd, "ECT 12", 6), 6);
	expect_silence(w);
	assert_int_equal(write(fd, "34\n", 3), 3);
	expect_op(w, &p, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(p.h.dst_port, 1234);
	close(fd);
}

static void bad_hellos(void **state)
{
	static const char *const bad[] = {
		"CONNECT \n", "CONNECT x\n", "CONNECT 4294967296\n", "connect 7\n", "CONNECT -1\n", "CONNECT 7 \n", "\n",
		"CONNECT 00000000000000000000000000000007\n", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
	};
	struct world *w = *state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = client(w, bad[i]);
		expect_silence(w);
		char c;
		ssize_t n = read(fd, &c, 1);
		assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
		close(fd);
	}
}

static void refused_connection_is_closed(void **state)
{
	struct world *w = *state;
	struct packet p;
	int fd = client(w, "CONNECT 9\n");
	expect_op(w, &p, VIRTIO_VSOCK_OP_REQUEST);
	guest_send(w, VIRTIO_VSOCK_OP_RST, 9, p.h.src_port, 0, NULL, 0);
	expect_closed(fd);
	expect_silence(w);
}

static void client_half_close(void **state)
{
	struct world *w = *state;
	struct packet p;
	uint32_t port;
	int fd = open_conn(w, &port);
	assert_int_equal(write(fd, "last", 4), 4);
	shutdown(fd, SHUT_WR);
	expect_op(w, &p, VIRTIO_VSOCK_OP_RW);
	expect_op(w, &p, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(p.h.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	guest_send(w, VIRTIO_VSOCK_OP_RW, 7, port, 0, "answer", 6);
	expect_read(fd, "answer");
	guest_send(w, VIRTIO_VSOCK_OP_SHUTDOWN, 7, port, VIRTIO_VSOCK_SHUTDOWN_SEND | VIRTIO_VSOCK_SHUTDOWN_RCV, NULL, 0);
	expect_op(w, &p, VIRTIO_VSOCK_OP_RST);
	expect_closed(fd);
}

static void guest_half_close(void **state)
{
	struct world *w = *state;
	struct packet p;
	uint32_t port;
	int fd = open_conn(w, &port);
	guest_send(w, VIRTIO_VSOCK_OP_RW, 7, port, 0, "last", 4);
	guest_send(w, VIRTIO_VSOCK_OP_SHUTDOWN, 7, port, VIRTIO_VSOCK_SHUTDOWN_SEND, NULL, 0);
	expect_read(fd, "last");
	char c;
	assert_int_equal(read(fd, &c, 1), 0);
	assert_int_equal(write(fd, "more", 4), 4);
	expect_op(w, &p, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(p.h.len, 4);
	close(fd);
	expect_op(w, &p, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(p.h.flags, VIRTIO_VSOCK_SHUTDOWN_SEND | VIRTIO_VSOCK_SHUTDOWN_RCV);
	guest_send(w, VIRTIO_VSOCK_OP_RST, 7, port, 0, NULL, 0);
	struct vsock_stats s;
	vsock_stats(w->v, &s);
	assert_int_equal(s.conns, 0);
}

static void data_after_shutdown_is_an_error(void **state)
{
	struct world *w = *state;
	struct packet p;
	uint32_t port;
	int fd = open_conn(w, &port);
	guest_send(w, VIRTIO_VSOCK_OP_SHUTDOWN, 7, port, VIRTIO_VSOCK_SHUTDOWN_SEND, NULL, 0);
	guest_send(w, VIRTIO_VSOCK_OP_RW, 7, port, 0, "x", 1);
	expect_op(w, &p, VIRTIO_VSOCK_OP_RST);
	expect_closed(fd);
}

static void client_vanishes_before_the_answer(void **state)
{
	struct world *w = *state;
	struct packet p;
	int fd = client(w, "CONNECT 7\n");
	expect_op(w, &p, VIRTIO_VSOCK_OP_REQUEST);
	close(fd);
	expect_op(w, &p, VIRTIO_VSOCK_OP_RST);
	guest_send(w, VIRTIO_VSOCK_OP_RESPONSE, 7, p.h.src_port, 0, NULL, 0);
	expect_op(w, &p, VIRTIO_VSOCK_OP_RST);   // not known any more
}

static void guest_credit_is_kept(void **state)
{
	struct world *w = *state;
	struct packet p;
	uint32_t port, got = 0;
	static char big[20000];
	w->alloc = 10000;
	int fd = open_conn(w, &port);
	assert_int_equal(write(fd, big, sizeof(big)), sizeof(big));
	bool asked = false;
	while (guest_recv(w, &p)) {
		if (p.h.op == VIRTIO_VSOCK_OP_RW)
			got += p.h.len;
		else
			asked |= p.h.op == VIRTIO_VSOCK_OP_CREDIT_REQUEST;
	}
	assert_int_equal(got, 10000);
	assert_true(asked);
	w->fwd = 4000;
	guest_send(w, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 7, port, 0, NULL, 0);
	while (guest_recv(w, &p)) {
		if (p.h.op == VIRTIO_VSOCK_OP_RW)
			got += p.h.len;
	}
	assert_int_equal(got, 14000);
	close(fd);
}

// What a client does not read waits, up to our credit; the rest is the guest's fault.
static void slow_client(void **state)
{
	struct world *w = *state;
	struct packet p;
	uint32_t port, other_port;
	int fd = open_conn(w, &port);
	int other = open_conn(w, &other_port);
	static char chunk[32768];
	uint32_t sent = 0, fwd = 0;
	while (sent - fwd + sizeof(chunk) <= VSOCK_BUF_BYTES) {
		memset(chunk, (int)(sent / sizeof(chunk)), sizeof(chunk));
		guest_send(w, VIRTIO_VSOCK_OP_RW, 7, port, 0, chunk, sizeof(chunk));
		sent += sizeof(chunk);
		while (guest_recv(w, &p)) {
			assert_int_equal(p.h.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
			fwd = p.h.fwd_cnt;
		}
	}
	guest_send(w, VIRTIO_VSOCK_OP_RW, 7, other_port, 0, "quick", 5);   // others are not held up
	expect_read(other, "quick");
	guest_send(w, VIRTIO_VSOCK_OP_SHUTDOWN, 7, port, 3, NULL, 0);
	guest_send(w, VIRTIO_VSOCK_OP_RST, 7, port, 0, NULL, 0);           // and all that waits still arrives
	uint32_t got = 0;
	for (;;) {
		char in[8192];
		ssize_t n = read(fd, in, sizeof(in));
		if (n == 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal((unsigned char)in[i], (got + (uint32_t)i) / sizeof(chunk));
		got += n > 0 ? (uint32_t)n : 0;
		spin(w);
	}
	assert_int_equal(got, sent);
	close(fd);
	close(other);
}

static void credit_overrun_is_reset(void **state)
{
	struct world *w = *state;
	struct packet p;
	uint32_t port;
	int fd = open_conn(w, &port);
	static char chunk[65536];
	bool reset = false;
	for (int i = 0; i < 64 && !reset; i++) {
		guest_send(w, VIRTIO_VSOCK_OP_RW, 7, port, 0, chunk, sizeof(chunk));
		while (guest_recv(w, &p))
			reset |= p.h.op == VIRTIO_VSOCK_OP_RST;
	}
	assert_true(reset);
	close(fd);
}

static void client_that_does_not_read_any_more(void **state)
{
	struct world *w = *state;
	struct packet p;
	uint32_t port;
	int fd = open_conn(w, &port);
	shutdown(fd, SHUT_RD);
	guest_send(w, VIRTIO_VSOCK_OP_RW, 7, port, 0, "lost", 4);
	expect_op(w, &p, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(p.h.flags, VIRTIO_VSOCK_SHUTDOWN_RCV);
	assert_int_equal(write(fd, "still", 5), 5);
	expect_op(w, &p, VIRTIO_VSOCK_OP_RW);
	close(fd);
}

static void hostile_packets(void **state)
{
	struct world *w = *state;
	struct packet p;
	uint32_t port;
	int fd = open_conn(w, &port);
	guest_send(w, VIRTIO_VSOCK_OP_REQUEST, 100, 200, 0, NULL, 0);      // the host has no services
	expect_op(w, &p, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(p.h.src_port, 200);
	assert_int_equal(p.h.dst_port, 100);
	guest_send(w, VIRTIO_VSOCK_OP_RST, 100, 200, 0, NULL, 0);          // a reset is never answered
	expect_silence(w);
	guest_send(w, VIRTIO_VSOCK_OP_RW, 8, port, 0, "x", 1);             // wrong guest port
	expect_op(w, &p, VIRTIO_VSOCK_OP_RST);
	struct virtio_vsock_hdr h = {.src_cid = 9, .dst_cid = 2, .src_port = 7, .dst_port = port, .type = 1, .op = 5};
	guest_raw(w, &h, NULL, 0);                                         // another guest's address
	expect_silence(w);
	h.src_cid = CID;
	h.len = 100;                                                       // longer than its buffer
	guest_raw(w, &h, "abc", 3);
	expect_op(w, &p, VIRTIO_VSOCK_OP_RST);
	expect_nothing(fd);
	guest_send(w, 99, 7, port, 0, NULL, 0);                            // no such operation
	expect_op(w, &p, VIRTIO_VSOCK_OP_RST);
	expect_closed(fd);
}

static void second_response_is_an_error(void **state)
{
	struct world *w = *state;
	struct packet p;
	uint32_t port;
	int fd = open_conn(w, &port);
	guest_send(w, VIRTIO_VSOCK_OP_RESPONSE, 7, port, 0, NULL, 0);
	expect_op(w, &p, VIRTIO_VSOCK_OP_RST);
	expect_closed(fd);
}

static void unknown_type_is_refused(void **state)
{
	struct world *w = *state;
	uint32_t len;
	struct virtio_vsock_hdr h = {.src_cid = CID, .dst_cid = 2, .src_port = 7, .dst_port = 8, .type = 2, .op = 1};
	guest_raw(w, &h, NULL, 0);
	spin(w);
	int i = fake_take(&w->rx, &len);
	assert_true(i >= 0);
	struct virtio_vsock_hdr *r = fake_at(&w->ram, w->rx_buf[i]);
	assert_int_equal(r->op, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(r->type, 2);
}

// A guest that refuses to take answers while it asks for more of them.
static void reset_flood_is_bounded(void **state)
{
	struct world *w = *state;
	struct packet p;
	for (uint32_t i = 0; i < 2000; i++) {
		struct virtio_vsock_hdr h = {.src_cid = CID, .dst_cid = 2, .src_port = i, .dst_port = 1, .type = 1, .op = 1};
		guest_raw(w, &h, NULL, 0);
		assert_int_not_equal(fake_take(&w->tx, NULL), -1);
	}
	unsigned n = 0;
	for (struct virtio_dev *d = vsock_dev(w->v); guest_recv(w, &p); n++)
		d->ops->queue_kick(d, 0);
	assert_in_range(n, FAKE_SIZE, 300);
}

static void short_packet_stops_the_queue(void **state)
{
	struct world *w = *state;
	struct virtio_dev *d = vsock_dev(w->v);
	fake_offer(&w->tx, fake_desc(&w->tx, w->tx_buf, HDR - 1, 0));
	d->ops->queue_kick(d, 1);
	assert_int_equal(w->tx.failures, 1);
}

static void small_receive_buffer_stops_the_queue(void **state)
{
	struct world *w = *state;
	for (int i = 0; i < FAKE_SIZE; i++)
		w->rx.desc[i].len = HDR;
	int fd = client(w, "CONNECT 7\n");
	assert_int_equal(w->rx.failures, 1);
	close(fd);
}

static void clients_wait_for_a_driver(void **state)
{
	struct world *w = *state;
	struct packet p;
	struct virtio_dev *d = vsock_dev(w->v);
	virtqueue_stop(&d->vq[0]);
	int fd = client(w, "CONNECT 7\n");
	expect_nothing(fd);
	assert_int_equal(fake_ring_start(&w->rx, &d->vq[0], 0), 0);
	d->ops->queue_start(d, 0);
	expect_op(w, &p, VIRTIO_VSOCK_OP_REQUEST);
	d->ops->reset(d);                                                  // the guest was not ready: asked again
	d->ops->queue_kick(d, 0);
	expect_op(w, &p, VIRTIO_VSOCK_OP_REQUEST);
	guest_send(w, VIRTIO_VSOCK_OP_RESPONSE, 7, p.h.src_port, 0, NULL, 0);
	char ok[64];
	assert_true(read(fd, ok, sizeof(ok)) > 3);
	d->ops->reset(d);                                                  // open connections do not survive
	expect_closed(fd);
}

static void many_clients(void **state)
{
	struct world *w = *state;
	struct packet p;
	enum { N = 300 };
	int fd[N];
	uint32_t port[N];
	struct virtio_dev *d = vsock_dev(w->v);
	for (int i = 0; i < N; i++)
		fd[i] = open_conn(w, &port[i]);
	for (int i = 0; i < N; i++)
		assert_int_equal(write(fd[i], &i, sizeof(i)), sizeof(i));
	bool seen[N] = {false};
	for (int i = 0; i < N; i++) {
		expect_op(w, &p, VIRTIO_VSOCK_OP_RW);
		int who;
		memcpy(&who, p.data, sizeof(who));
		assert_in_range(who, 0, N - 1);
		assert_int_equal(p.h.src_port, port[who]);
		assert_false(seen[who]);
		seen[who] = true;
		d->ops->queue_kick(d, 0);
	}
	for (int i = 0; i < N; i++)
		close(fd[i]);
}

// More clients than connections: the others wait and get their turn.
static void full_table(void **state)
{
	struct world *w = *state;
	static int fd[VSOCK_CONNS_MAX];
	struct packet p;
	struct rlimit lim;
	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = lim.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &lim) || lim.rlim_cur < 2 * VSOCK_CONNS_MAX + 64)
		skip();
	for (int i = 0; i < VSOCK_CONNS_MAX; i++)
		fd[i] = client(w, "");
	int extra = client(w, "CONNECT 7\n");
	expect_silence(w);
	close(fd[5]);
	expect_op(w, &p, VIRTIO_VSOCK_OP_REQUEST);
	close(extra);
	for (int i = 0; i < VSOCK_CONNS_MAX; i++) {
		if (i != 5)
			close(fd[i]);
	}
}

// A guest of a saved VM is told that its connections are gone; nothing reaches it before it has seen that.
static void restored_guest(void **state)
{
	struct world *w = *state;
	struct vsock *v;
	struct virtio_dev *d;
	struct fake_ring event;
	struct packet p;
	uint32_t len;
	struct vsock_attr a = {.loop = w->loop, .listen_fd = w->listen_fd, .guest_cid = CID, .nqueues = 3};
	vsock_free(w->v);
	assert_int_equal(vsock_new(&a, &v), 0);
	w->v = v;
	d = vsock_dev(v);
	fake_ring_init(&event, &w->ram);
	for (int i = 0; i < 2; i++)
		fake_offer(&event, fake_desc(&event, fake_alloc(&w->ram, 4), 4, VRING_DESC_F_WRITE));
	assert_int_equal(fake_ring_start(&w->rx, &d->vq[0], 0), 0);
	assert_int_equal(fake_ring_start(&w->tx, &d->vq[1], 0), 0);
	assert_int_equal(fake_ring_start(&event, &d->vq[2], 0), 0);
	d->ops->restored(d, NULL, 0);
	int fd = client(w, "CONNECT 7\n");
	d->ops->queue_start(d, 0);
	expect_silence(w);
	guest_send(w, VIRTIO_VSOCK_OP_RW, 7, 0x40000400, 0, "old", 3);     // of a connection that is gone
	expect_silence(w);
	d->ops->queue_start(d, 2);
	int head = fake_take(&event, &len);
	assert_int_equal(head, 0);
	assert_int_equal(len, 4);
	assert_int_equal(*(uint32_t *)fake_at(&w->ram, event.desc[head].addr), VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	assert_int_equal(event.interrupts, 1);
	d->ops->queue_kick(d, 2);                                          // the buffer is not back
	expect_silence(w);
	assert_int_not_equal(d->carry, 0);
	fake_offer(&event, (uint16_t)head);
	d->ops->queue_kick(d, 2);
	assert_int_equal(d->carry, 0);
	expect_op(w, &p, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(p.h.src_port, 0x40000400);
	expect_op(w, &p, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(fake_take(&event, NULL), -1);                     // told once
	close(fd);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(bytes_both_ways), T(bytes_behind_the_hello), T(hello_in_pieces), T(bad_hellos),
		T(refused_connection_is_closed), T(client_half_close), T(guest_half_close), T(data_after_shutdown_is_an_error),
		T(client_vanishes_before_the_answer), T(guest_credit_is_kept), T(slow_client), T(credit_overrun_is_reset),
		T(client_that_does_not_read_any_more), T(hostile_packets), T(second_response_is_an_error),
		T(unknown_type_is_refused), T(reset_flood_is_bounded), T(short_packet_stops_the_queue),
		T(small_receive_buffer_stops_the_queue), T(clients_wait_for_a_driver), T(many_clients), T(full_table), T(restored_guest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
