// SPDX-License-Identifier: Apache-2.0
// virtio-net on a TAP; see net.h. A packet goes between the guest's buffers and the TAP without being copied here; only
// the header in front of it passes through a local.
#include "net.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "base/evloop.h"
#include "bulkhead/prda.h"
#include "virtio/iovspan.h"

enum { QUEUE_RX, QUEUE_TX };           // as the guest sees it: of pair i these and 2 i more; the control queue behind the last pair

#define ROUND 64                       // packets before the event loop turns
#define HEADER sizeof(struct virtio_net_hdr_v1)
#define PACKET_MIN 14                  // an Ethernet header

struct pair {
	struct net *n;
	struct virtqueue *rx, *tx;
	int tap_fd;                    // borrowed: a queue of the TAP
	struct evwatch *watch;         // of it, edge-triggered
	bool waiting;                  // it may hold packets that the guest had no buffer for
	bool attached;                 // the kernel gives it packets
};

struct net {
	struct virtio_dev dev;         // first; carry: pairs in use, less one
	struct virtqueue vq[NET_QUEUES_MAX];
	struct net_attr a;
	struct pair pair[NET_PAIRS_MAX];
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
static int receive_one(struct pair *pair)
{
	struct net *n = pair->n;
	struct virtqueue *q = pair->rx;
	struct virtq_chain *c = &n->chain;
	struct virtio_net_hdr_v1 h = {0};
	int got = virtqueue_pop(q, c);
	if (got <= 0)
		return got;
	if (c->nout || c->in_len < HEADER + PACKET_MIN)
		return virtqueue_break(q, "a buffer for a packet is too small");
	struct packet p;
	packet_init(n, &p, c->iov, c->nin, c->in_len, &h);
	ssize_t len = readv(pair->tap_fd, p.first, p.parts);
	if (len <= 0) {
		virtqueue_unpop(q);
		pair->waiting = len < 0 && errno == EINTR;
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

static void receive(struct pair *pair)
{
	struct virtqueue *q = pair->rx;
	if (!pair->waiting || !q->running)
		return;
	virtqueue_kicks_off(q);
	for (int i = 0; pair->waiting; i++) {
		if (i == ROUND) {
			virtqueue_again(q);
			break;
		}
		int got = receive_one(pair);
		if (got < 0 || (!got && pair->waiting && !virtqueue_kicks_on(q)))
			break;
	}
	virtqueue_flush(q);
}

static void on_tap(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)w, (void)events;
	struct pair *pair = user;
	pair->waiting = true;
	receive(pair);
}

// ---- from the guest

static int send_one(struct pair *pair)
{
	struct net *n = pair->n;
	struct virtqueue *q = pair->tx;
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
		len = writev(pair->tap_fd, p.first, p.parts);
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

static void transmit(struct pair *pair)
{
	struct virtqueue *q = pair->tx;
	virtqueue_kicks_off(q);
	for (int i = 0;; i++) {
		if (i == ROUND) {
			virtqueue_again(q);
			break;
		}
		int got = send_one(pair);
		if (got < 0 || (!got && !virtqueue_kicks_on(q)))
			break;
	}
	virtqueue_flush(q);
}

// ---- how many pairs are used

static int attach(struct pair *p, bool on)
{
	struct ifreq rq = {.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};
	if (p->attached == on)
		return 0;
	if (ioctl(p->tap_fd, TUNSETQUEUE, &rq))
		return -errno;
	p->attached = on;
	return 0;
}

// The kernel spreads packets over the queues that are attached, so those that the driver does not look at must not be.
static int use_pairs(struct net *n, unsigned count)
{
	int rc = 0;
	for (unsigned i = 1; i < n->a.ntaps && !rc; i++)
		rc = attach(&n->pair[i], i < count);
	if (!rc)
		n->dev.carry = count - 1;
	return rc;
}

static uint8_t command(struct net *n, const struct virtio_net_ctrl_hdr *h, const struct virtq_chain *c)
{
	struct virtio_net_ctrl_mq m;
	if (h->class != VIRTIO_NET_CTRL_MQ || h->cmd != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || c->out_len < sizeof(*h) + sizeof(m))
		return VIRTIO_NET_ERR;
	iovspan_read(c->iov, c->nout, sizeof(*h), &m, sizeof(m));
	unsigned count = le16toh(m.virtqueue_pairs);
	return !count || count > n->a.ntaps || use_pairs(n, count) ? VIRTIO_NET_ERR : VIRTIO_NET_OK;
}

static int control_one(struct net *n, struct virtqueue *q)
{
	struct virtq_chain *c = &n->chain;
	struct virtio_net_ctrl_hdr h;
	int got = virtqueue_pop(q, c);
	if (got <= 0)
		return got;
	if (c->out_len < sizeof(h) || !c->in_len)
		return virtqueue_break(q, "a command has no head or no room for its answer");
	iovspan_read(c->iov, c->nout, 0, &h, sizeof(h));
	uint8_t answer = command(n, &h, c);
	iovspan_write(c->iov + c->nout, c->nin, 0, &answer, sizeof(answer));
	virtqueue_push(q, c->head, sizeof(answer));
	return 1;
}

static void control(struct net *n, struct virtqueue *q)
{
	for (int i = 0;; i++) {
		if (i == ROUND) {
			virtqueue_again(q);
			break;
		}
		if (control_one(n, q) <= 0)
			break;
	}
	virtqueue_flush(q);
}

// ---- the device

static uint64_t features(const struct virtio_dev *d)
{
	const struct net *n = (const struct net *)d;
	uint64_t f = VIRTQ_FEATURES | 1ull << VIRTIO_NET_F_MAC | 1ull << VIRTIO_NET_F_STATUS;
	if (n->a.ntaps > 1)
		f |= 1ull << VIRTIO_NET_F_CTRL_VQ | 1ull << VIRTIO_NET_F_MQ;
	if (!n->a.vnet_hdr)
		return f;
	return f | 1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_HOST_TSO4 | 1ull << VIRTIO_NET_F_HOST_TSO6 |
	       1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_GUEST_TSO4 | 1ull << VIRTIO_NET_F_GUEST_TSO6;
}

static size_t config(const struct virtio_dev *d, void *out, size_t len)
{
	const struct net *n = (const struct net *)d;
	struct virtio_net_config c = {.status = htole16(VIRTIO_NET_S_LINK_UP), .max_virtqueue_pairs = htole16((uint16_t)n->a.ntaps)};
	size_t size = n->a.ntaps > 1 ? offsetof(struct virtio_net_config, mtu) : offsetof(struct virtio_net_config, max_virtqueue_pairs);
	memcpy(c.mac, n->a.mac, sizeof(c.mac));
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

// Without VIRTIO_NET_F_MQ a driver knows one pair, and behind it the control queue.
static bool is_control(const struct net *n, unsigned q)
{
	return n->a.ntaps > 1 && q == (n->dev.driver_features >> VIRTIO_NET_F_MQ & 1 ? 2 * n->a.ntaps : 2);
}

static void queue_kick(struct virtio_dev *d, unsigned q)
{
	struct net *n = net_of(d);
	if (is_control(n, q))
		control(n, &n->vq[q]);
	else if (q >= 2 * n->a.ntaps)
		return;
	else if (q % 2 == QUEUE_RX)
		receive(&n->pair[q / 2]);
	else
		transmit(&n->pair[q / 2]);
}

static void queue_start(struct virtio_dev *d, unsigned q)
{
	struct net *n = net_of(d);
	if (q == QUEUE_RX && n->a.vnet_hdr && ioctl(n->a.tap_fd[0], TUNSETOFFLOAD, offloads(d->driver_features))) {
		virtqueue_break(&n->vq[q], "the TAP does not take the offloads");
		return;
	}
	if (q / 2 < n->a.ntaps && !is_control(n, q))
		n->pair[q / 2].waiting |= q % 2 == QUEUE_RX;
	queue_kick(d, q);
}

static void queue_stop(struct virtio_dev *d, unsigned q) { (void)d, (void)q; }   // no packet outlives its call

static void reset(struct virtio_dev *d) { use_pairs(net_of(d), 1); }

static void restored(struct virtio_dev *d, const void *config, size_t len)
{
	struct net *n = net_of(d);
	(void)config, (void)len;
	if (n->dev.carry >= n->a.ntaps || use_pairs(n, (unsigned)n->dev.carry + 1))
		n->dev.carry = 0;   // a state that was made up: its driver gets fewer packets
}

static const struct virtio_dev_ops ops = {
	.name = "net", .id = VIRTIO_ID_NET, .features = features, .config = config, .queue_start = queue_start,
	.queue_kick = queue_kick, .queue_stop = queue_stop, .reset = reset, .restored = restored,
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

static int pair_init(struct net *n, unsigned i)
{
	int header = HEADER, fd = n->a.tap_fd[i], flags = fcntl(fd, F_GETFL);
	struct pair *p = &n->pair[i];
	*p = (struct pair){.n = n, .rx = &n->vq[2 * i + QUEUE_RX], .tx = &n->vq[2 * i + QUEUE_TX], .tap_fd = fd, .attached = true};
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) || (n->a.vnet_hdr && ioctl(fd, TUNSETVNETHDRSZ, &header)))
		return -errno;
	p->watch = evloop_add(n->a.loop, fd, EPOLLIN | EPOLLET, on_tap, p);
	return p->watch ? 0 : -ENOMEM;
}

int net_new(const struct net_attr *a, struct net **out)
{
	if (!a->ntaps || a->ntaps > NET_PAIRS_MAX)
		return -EINVAL;
	struct net *n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->a = *a;
	n->dev = (struct virtio_dev){.ops = &ops, .nqueues = a->ntaps > 1 ? 2 * a->ntaps + 1 : 2, .vq = n->vq};
	int rc = 0;
	for (unsigned i = 0; i < a->ntaps && !rc; i++)
		rc = pair_init(n, i);
	if (!rc)
		rc = use_pairs(n, 1);
	if (rc) {
		net_free(n);
		return rc;
	}
	*out = n;
	return 0;
}

void net_free(struct net *n)
{
	if (!n)
		return;
	for (unsigned i = 0; i < NET_PAIRS_MAX; i++) {
		if (n->pair[i].watch)
			evloop_remove(n->pair[i].watch);
	}
	free(n);
}
