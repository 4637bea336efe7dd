// SPDX-License-Identifier: Apache-2.0
// The vhost-user back-end with a front-end in this process, and a device that echoes chains.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include <linux/virtio_ring.h>

#include "base/evloop.h"
#include "base/usock.h"
#include "virtio/vhost_user.h"
#include "virtio/vhost_user_proto.h"

#define RAM (1u << 20)
#define USER 0x7f0000000000ull     // where the front-end claims to have the memory
#define FEATURES (1ull << VIRTIO_F_VERSION_1 | 1ull << VHU_F_PROTOCOL_FEATURES)
#define VIRTIO_F_VERSION_1 32

struct world {
	struct evloop *loop;
	struct guest_ram ram;
	int fd;                     // the front-end's end
	struct vhost_user *u;
	struct virtio_dev dev;
	struct virtqueue vq[2];
	unsigned started, stopped, kicked, resets;
	bool closed;
	const char *why;
};

static struct world *of(struct virtio_dev *d) { return (struct world *)((char *)d - offsetof(struct world, dev)); }

static uint64_t dev_features(const struct virtio_dev *d) { (void)d; return 1; }

static size_t dev_config(const struct virtio_dev *d, void *out, size_t len)
{
	(void)d;
	memcpy(out, "config", len < 6 ? len : 6);
	return 6;
}

static void dev_kick(struct virtio_dev *d, unsigned n)
{
	static struct virtq_chain c;
	of(d)->kicked++;
	while (virtqueue_pop(&d->vq[n], &c) > 0)
		virtqueue_push(&d->vq[n], c.head, 1);
	virtqueue_flush(&d->vq[n]);
}

static void dev_start(struct virtio_dev *d, unsigned n) { of(d)->started++; (void)n; }
static void dev_stop(struct virtio_dev *d, unsigned n) { of(d)->stopped++; (void)n; }
static void dev_reset(struct virtio_dev *d) { of(d)->resets++; }

static const struct virtio_dev_ops ops = {
	.name = "test", .features = dev_features, .config = dev_config, .queue_start = dev_start, .queue_kick = dev_kick,
	.queue_stop = dev_stop, .reset = dev_reset,
};

static void on_closed(void *user, const char *why)
{
	struct world *w = user;
	w->closed = true;
	w->why = why;
}

