// SPDX-License-Identifier: Apache-2.0
// A hostile driver of the vsock device, with three clients connected: one at its first line, one that waits for the guest's
// answer, and one that reads now and then.
#include <fcntl.h>
#include <linux/virtio_vsock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/evloop.h"
#include "virtio/vsock.h"
#include "virtq_script.h"

struct world { struct evloop *loop; int client[3]; };

static void after(void *user)
{
	struct world *w = user;
	char buf[4096];
	evloop_once(w->loop, 0);
	ssize_t n = recv(w->client[2], buf, sizeof(buf), MSG_DONTWAIT);
	if (n > 0 && send(w->client[2], buf, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

static int client(struct evloop *l, const struct sockaddr_un *a, socklen_t len, const char *hello)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (const struct sockaddr *)a, len) || write(fd, hello, strlen(hello)) < 0)
		abort();
	for (int i = 0; i < 3; i++)
		evloop_once(l, 0);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
	struct fake_ram ram;
	struct fake_ring rx, tx;
	struct vsock *v;
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	socklen_t alen = sizeof(a);
	struct world w = {.loop = evloop_new()};
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (bind(l, (struct sockaddr *)&a, sizeof(sa_family_t)) || getsockname(l, (struct sockaddr *)&a, &alen) || listen(l, 8))
		abort();
	struct vsock_attr attr = {.loop = w.loop, .listen_fd = l, .guest_cid = 3, .nqueues = 2};
	fake_ram_init(&ram);
	fake_ring_init(&rx, &ram);
	fake_ring_init(&tx, &ram);
	if (vsock_new(&attr, &v))
		abort();
	struct virtio_dev *d = vsock_dev(v);
	fake_ring_start(&rx, &d->vq[0], len & 1 ? VIRTQ_FEATURES : 0);
	fake_ring_start(&tx, &d->vq[1], len & 1 ? VIRTQ_FEATURES : 0);
	w.client[0] = client(w.loop, &a, alen, "CONNECT 1");
	w.client[1] = client(w.loop, &a, alen, "CONNECT 7\nabc");
	w.client[2] = client(w.loop, &a, alen, "CONNECT 8\ndef");
	script_run(&ram, (struct fake_ring *const[]){&rx, &tx}, d, in, len, after, &w);
	for (int i = 0; i < 3; i++)
		close(w.client[i]);
	after(&w);
	vsock_free(v);
	evloop_free(w.loop);
	close(l);
	fake_ram_fini(&ram);
	return 0;
}
