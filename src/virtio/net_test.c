// SPDX-License-Identifier: Apache-2.0
// The network card with a driver in this process. The TAP's queues are socket pairs; attaching and detaching them is seen by
// an ioctl of our own.
#include <endian.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/evloop.h"
#include "virtio/net.h"
#include "virtio/virtq_fake.h"

#define PAIRS 3
#define QUEUES (2 * PAIRS + 1)
#define HEADER sizeof(struct virtio_net_hdr_v1)
#define MQ (1ull << VIRTIO_NET_F_MQ | 1ull << VIRTIO_NET_F_CTRL_VQ)

struct world {
	struct fake_ram ram;
	struct fake_ring ring[QUEUES];
	struct evloop *loop;
	struct net *n;
	struct virtio_dev *d;
	int peer[PAIRS];
	struct net_attr a;
};

static bool attached[1024];      // by descriptor
static int tap_says;             // errno of the next attaching, 0: it works

int ioctl(int fd, unsigned long what, ...)
{
	va_list ap;
	va_start(ap, what);
	const struct ifreq *rq = va_arg(ap, const struct ifreq *);
	va_end(ap);
	assert_int_equal(what, TUNSETQUEUE);
	if (tap_says) {
		errno = tap_says;
		return -1;
	}
	attached[fd] = rq->ifr_flags & IFF_ATTACH_QUEUE;
	return 0;
}

static void start(struct world *w, uint64_t features)
{
	w->d->driver_features = features;
	for (unsigned i = 0; i < w->d->nqueues; i++) {
		fake_ring_init(&w->ring[i], &w->ram);
		assert_int_equal(fake_ring_start(&w->ring[i], &w->d->vq[i], 0), 0);
		w->d->ops->queue_start(w->d, i);
	}
}

static void world_init(struct world *w, unsigned pairs)
{
	memset(w, 0, sizeof(*w));
	fake_ram_init(&w->ram);
	w->loop = evloop_new();
	w->a = (struct net_attr){.loop = w->loop, .ntaps = pairs, .mac = {2, 0, 0, 0, 0, 7}};
	for (unsigned i = 0; i < pairs; i++) {
		int s[2];
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, s), 0);
		w->a.tap_fd[i] = s[0];
		w->peer[i] = s[1];
		attached[s[0]] = true;
	}
	assert_int_equal(net_new(&w->a, &w->n), 0);
	w->d = net_dev(w->n);
}

static void world_fini(struct world *w)
{
	net_free(w->n);
	for (unsigned i = 0; i < w->a.ntaps; i++) {
		close(w->a.tap_fd[i]);
		close(w->peer[i]);
	}
	evloop_free(w->loop);
	fake_ram_fini(&w->ram);
	tap_says = 0;
}

static gpa_t put(struct world *w, const void *bytes, size_t len)
{
	gpa_t at = fake_alloc(&w->ram, len);
	memcpy(fake_at(&w->ram, at), bytes, len);
	return at;
}

static void send_packet(struct world *w, unsigned queue, const char *text)
{
	char packet[HEADER + 64] = "";
	strcpy(packet + HEADER, text);
	struct fake_ring *r = &w->ring[queue];
	fake_offer(r, fake_desc(r, put(w, packet, sizeof(packet)), sizeof(packet), 0));
	w->d->ops->queue_kick(w->d, queue);
	assert_true(fake_take(r, NULL) >= 0);
}

static void packet_comes(struct world *w, unsigned pair, const char *text)
{
	struct fake_ring *r = &w->ring[2 * pair];
	char packet[64] = "";
	gpa_t at = fake_alloc(&w->ram, 256);
	uint32_t len = 0;
	strcpy(packet, text);
	fake_offer(r, fake_desc(r, at, 256, VRING_DESC_F_WRITE));
	assert_int_equal(send(w->peer[pair], packet, sizeof(packet), 0), sizeof(packet));
	evloop_once(w->loop, 0);
	assert_true(fake_take(r, &len) >= 0);
	assert_int_equal(len, HEADER + sizeof(packet));
	assert_string_equal((char *)fake_at(&w->ram, at) + HEADER, text);
}

// Returns the answer, or -1: the queue broke.
static int command(struct world *w, unsigned queue, uint8_t class, uint8_t cmd, const void *data, size_t len)
{
	struct virtio_net_ctrl_hdr h = {.class = class, .cmd = cmd};
	struct fake_ring *r = &w->ring[queue];
	uint8_t none = 0x77;
	gpa_t answer = put(w, &none, 1);
	uint16_t head = fake_desc(r, put(w, &h, sizeof(h)), sizeof(h), VRING_DESC_F_NEXT);
	if (len)
		fake_desc(r, put(w, data, len), (uint32_t)len, VRING_DESC_F_NEXT);
	fake_desc(r, answer, 1, VRING_DESC_F_WRITE);
	fake_offer(r, head);
	w->d->ops->queue_kick(w->d, queue);
	return fake_take(r, NULL) < 0 ? -1 : *(uint8_t *)fake_at(&w->ram, answer);
}

static int set_pairs(struct world *w, unsigned queue, uint16_t n)
{
	uint16_t v = htole16(n);
	return command(w, queue, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &v, sizeof(v));
}

static unsigned in_use(const struct world *w)
{
	unsigned n = 0;
	for (unsigned i = 0; i < w->a.ntaps; i++)
		n += attached[w->a.tap_fd[i]];
	return n;
}