static void spin(struct world *w)
{
	for (int i = 0; i < 4; i++)
		assert_int_equal(evloop_once(w->loop, 0), 0);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err e = ERR_INIT;
	int s[2];
	w->loop = evloop_new();
	w->ram.fd = -1;
	assert_int_equal(guest_ram_open(&w->ram, RAM, &e), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	fcntl(s[0], F_SETFL, O_NONBLOCK);
	w->fd = s[0];
	w->dev = (struct virtio_dev){.ops = &ops, .nqueues = 2, .vq = w->vq};
	struct vhost_user_attr a = {.loop = w->loop, .fd = s[1], .dev = &w->dev, .ram = &w->ram, .closed = on_closed, .user = w};
	w->u = vhost_user_new(&a);
	assert_non_null(w->u);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	vhost_user_free(w->u);
	evloop_free(w->loop);
	guest_ram_close(&w->ram);
	close(w->fd);
	free(w);
	return 0;
}

static void send_raw(struct world *w, uint32_t request, uint32_t flags, uint32_t size, const void *payload, size_t len,
		     const int *fds, size_t nfds)
{
	uint8_t m[1024];
	struct vhu_head h = {request, flags, size};
	memcpy(m, &h, sizeof(h));
	if (len)
		memcpy(m + sizeof(h), payload, len);
	assert_int_equal(usock_send(w->fd, m, sizeof(h) + len, fds, nfds), 0);
	spin(w);
}

static void tell(struct world *w, uint32_t request, const void *payload, uint32_t len, const int *fds, size_t nfds)
{
	send_raw(w, request, VHU_VERSION, len, payload, len, fds, nfds);
}

static void tell_u64(struct world *w, uint32_t request, uint64_t v) { tell(w, request, &v, sizeof(v), NULL, 0); }

static void tell_state(struct world *w, uint32_t request, uint32_t index, uint32_t num)
{
	struct vhu_vring_state s = {index, num};
	tell(w, request, &s, sizeof(s), NULL, 0);
}

static uint64_t reply_u64(struct world *w, uint32_t request)
{
	struct { struct vhu_head h; uint8_t p[8]; } m;
	uint64_t v;
	assert_int_equal(read(w->fd, &m, sizeof(m)), sizeof(m));
	assert_int_equal(m.h.request, request);
	assert_int_equal(m.h.flags, VHU_VERSION | VHU_FLAG_REPLY);
	assert_int_equal(m.h.size, 8);
	memcpy(&v, m.p, sizeof(v));
	return v;
}

static void send_memory(struct world *w)
{
	struct vhu_mem_table t = {.n = 2, .region = {{0, 0xf0000, USER, 0}, {0xf0000, RAM - 0xf0000, USER + 0xf0000, 0xf0000}}};
	int fds[2] = {w->ram.fd, w->ram.fd};
	tell(w, VHU_SET_MEM_TABLE, &t, 8 + 2 * sizeof(t.region[0]), fds, 2);
}

static void send_vring_fd(struct world *w, uint32_t request, uint64_t index, int fd)
{
	tell(w, request, &index, sizeof(index), &fd, 1);
}

// A queue of 8 entries at guest address 4096, up to the enabling.
static void send_ring(struct world *w, uint32_t index, int kick, int call)
{
	struct vhu_vring_addr a = {.index = index, .desc = USER + 4096, .avail = USER + 8192, .used = USER + 12288};
	tell_state(w, VHU_SET_VRING_NUM, index, 8);
	tell_state(w, VHU_SET_VRING_BASE, index, 0);
	tell(w, VHU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0);
	send_vring_fd(w, VHU_SET_VRING_KICK, index, kick);
	send_vring_fd(w, VHU_SET_VRING_CALL, index, call);
}

static void negotiation(void **state)
{
	struct world *w = *state;
	tell(w, VHU_GET_FEATURES, NULL, 0, NULL, 0);
	assert_int_equal(reply_u64(w, VHU_GET_FEATURES), FEATURES | 1);
	tell(w, VHU_GET_PROTOCOL_FEATURES, NULL, 0, NULL, 0);
	uint64_t p = reply_u64(w, VHU_GET_PROTOCOL_FEATURES);
	assert_true(p >> VHU_PF_CONFIG & 1);
	tell_u64(w, VHU_SET_PROTOCOL_FEATURES, p);
	tell(w, VHU_GET_QUEUE_NUM, NULL, 0, NULL, 0);
	assert_int_equal(reply_u64(w, VHU_GET_QUEUE_NUM), 2);
	uint64_t f = FEATURES;
	send_raw(w, VHU_SET_FEATURES, VHU_VERSION | VHU_FLAG_NEED_REPLY, 8, &f, 8, NULL, 0);
	assert_int_equal(reply_u64(w, VHU_SET_FEATURES), 0);
	struct vhu_config c = {.offset = 3, .size = 3};
	send_raw(w, VHU_SET_CONFIG, VHU_VERSION | VHU_FLAG_NEED_REPLY, 15, &c, 15, NULL, 0);
	assert_int_equal(reply_u64(w, VHU_SET_CONFIG), 1);   // refused
	tell(w, VHU_GET_CONFIG, &c, 15, NULL, 0);
	uint8_t reply[64];
	assert_int_equal(read(w->fd, reply, sizeof(reply)), 12 + 15);
	assert_memory_equal(reply + 24, "fig", 3);
	assert_false(w->closed);
}

static void message_in_pieces(void **state)
{
	struct world *w = *state;
	struct { struct vhu_head h; uint32_t index, num; } m = {{VHU_SET_VRING_NUM, VHU_VERSION, 8}, 0, 8};
	for (size_t i = 0; i < sizeof(m); i++) {
		assert_int_equal(write(w->fd, (char *)&m + i, 1), 1);
		spin(w);
	}
	tell(w, VHU_GET_QUEUE_NUM, NULL, 0, NULL, 0);
	assert_int_equal(reply_u64(w, VHU_GET_QUEUE_NUM), 2);
}

static void ring_runs(void **state)
{
	struct world *w = *state;
	int kick = eventfd(0, EFD_NONBLOCK), call = eventfd(0, EFD_NONBLOCK);
	uint64_t n, one = 1;
	struct vring_desc *desc = (void *)(w->ram.base + 4096);
	struct vring_avail *avail = (void *)(w->ram.base + 8192);
	struct vring_used *used = (void *)(w->ram.base + 12288);
	tell_u64(w, VHU_SET_FEATURES, FEATURES);
	send_memory(w);
	send_ring(w, 1, kick, call);
	assert_int_equal(w->started, 0);
	tell_state(w, VHU_SET_VRING_ENABLE, 1, 1);
	assert_int_equal(w->started, 1);
	desc[3] = (struct vring_desc){.addr = 0x20000, .len = 16};
	avail->ring[0] = 3;
	avail->idx = 1;
	assert_int_equal(write(kick, &one, sizeof(one)), sizeof(one));
	spin(w);
	assert_int_equal(w->kicked, 1);
	assert_int_equal(used->idx, 1);
	assert_int_equal(used->ring[0].id, 3);
	assert_int_equal(read(call, &n, sizeof(n)), sizeof(n));
	avail->ring[1] = 3;
	avail->idx = 2;
	assert_int_equal(write(kick, &one, sizeof(one)), sizeof(one));   // a second time, though nobody reads the counter
	spin(w);
	assert_int_equal(used->idx, 2);
	tell_state(w, VHU_GET_VRING_BASE, 1, 0);
	assert_int_equal(w->stopped, 1);
	struct { struct vhu_head h; struct vhu_vring_state s; } m;
	assert_int_equal(read(w->fd, &m, sizeof(m)), sizeof(m));
	assert_int_equal(m.s.num, 2);
	assert_int_equal(write(kick, &one, sizeof(one)), sizeof(one));
	spin(w);
	assert_int_equal(w->kicked, 2);
	assert_false(w->closed);
	close(kick), close(call);
}

static void broken_ring_is_told(void **state)
{
	struct world *w = *state;
	int kick = eventfd(0, EFD_NONBLOCK), call = eventfd(0, EFD_NONBLOCK), err = eventfd(0, EFD_NONBLOCK);
	uint64_t n, one = 1;
	struct vring_avail *avail = (void *)(w->ram.base + 8192);
	tell_u64(w, VHU_SET_FEATURES, FEATURES);
	send_memory(w);
	send_ring(w, 0, kick, call);
	send_vring_fd(w, VHU_SET_VRING_ERR, 0, err);
	tell_state(w, VHU_SET_VRING_ENABLE, 0, 1);
	avail->idx = 100;
	assert_int_equal(write(kick, &one, sizeof(one)), sizeof(one));
	spin(w);
	assert_int_equal(read(err, &n, sizeof(n)), sizeof(n));
	assert_non_null(w->vq[0].broken);
	assert_false(w->closed);
	close(kick), close(call), close(err);
}

static void without_protocol_features_rings_start_enabled(void **state)
{
	struct world *w = *state;
	int kick = eventfd(0, EFD_NONBLOCK), call = eventfd(0, EFD_NONBLOCK);
	tell_u64(w, VHU_SET_FEATURES, 1ull << VIRTIO_F_VERSION_1);
	send_memory(w);
	send_ring(w, 0, kick, call);
	assert_int_equal(w->started, 1);
	tell(w, VHU_RESET_OWNER, NULL, 0, NULL, 0);
	assert_int_equal(w->stopped, 1);
	assert_int_equal(w->resets, 1);
	close(kick), close(call);
}

static void config_change_is_sent(void **state)
{
	struct world *w = *state;
	int s[2];
	struct vhu_head h;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	w->dev.config_changed(w->dev.config_user);   // nobody to tell yet
	tell(w, VHU_SET_BACKEND_REQ_FD, NULL, 0, &s[1], 1);
	w->dev.config_changed(w->dev.config_user);
	assert_int_equal(read(s[0], &h, sizeof(h)), sizeof(h));
	assert_int_equal(h.request, VHU_BACKEND_CONFIG_CHANGE);
	assert_int_equal(h.size, 0);
	close(s[0]), close(s[1]);
}

static void expect_closed(struct world *w, const char *why)
{
	assert_true(w->closed);
	if (why)
		assert_non_null(strstr(w->why, why));
	else
		assert_null(w->why);
}

static void peer_leaves(void **state)
{
	struct world *w = *state;
	shutdown(w->fd, SHUT_WR);
	spin(w);
	expect_closed(w, NULL);
	assert_int_equal(w->resets, 1);
}

static void bad_messages(void **state)
{
	static const struct { uint32_t request, flags, size; uint8_t payload[24]; size_t len; const char *why; } bad[] = {
		{63, 1, 0, "", 0, "unknown"},
		{1000000, 1, 0, "", 0, "unknown"},
		{0, 1, 0, "", 0, "unknown"},
		{VHU_GET_FEATURES, 0, 0, "", 0, "flags"},
		{VHU_GET_FEATURES, 2, 0, "", 0, "flags"},
		{VHU_GET_FEATURES, 5, 0, "", 0, "flags"},
		{VHU_GET_FEATURES, 1, 8, "", 8, "length"},
		{VHU_SET_FEATURES, 1, 4, "", 4, "length"},
		{VHU_SET_FEATURES, 1, 8, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "not offered"},
		{VHU_SET_PROTOCOL_FEATURES, 1, 8, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "not offered"},
		{VHU_SET_MEM_TABLE, 1, 100000, "", 0, "too long"},
		{VHU_SET_MEM_TABLE, 1, UINT32_MAX, "", 0, "too long"},
		{VHU_SET_MEM_TABLE, 1, 4, "\1", 4, "do not agree"},
		{VHU_SET_MEM_TABLE, 1, 8, "\1", 8, "do not agree"},
		{VHU_SET_MEM_TABLE, 1, 8, "\xff\xff\xff\xff", 8, "do not agree"},
		{VHU_SET_VRING_NUM, 1, 8, "\2\0\0\0\10", 8, "index"},
		{VHU_SET_VRING_NUM, 1, 8, "\0\0\0\0\7", 8, "power"},
		{VHU_SET_VRING_NUM, 1, 8, "\0\0\0\0\0\10", 8, "power"},
		{VHU_SET_VRING_BASE, 1, 8, "\0\0\0\0\0\0\1", 8, "base"},
		{VHU_GET_VRING_BASE, 1, 8, "\377\377\377\377", 8, "index"},
		{VHU_SET_VRING_ENABLE, 1, 8, "\2", 8, "index"},
		{VHU_SET_VRING_KICK, 1, 8, "", 8, "number of descriptors"},
		{VHU_SET_VRING_KICK, 1, 8, "\0\1", 8, "polled"},
		{VHU_SET_VRING_CALL, 1, 8, "\7", 8, "index"},
		{VHU_SET_VRING_ERR, 1, 8, "", 8, "number of descriptors"},
		{VHU_SET_BACKEND_REQ_FD, 1, 0, "", 0, "missing"},
		{VHU_GET_CONFIG, 1, 4, "", 4, "length"},
		{VHU_GET_CONFIG, 1, 12, "\0\0\0\0\4", 12, "length"},
		{VHU_GET_CONFIG, 1, 13, "\0\1\0\0\1", 13, "length"},
	};
	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct world *w;
		setup((void **)&w);
		send_raw(w, bad[i].request, bad[i].flags, bad[i].size, bad[i].payload, bad[i].len, NULL, 0);
		if (!w->closed || !w->why || !strstr(w->why, bad[i].why))
			fail_msg("message %u: closed=%d: %s", i, w->closed, w->why ? w->why : "-");
		teardown((void **)&w);
	}
}

