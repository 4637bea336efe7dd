// SPDX-License-Identifier: Apache-2.0
// A hostile driver of the network card. The TAP is a socket pair of packets; what the guest sends comes back to it.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/evloop.h"
#include "virtio/net.h"
#include "virtq_script.h"

struct world { int peer; struct evloop *loop; };

static void after(void *user)
{
	struct world *w = user;
	char packet[2048];
	ssize_t n = recv(w->peer, packet, sizeof(packet), MSG_DONTWAIT);
	if (n > 0)
		n = send(w->peer, packet, (size_t)n, MSG_DONTWAIT);
	evloop_once(w->loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
	struct fake_ram ram;
	struct fake_ring r[2];
	struct net *n;
	int s[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s))
		abort();
	struct world w = {.peer = s[1], .loop = evloop_new()};
	struct net_attr a = {.loop = w.loop, .tap_fd = s[0]};
	fake_ram_init(&ram);
	if (net_new(&a, &n))
		abort();
	struct virtio_dev *d = net_dev(n);
	for (unsigned i = 0; i < 2; i++) {
		fake_ring_init(&r[i], &ram);
		fake_ring_start(&r[i], &d->vq[i], len & 1 ? VIRTQ_FEATURES : 0);
		d->ops->queue_start(d, i);
	}
	if (send(w.peer, in, len < 1500 ? len : 1500, MSG_DONTWAIT) < 0 && len)
		abort();
	script_run(&ram, (struct fake_ring *const[]){&r[0], &r[1]}, d, in, len, after, &w);
	net_free(n);
	evloop_free(w.loop);
	close(s[0]);
	close(s[1]);
	fake_ram_fini(&ram);
	return 0;
}
