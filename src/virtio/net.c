// SPDX-License-Identifier: Apache-2.0
// virtio-net on a TAP; see net.h. A packet goes between the guest's buffers and the TAP without being copied here; only
// the header in front of it passes through a local.
#include "net.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "base/evloop.h"
#include "bulkhead/prda.h"
#include "virtio/iovspan.h"

enum { QUEUE_RX, QUEUE_TX, QUEUES };   // as the guest sees it

#define ROUND 64                       // packets before the event loop turns
#define HEADER sizeof(struct virtio_net_hdr_v1)
#define PACKET_MIN 14                  // an Ethernet header

struct net {
	struct virtio_dev dev;         // first
	struct virtqueue vq[QUEUES];
	struct net_attr a;
	struct evwatch *watch;         // of the TAP, edge-triggered
	bool waiting;                  // the TAP may hold packets that the guest had no buffer for
	struct net_stats stats;        // relaxed atomics
	struct virtq_chain chain;      // scratch
};

static struct net *net_of(struct virtio_dev *d) { return (struct net *)d; }

PRDA_DEFINE_COUNTER(rx_packets, "bulkhead_net_rx_packets_total", "packets given to the guest");
PRDA_DEFINE_COUNTER(rx_bytes, "bulkhead_net_rx_bytes_total", "bytes of packets given to the guest");
PRDA_DEFINE_COUNTER(tx_packets, "bulkhead_net_tx_packets_total", "packets taken from the guest");
PRDA_DEFINE_COUNTER(tx_bytes, "bulkhead_net_tx_bytes_total", "bytes of packets taken from the guest");

static void count(uint64_t *counter, uint64_t n) { __atomic_fetch_add(counter, n, __ATOMIC_RELAXED); }

// What goes to or comes from the TAP: the header, if it carries one, and the guest's bytes behind its own header.
struct packet {
	struct iovec iov[VIRTQ_CHAIN_MAX + 1];
	struct iovec *first;
	int parts;
};

static void packet_init(const struct net *n, struct packet *p, const struct iovec *iov, int count, size_t len,
			struct virtio_net_hdr_v1 *h)
{
	memcpy(p->iov + 1, iov, (size_t)count * sizeof(*iov));
	p->parts = iovspan_cut(p->iov + 1, count, HEADER, len - HEADER, &p->first);
	if (!n->a.vnet_hdr)
		return;
	*--p->first = (struct iovec){h, HEADER};   // the guest's header was there, or the room in front
	p->parts++;
}

// ---- to the guest

// One packet. 1: moved, 0: nothing to do now, -errno: the queue is broken.
static int receive_one(struct net *n)
{
	struct virtqueue *q = &n->vq[QUEUE_RX];
	struct virtq_chain *c = &n->chain;
	struct virtio_net_hdr_v1 h = {0};
	int got = virtqueue_pop(q, c);
	if (got <= 0)
		return got;
	if (c->nout || c->in_len < HEADER + PACKET_MIN)
		return virtqueue_break(q, "a buffer for a packet is too small");
	struct packet p;
	packet_init(n, &p, c->iov, c->nin, c->in_len, &h);
	ssize_t len = readv(n->a.tap_fd, p.first, p.parts);
	if (len <= 0) {
		virtqueue_unpop(q);
		n->waiting = len < 0 && errno == EINTR;
		return 0;
	}
	size_t payload = (size_t)len - (n->a.vnet_hdr ? HEADER : 0);
	h.num_buffers = htole16(1);
	iovspan_write(c->iov, c->nin, 0, &h, HEADER);
	virtqueue_push(q, c->head, (uint32_t)(payload + HEADER));
	count(&n->stats.rx_packets, 1);
	count(&n->stats.rx_bytes, payload);
	prda_add(rx_packets, 1);
	prda_add(rx_bytes, payload);
	return 1;
}

static void receive(struct net *n)
{
	struct virtqueue *q = &n->vq[QUEUE_RX];
	if (!n->waiting || !q->running)
		return;
	virtqueue_kicks_off(q);
	for (int i = 0; n->waiting; i++) {
		if (i == ROUND) {
			virtqueue_again(q);
			break;
		}
		int got = receive_one(n);
		if (got < 0 || (!got && n->waiting && !virtqueue_kicks_on(q)))
			break;
	}
	virtqueue_flush(q);
}

static void on_tap(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)w, (void)events;
	struct net *n = user;
	n->waiting = true;
	receive(n);
}

// ---- from the guest

