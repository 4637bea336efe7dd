// SPDX-License-Identifier: Apache-2.0
// virtio-vsock: the queues and the packets in them; see vsock.h.
// Sending is fair: connections with something for the guest stand in one list; each gives one packet and goes to its
// end. A guest that gives no buffers, or floods us with packets, slows down nobody but itself.
#include "vsock_internal.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/evloop.h"
#include "base/log.h"
#include "virtio/iovspan.h"

enum { QUEUE_RX, QUEUE_TX, QUEUE_EVENT };   // named from the guest's side: we fill RX and read TX

#define ROUND 256   // packets of one direction before the event loop gets its turn
#define CLOSING_SWEEP_MS 500
#define RESET_MS 5000   // what a guest may take to see that its transport was reset

#define HDR_LEN sizeof(struct virtio_vsock_hdr)

static struct vsock *vsock_of(struct virtio_dev *d) { return (struct vsock *)d; }

void stat_add(uint64_t *counter, uint64_t n) { __atomic_fetch_add(counter, n, __ATOMIC_RELAXED); }

// ---- to the guest

void vsock_ready(struct conn *c)
{
	struct vsock *v = c->v;
	if (c->ready || !conn_wants_tx(c))
		return;
	c->ready = true;
	c->ready_next = NULL;
	if (v->ready_last)
		v->ready_last->ready_next = c;
	else
		v->ready_first = c;
	v->ready_last = c;
}

static struct conn *ready_take(struct vsock *v)
{
	struct conn *c = v->ready_first;
	if (!c)
		return NULL;
	v->ready_first = c->ready_next;
	if (!v->ready_first)
		v->ready_last = NULL;
	c->ready = false;
	return c;
}

void vsock_unready(struct conn *c)
{
	struct vsock *v = c->v;
	if (!c->ready)
		return;
	struct conn *before = NULL;
	for (struct conn *i = v->ready_first; i != c; i = i->ready_next)
		before = i;
	if (before)
		before->ready_next = c->ready_next;
	else
		v->ready_first = c->ready_next;
	if (v->ready_last == c)
		v->ready_last = before;
	c->ready = false;
}

static void header(const struct vsock *v, struct virtio_vsock_hdr *h, uint32_t src_port, uint32_t dst_port)
{
	*h = (struct virtio_vsock_hdr){
		.src_cid = htole64(VSOCK_HOST_CID), .dst_cid = htole64(v->a.guest_cid),
		.src_port = htole32(src_port), .dst_port = htole32(dst_port),
		.type = htole16(VIRTIO_VSOCK_TYPE_STREAM),
	};
}

// Fill one packet. room: bytes of payload that fit. False: nothing to send.
static bool next_packet(struct vsock *v, struct virtio_vsock_hdr *h, struct virtq_chain *c, size_t room)
{
	if (v->rst_count) {
		struct vsock_rst r = v->rst[v->rst_first];
		v->rst_first = (v->rst_first + 1) % RST_MAX;
		v->rst_count--;
		header(v, h, r.src_port, r.dst_port);
		h->type = htole16(r.type);
		h->op = htole16(VIRTIO_VSOCK_OP_RST);
		return true;
	}
	struct conn *conn;
	while ((conn = ready_take(v))) {
		header(v, h, conn->local_port, conn->guest_port);
		struct iovec iov[VIRTQ_CHAIN_MAX], *payload;
		memcpy(iov, c->iov, (size_t)c->nin * sizeof(iov[0]));
		int n = iovspan_cut(iov, c->nin, HDR_LEN, room, &payload);
		bool filled = conn_fill(conn, h, payload, n, room);
		vsock_ready(conn);   // to the end of the list, if there is more
		if (filled)
			return true;
	}
	return false;
}

void vsock_send(struct vsock *v)
{
	struct virtqueue *q = &v->vq[QUEUE_RX];
	if (v->reset != RESET_NONE)
		return;
	virtqueue_kicks_off(q);
	for (int i = 0; v->ready_first || v->rst_count; i++) {
		if (i == ROUND) {
			virtqueue_again(q);
			break;
		}
		int got = virtqueue_pop(q, &v->chain);
		if (got < 0)
			break;
		if (!got) {
			if (virtqueue_kicks_on(q))
				continue;
			break;   // the guest kicks when it has given buffers
		}
		if (v->chain.nout || v->chain.in_len <= HDR_LEN) {
			virtqueue_break(q, "a vsock receive buffer is too small or not for writing");
			break;
		}
		struct virtio_vsock_hdr h;
		if (!next_packet(v, &h, &v->chain, v->chain.in_len - HDR_LEN)) {
			virtqueue_unpop(q);
			break;
		}
		iovspan_write(v->chain.iov, v->chain.nin, 0, &h, HDR_LEN);
		virtqueue_push(q, v->chain.head, (uint32_t)(HDR_LEN + le32toh(h.len)));
	}
	virtqueue_flush(q);
}

