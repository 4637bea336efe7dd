// SPDX-License-Identifier: Apache-2.0
// A hostile driver of the network card, with one pair of queues or two and their control queue. The TAP's queues are socket
// pairs of packets; what the guest sends comes back to it.
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/evloop.h"
#include "virtio/net.h"
#include "virtq_script.h"

#define PAIRS 2
#define QUEUES (2 * PAIRS + 1)

struct world { unsigned pairs; int peer[PAIRS]; struct evloop *loop; };

int ioctl(int fd, unsigned long what, ...)   // a queue of the TAP is attached or detached
{
	return (void)fd, (void)what, 0;
}

static void after(void *user)
{
	struct world *w = user;
	char packet[2048];
	for (unsigned i = 0; i < w->pairs; i++) {
		ssize_t n = recv(w->peer[i], packet, sizeof(packet), MSG_DONTWAIT);
		if (n > 0)
			n = send(w->peer[i], packet, (size_t)n, MSG_DONTWAIT);
	}
	evloop_once(w->loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
	struct fake_ram ram;
	struct fake_ring r[QUEUES], *ring[QUEUES];
	struct net *n;
	uint64_t features = len & 1 ? VIRTQ_FEATURES : 0;
	struct world w = {.pairs = len & 2 ? PAIRS : 1, .loop = evloop_new()};
	struct net_attr a = {.loop = w.loop, .ntaps = w.pairs};
	for (unsigned i = 0; i < w.pairs; i++) {
		int s[2];
		if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s))
			abort();
		a.tap_fd[i] = s[0];
		w.peer[i] = s[1];
	}
	fake_ram_init(&ram);
	if (net_new(&a, &n))
		abort();
	struct virtio_dev *d = net_dev(n);
	d->driver_features = features | (len & 4 ? 1ull << VIRTIO_NET_F_MQ : 0);
	for (unsigned i = 0; i < d->nqueues; i++) {
		ring[i] = &r[i];
		fake_ring_init(&r[i], &ram);
		fake_ring_start(&r[i], &d->vq[i], features);
		d->ops->queue_start(d, i);
	}
	if (send(w.peer[0], in, len < 1500 ? len : 1500, MSG_DONTWAIT) < 0 && len)
		abort();
	script_run(&ram, ring, d, in, len, after, &w);
	net_free(n);
	evloop_free(w.loop);
	for (unsigned i = 0; i < w.pairs; i++) {
		close(a.tap_fd[i]);
		close(w.peer[i]);
	}
	fake_ram_fini(&ram);
	return 0;
}