static int send_one(struct net *n)
{
	struct virtqueue *q = &n->vq[QUEUE_TX];
	struct virtq_chain *c = &n->chain;
	struct virtio_net_hdr_v1 h;
	int got = virtqueue_pop(q, c);
	if (got <= 0)
		return got;
	if (c->nin || c->out_len < HEADER + PACKET_MIN)
		return virtqueue_break(q, "a packet is too short");
	iovspan_read(c->iov, c->nout, 0, &h, HEADER);
	struct packet p;
	packet_init(n, &p, c->iov, c->nout, c->out_len, &h);
	ssize_t len;
	do
		len = writev(n->a.tap_fd, p.first, p.parts);
	while (len < 0 && errno == EINTR);
	// A packet that the TAP does not take is lost, as on any network.
	if (len > 0) {
		count(&n->stats.tx_packets, 1);
		count(&n->stats.tx_bytes, c->out_len - HEADER);
		prda_add(tx_packets, 1);
		prda_add(tx_bytes, c->out_len - HEADER);
	}
	virtqueue_push(q, c->head, 0);
	return 1;
}

static void transmit(struct net *n)
{
	struct virtqueue *q = &n->vq[QUEUE_TX];
	virtqueue_kicks_off(q);
	for (int i = 0;; i++) {
		if (i == ROUND) {
			virtqueue_again(q);
			break;
		}
		int got = send_one(n);
		if (got < 0 || (!got && !virtqueue_kicks_on(q)))
			break;
	}
	virtqueue_flush(q);
}

// ---- the device

static uint64_t features(const struct virtio_dev *d)
{
	const struct net *n = (const struct net *)d;
	uint64_t f = VIRTQ_FEATURES | 1ull << VIRTIO_NET_F_MAC;
	if (!n->a.vnet_hdr)
		return f;
	return f | 1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_HOST_TSO4 | 1ull << VIRTIO_NET_F_HOST_TSO6 |
	       1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_GUEST_TSO4 | 1ull << VIRTIO_NET_F_GUEST_TSO6;
}

static size_t config(const struct virtio_dev *d, void *out, size_t len)
{
	struct virtio_net_config c = {.max_virtqueue_pairs = 0};
	size_t size = sizeof(c.mac);
	memcpy(c.mac, ((const struct net *)d)->a.mac, size);
	memcpy(out, &c, len < size ? len : size);
	return size;
}

static unsigned offloads(uint64_t features)
{
	if (!(features >> VIRTIO_NET_F_GUEST_CSUM & 1))
		return 0;
	return TUN_F_CSUM | (features >> VIRTIO_NET_F_GUEST_TSO4 & 1 ? TUN_F_TSO4 : 0) |
	       (features >> VIRTIO_NET_F_GUEST_TSO6 & 1 ? TUN_F_TSO6 : 0);
}

static void queue_kick(struct virtio_dev *d, unsigned q)
{
	if (q == QUEUE_RX)
		receive(net_of(d));
	else
		transmit(net_of(d));
}

static void queue_start(struct virtio_dev *d, unsigned q)
{
	struct net *n = net_of(d);
	if (q == QUEUE_RX) {
		if (n->a.vnet_hdr && ioctl(n->a.tap_fd, TUNSETOFFLOAD, offloads(d->driver_features))) {
			virtqueue_break(&n->vq[q], "the TAP does not take the offloads");
			return;
		}
		n->waiting = true;
	}
	queue_kick(d, q);
}

static void queue_stop(struct virtio_dev *d, unsigned q) { (void)d, (void)q; }   // no packet outlives its call

static void reset(struct virtio_dev *d) { (void)d; }

static const struct virtio_dev_ops ops = {
	.name = "net", .id = VIRTIO_ID_NET, .features = features, .config = config, .queue_start = queue_start,
	.queue_kick = queue_kick, .queue_stop = queue_stop, .reset = reset,
};

struct virtio_dev *net_dev(struct net *n) { return &n->dev; }

void net_stats(const struct net *n, struct net_stats *s)
{
	*s = (struct net_stats){
		.rx_packets = __atomic_load_n(&n->stats.rx_packets, __ATOMIC_RELAXED),
		.tx_packets = __atomic_load_n(&n->stats.tx_packets, __ATOMIC_RELAXED),
		.rx_bytes = __atomic_load_n(&n->stats.rx_bytes, __ATOMIC_RELAXED),
		.tx_bytes = __atomic_load_n(&n->stats.tx_bytes, __ATOMIC_RELAXED),
	};
}

int net_new(const struct net_attr *a, struct net **out)
{
	int header = HEADER, flags = fcntl(a->tap_fd, F_GETFL);
	if (flags < 0 || fcntl(a->tap_fd, F_SETFL, flags | O_NONBLOCK) ||
	    (a->vnet_hdr && ioctl(a->tap_fd, TUNSETVNETHDRSZ, &header)))
		return -errno;
	struct net *n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->a = *a;
	n->dev = (struct virtio_dev){.ops = &ops, .nqueues = QUEUES, .vq = n->vq};
	n->watch = evloop_add(a->loop, a->tap_fd, EPOLLIN | EPOLLET, on_tap, n);
	if (!n->watch) {
		free(n);
		return -ENOMEM;
	}
	*out = n;
	return 0;
}

void net_free(struct net *n)
{
	if (!n)
		return;
	evloop_remove(n->watch);
	free(n);
}