// ---- from the guest

static void refuse(struct vsock *v, const struct virtio_vsock_hdr *h)
{
	if (le16toh(h->op) == VIRTIO_VSOCK_OP_RST || v->rst_count == RST_MAX)
		return;   // full: the guest takes nothing, so there is no point in telling it
	v->rst[(v->rst_first + v->rst_count++) % RST_MAX] = (struct vsock_rst){
		.src_port = le32toh(h->dst_port), .dst_port = le32toh(h->src_port), .type = le16toh(h->type)};
}

static void packet(struct vsock *v, struct virtq_chain *c)
{
	struct virtio_vsock_hdr h;
	iovspan_read(c->iov, c->nout, 0, &h, HDR_LEN);
	if (!v->first_rx_ns)
		__atomic_store_n(&v->first_rx_ns, clock_mono_ns(), __ATOMIC_RELAXED);
	if (le64toh(h.src_cid) != v->a.guest_cid || le64toh(h.dst_cid) != VSOCK_HOST_CID)
		return;
	if (le32toh(h.len) > c->out_len - HDR_LEN || le16toh(h.type) != VIRTIO_VSOCK_TYPE_STREAM) {
		refuse(v, &h);
		return;
	}
	struct conn *conn = conn_find(v, le32toh(h.dst_port), le32toh(h.src_port));
	if (!conn) {
		refuse(v, &h);
		return;
	}
	struct iovec *payload;
	int n = iovspan_cut(c->iov, c->nout, HDR_LEN, le32toh(h.len), &payload);
	conn_packet(conn, &h, payload, n);
}

static void receive(struct vsock *v)
{
	struct virtqueue *q = &v->vq[QUEUE_TX];
	virtqueue_kicks_off(q);
	for (int i = 0;; i++) {
		if (i == ROUND) {
			virtqueue_again(q);
			break;
		}
		int got = virtqueue_pop(q, &v->chain);
		if (got < 0)
			break;
		if (!got) {
			if (virtqueue_kicks_on(q))
				continue;
			break;
		}
		if (v->chain.nin || v->chain.out_len < HDR_LEN) {
			virtqueue_break(q, "a vsock packet is shorter than its header or not for reading");
			break;
		}
		packet(v, &v->chain);
		virtqueue_push(q, v->chain.head, 0);
	}
	virtqueue_flush(q);
}

static void on_closing(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)w, (void)events;
	conn_sweep(user);
	vsock_send(user);
}

// ---- after a restore: `carry` is TOLD and the index at which the guest gives an event's buffer back, or 0

#define TOLD (1u << 16)

static void reset_over(struct vsock *v)
{
	v->reset = RESET_NONE;
	v->dev.carry = 0;
	evloop_timer_set(v->reset_timer, 0, 0);
	vsock_send(v);
}

static void on_reset_timer(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)w, (void)events;
	log_warn("vsock", "the guest has not taken notice that its connections are gone");
	reset_over(user);
}

static void tell_reset(struct vsock *v)
{
	struct virtqueue *q = &v->vq[QUEUE_EVENT];
	struct virtio_vsock_event e = {.id = htole32(VIRTIO_VSOCK_EVENT_TRANSPORT_RESET)};
	if (virtqueue_pop(q, &v->chain) != 1)
		return;
	if (v->chain.nout || v->chain.in_len < sizeof(e)) {
		virtqueue_break(q, "a vsock event buffer is too small or not for writing");
		return;
	}
	iovspan_write(v->chain.iov, v->chain.nin, 0, &e, sizeof(e));
	v->reset = RESET_TOLD;
	v->dev.carry = TOLD | virtqueue_kick_at_next(q);
	virtqueue_push(q, v->chain.head, sizeof(e));
	virtqueue_flush(q);
}