static void one_queue_of_the_tap_is_one_pair_without_control(void **state)
{
	(void)state;
	struct world w;
	struct virtio_net_config c;
	world_init(&w, 1);
	assert_int_equal(w.d->nqueues, 2);
	assert_false(w.d->ops->features(w.d) & MQ);
	assert_int_equal(w.d->ops->config(w.d, &c, sizeof(c)), 8);
	assert_int_equal(c.status, VIRTIO_NET_S_LINK_UP);
	start(&w, 0);
	send_packet(&w, 1, "out it goes");
	packet_comes(&w, 0, "in it comes");
	world_fini(&w);
}

static void the_driver_says_how_many_pairs_it_uses(void **state)
{
	(void)state;
	struct world w;
	struct virtio_net_config c;
	world_init(&w, PAIRS);
	assert_int_equal(w.d->nqueues, QUEUES);
	assert_int_equal(w.d->ops->features(w.d) & MQ, MQ);
	assert_int_equal(w.d->ops->config(w.d, &c, sizeof(c)), 10);
	assert_int_equal(le16toh(c.max_virtqueue_pairs), PAIRS);
	assert_int_equal(in_use(&w), 1);   // nothing is lost in queues that nobody reads
	start(&w, MQ);
	assert_int_equal(set_pairs(&w, 2 * PAIRS, PAIRS), VIRTIO_NET_OK);
	assert_int_equal(in_use(&w), PAIRS);
	assert_int_equal(w.d->carry, PAIRS - 1);
	for (unsigned i = 0; i < PAIRS; i++) {
		char packet[HEADER + 64];
		send_packet(&w, 2 * i + 1, "by this pair");
		assert_int_equal(recv(w.peer[i], packet, sizeof(packet), 0), 64);
		assert_string_equal(packet, "by this pair");
		packet_comes(&w, i, "to this pair");
	}
	assert_int_equal(set_pairs(&w, 2 * PAIRS, 2), VIRTIO_NET_OK);
	assert_int_equal(in_use(&w), 2);
	w.d->ops->reset(w.d);
	assert_int_equal(in_use(&w), 1);
	world_fini(&w);
}

static void wrong_commands_change_nothing(void **state)
{
	(void)state;
	struct world w;
	const unsigned q = 2 * PAIRS;
	world_init(&w, PAIRS);
	start(&w, MQ);
	assert_int_equal(set_pairs(&w, q, 2), VIRTIO_NET_OK);
	assert_int_equal(set_pairs(&w, q, 0), VIRTIO_NET_ERR);
	assert_int_equal(set_pairs(&w, q, PAIRS + 1), VIRTIO_NET_ERR);
	assert_int_equal(set_pairs(&w, q, 0xffff), VIRTIO_NET_ERR);
	assert_int_equal(command(&w, q, VIRTIO_NET_CTRL_MQ, 9, "\1", 2), VIRTIO_NET_ERR);
	assert_int_equal(command(&w, q, 99, 0, "\1", 2), VIRTIO_NET_ERR);
	assert_int_equal(command(&w, q, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\1", 1), VIRTIO_NET_ERR);
	assert_int_equal(command(&w, q, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, NULL, 0), VIRTIO_NET_ERR);
	assert_int_equal(in_use(&w), 2);
	tap_says = EINVAL;
	assert_int_equal(set_pairs(&w, q, PAIRS), VIRTIO_NET_ERR);
	tap_says = 0;
	struct fake_ring *r = &w.ring[q];
	fake_offer(r, fake_desc(r, fake_alloc(&w.ram, 16), 1, 0));   // no head, no room for an answer
	w.d->ops->queue_kick(w.d, q);
	assert_int_equal(r->failures, 1);
	assert_string_equal(r->why, "a command has no head or no room for its answer");
	world_fini(&w);
}

static void without_mq_the_control_queue_is_the_third(void **state)
{
	(void)state;
	struct world w;
	world_init(&w, PAIRS);
	start(&w, 1ull << VIRTIO_NET_F_CTRL_VQ);
	assert_int_equal(set_pairs(&w, 2, 1), VIRTIO_NET_OK);
	w.d->ops->queue_kick(w.d, 2 * PAIRS);   // exists, means nothing
	send_packet(&w, 1, "out it goes");
	world_fini(&w);
}

static void pairs_are_kept_when_the_vm_is_restored(void **state)
{
	(void)state;
	struct world w;
	world_init(&w, PAIRS);
	w.d->carry = 1;
	w.d->ops->restored(w.d, NULL, 0);
	assert_int_equal(in_use(&w), 2);
	w.d->carry = UINT64_MAX;   // nobody saved that
	w.d->ops->restored(w.d, NULL, 0);
	assert_int_equal(w.d->carry, 0);
	world_fini(&w);
}

static void a_tap_without_queues_is_refused(void **state)
{
	(void)state;
	struct world w;
	struct net *n = NULL;
	world_init(&w, PAIRS);
	net_free(w.n);
	w.n = NULL;
	for (unsigned i = 0; i < PAIRS; i++)
		attached[w.a.tap_fd[i]] = true;
	tap_says = ENOTTY;
	assert_int_equal(net_new(&w.a, &n), -ENOTTY);
	tap_says = 0;
	w.a.ntaps = 0;
	assert_int_equal(net_new(&w.a, &n), -EINVAL);
	w.a.ntaps = PAIRS;
	assert_null(n);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_queue_of_the_tap_is_one_pair_without_control),
		cmocka_unit_test(the_driver_says_how_many_pairs_it_uses),
		cmocka_unit_test(wrong_commands_change_nothing),
		cmocka_unit_test(without_mq_the_control_queue_is_the_third),
		cmocka_unit_test(pairs_are_kept_when_the_vm_is_restored),
		cmocka_unit_test(a_tap_without_queues_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
