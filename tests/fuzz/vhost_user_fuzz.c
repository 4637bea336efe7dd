// SPDX-License-Identifier: Apache-2.0
// A hostile front-end. Input: messages, each with a first byte that says which descriptors come with it:
// bits 0-1: number, bit 2: memory (else eventfds); then length byte and that many bytes.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/evloop.h"
#include "base/usock.h"
#include "virtio/vhost_user.h"

static struct virtqueue vq[2];

static uint64_t features(const struct virtio_dev *d) { (void)d; return 0; }
static size_t config(const struct virtio_dev *d, void *out, size_t len) { (void)d; memset(out, 1, len); return len; }
static void kick(struct virtio_dev *d, unsigned n)
{
	static struct virtq_chain c;
	while (virtqueue_pop(&d->vq[n], &c) > 0)
		virtqueue_push(&d->vq[n], c.head, 0);
	virtqueue_flush(&d->vq[n]);
}
static void stop(struct virtio_dev *d, unsigned n) { (void)d, (void)n; }
static void reset(struct virtio_dev *d) { (void)d; }
static const struct virtio_dev_ops ops = {.name = "fuzz", .features = features, .config = config, .queue_start = kick,
					  .queue_kick = kick, .queue_stop = stop, .reset = reset};

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
	static struct guest_ram ram = GUEST_RAM_INIT;
	struct err e = ERR_INIT;
	int s[2];
	if (ram.fd < 0 && guest_ram_open(&ram, 1 << 20, &e))
		abort();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s))
		abort();
	struct evloop *l = evloop_new();
	struct virtio_dev d = {.ops = &ops, .nqueues = 2, .vq = vq};
	struct vhost_user_attr a = {.loop = l, .fd = s[1], .dev = &d, .ram = &ram};
	fcntl(s[0], F_SETFL, O_NONBLOCK);
	struct vhost_user *u = vhost_user_new(&a);
	int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	while (len >= 2) {
		int fds[3];
		size_t nfds = in[0] & 3, n = in[1];
		for (size_t i = 0; i < nfds; i++)
			fds[i] = in[0] & 4 ? ram.fd : event;
		in += 2;
		len -= 2;
		n = n < len ? n : len;
		if (n && usock_send(s[0], in, n, fds, nfds))
			break;
		in += n;
		len -= n;
		evloop_once(l, 0);
		evloop_once(l, 0);
		char reply[512];
		while (recv(s[0], reply, sizeof(reply), MSG_DONTWAIT) > 0)
			;
	}
	vhost_user_free(u);
	evloop_free(l);
	close(s[0]);
	close(event);
	return 0;
}