static void serve_events(struct vsock *v)
{
	if (v->reset == RESET_OWED)
		tell_reset(v);
	else if (v->reset == RESET_TOLD && v->dev.carry != (TOLD | virtqueue_kick_at_next(&v->vq[QUEUE_EVENT])))
		reset_over(v);   // it has closed its connections
}

static void restored(struct virtio_dev *d, const void *config, size_t len)
{
	struct vsock *v = vsock_of(d);
	(void)config, (void)len;
	// Ports are counted from somewhere else: what the guest still sends to its old connections must not meet a new one.
	uint32_t use = (uint32_t)(clock_real_ns() / 1000);
	for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++)
		v->conn[i].use = use;
	v->reset = v->a.nqueues <= QUEUE_EVENT ? RESET_NONE : d->carry ? RESET_TOLD : RESET_OWED;
	if (v->reset != RESET_NONE)
		evloop_timer_set(v->reset_timer, RESET_MS, 0);
}

// ---- the device

static uint64_t features(const struct virtio_dev *d)
{
	(void)d;
	return VIRTQ_FEATURES;
}

static size_t config(const struct virtio_dev *d, void *out, size_t len)
{
	struct virtio_vsock_config c = {.guest_cid = htole64(((const struct vsock *)d)->a.guest_cid)};
	memcpy(out, &c, len < sizeof(c) ? len : sizeof(c));
	return sizeof(c);
}

static void queue_kick(struct virtio_dev *d, unsigned n)
{
	struct vsock *v = vsock_of(d);
	if (n == QUEUE_EVENT)
		return serve_events(v);
	if (n == QUEUE_TX)
		receive(v);
	vsock_send(v);
}

static void queue_stop(struct virtio_dev *d, unsigned n) { (void)d, (void)n; }   // no request outlives its call

static void reset(struct virtio_dev *d)
{
	struct vsock *v = vsock_of(d);
	for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++) {
		struct conn *c = &v->conn[i];
		if (c->state > CONN_CONNECTING) {
			conn_free(c);
		} else if (c->state == CONN_CONNECTING) {
			c->owe = OWE_REQUEST;   // asked again when a driver comes
			vsock_ready(c);
		}
	}
	v->rst_count = 0;
	v->reset = RESET_NONE;
	d->carry = 0;
	evloop_timer_set(v->reset_timer, 0, 0);
}

static const struct virtio_dev_ops ops = {
	.name = "vsock", .id = VIRTIO_ID_VSOCK, .features = features, .config = config,
	.queue_start = queue_kick, .queue_kick = queue_kick, .queue_stop = queue_stop, .reset = reset,
	.restored = restored,
};

struct virtio_dev *vsock_dev(struct vsock *v) { return &v->dev; }

void vsock_stats(const struct vsock *v, struct vsock_stats *s)
{
	*s = (struct vsock_stats){
		.rx_bytes = __atomic_load_n(&v->rx_bytes, __ATOMIC_RELAXED),
		.tx_bytes = __atomic_load_n(&v->tx_bytes, __ATOMIC_RELAXED),
		.first_rx_ns = __atomic_load_n(&v->first_rx_ns, __ATOMIC_RELAXED),
		.conns = __atomic_load_n(&v->conns, __ATOMIC_RELAXED),
	};
}

int vsock_new(const struct vsock_attr *a, struct vsock **out)
{
	struct vsock *v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->a = *a;
	v->dev = (struct virtio_dev){.ops = &ops, .nqueues = a->nqueues, .vq = v->vq};
	v->listen_watch = evloop_add(a->loop, a->listen_fd, EPOLLIN, conn_accept, v);
	v->closing_timer = evloop_timer(a->loop, 0, CLOSING_SWEEP_MS, on_closing, v);
	v->reset_timer = evloop_timer(a->loop, 0, 0, on_reset_timer, v);
	if (!v->listen_watch || !v->closing_timer || !v->reset_timer) {
		vsock_free(v);
		return -ENOMEM;
	}
	*out = v;
	return 0;
}

void vsock_free(struct vsock *v)
{
	if (!v)
		return;
	for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++)
		conn_free(&v->conn[i]);
	if (v->listen_watch)
		evloop_remove(v->listen_watch);
	if (v->closing_timer)
		evloop_remove(v->closing_timer);
	if (v->reset_timer)
		evloop_remove(v->reset_timer);
	free(v);
}