static void foreign_memory(void **state)
{
	struct world *w = *state;
	int other = memfd_create("other", 0);
	assert_int_equal(ftruncate(other, RAM), 0);
	struct vhu_mem_table t = {.n = 1, .region = {{0, RAM, USER, 0}}};
	tell(w, VHU_SET_MEM_TABLE, &t, 40, &other, 1);
	expect_closed(w, "not this VM's memory");
	close(other);
}

static void memory_past_the_end(void **state)
{
	static const struct vhu_mem_region bad[] = {
		{0, RAM + 1, USER, 0}, {0, 4096, USER, RAM}, {0, RAM, USER, 1}, {0, UINT64_MAX, USER, 0},
		{UINT64_MAX - 4095, 8192, USER, 0}, {0, 8192, UINT64_MAX - 4095, 0}, {0, 1, USER, UINT64_MAX},
	};
	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct world *w;
		setup((void **)&w);
		struct vhu_mem_table t = {.n = 1, .region = {bad[i]}};
		tell(w, VHU_SET_MEM_TABLE, &t, 40, &w->ram.fd, 1);
		expect_closed(w, "past the end");
		teardown((void **)&w);
	}
}

static void ring_outside_memory(void **state)
{
	struct world *w = *state;
	int kick = eventfd(0, EFD_NONBLOCK), call = eventfd(0, EFD_NONBLOCK);
	tell_u64(w, VHU_SET_FEATURES, FEATURES);
	tell_state(w, VHU_SET_VRING_ENABLE, 0, 1);
	struct vhu_vring_addr a = {.index = 0, .desc = USER, .avail = USER + 8192, .used = USER + 12288};   // no memory told yet
	tell_state(w, VHU_SET_VRING_NUM, 0, 8);
	tell(w, VHU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0);
	send_vring_fd(w, VHU_SET_VRING_KICK, 0, kick);
	expect_closed(w, "outside guest memory");
	close(kick), close(call);
}

static void kick_that_cannot_be_watched(void **state)
{
	struct world *w = *state;
	int file = memfd_create("file", 0), call = eventfd(0, EFD_NONBLOCK);
	tell_u64(w, VHU_SET_FEATURES, FEATURES);
	send_memory(w);
	send_ring(w, 0, file, call);
	tell_state(w, VHU_SET_VRING_ENABLE, 0, 1);
	expect_closed(w, "cannot be watched");
	close(file), close(call);
}

static void too_many_descriptors(void **state)
{
	struct world *w = *state;
	int fds[9];
	for (int i = 0; i < 9; i++)
		fds[i] = w->ram.fd;
	tell(w, VHU_SET_OWNER, NULL, 0, fds, 9);
	expect_closed(w, "too many");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(negotiation), T(message_in_pieces), T(ring_runs), T(broken_ring_is_told),
		T(without_protocol_features_rings_start_enabled), T(config_change_is_sent), T(peer_leaves),
		cmocka_unit_test(bad_messages), T(foreign_memory), cmocka_unit_test(memory_past_the_end), T(ring_outside_memory),
		T(kick_that_cannot_be_watched), T(too_many_descriptors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
