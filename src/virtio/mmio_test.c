// SPDX-License-Identifier: Apache-2.0
// The MMIO transport with a device that gives every chain back.
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/evloop.h"
#include "virtio/mmio.h"
#include "virtio/virtq_fake.h"

#define FEATURE (1ull << 5)
#define VERSION_1 (1ull << VIRTIO_F_VERSION_1)

struct world {
	struct fake_ram ram;
	struct fake_ring ring[2];
	struct evloop *loop;
	struct virtio_dev dev;
	struct virtqueue vq[2];
	struct virtio_mmio *m;
	int irq;
	unsigned starts, stops, resets, config;
};

static struct world *world_of(struct virtio_dev *d) { return (struct world *)((char *)d - offsetof(struct world, dev)); }

static uint64_t features(const struct virtio_dev *d) { return (void)d, VIRTQ_FEATURES | FEATURE; }

static size_t config(const struct virtio_dev *d, void *out, size_t len)
{
	uint32_t v = world_of((struct virtio_dev *)d)->config;
	memcpy(out, &v, len < sizeof(v) ? len : sizeof(v));
	return sizeof(v);
}

static void kick(struct virtio_dev *d, unsigned n)
{
	struct virtq_chain c;
	while (virtqueue_pop(&d->vq[n], &c) == 1)
		virtqueue_push(&d->vq[n], c.head, 7);
	virtqueue_flush(&d->vq[n]);
}

static void start(struct virtio_dev *d, unsigned n)
{
	world_of(d)->starts++;
	kick(d, n);
}

static void stop(struct virtio_dev *d, unsigned n) { (void)n, world_of(d)->stops++; }
static void reset(struct virtio_dev *d) { world_of(d)->resets++; }

static const struct virtio_dev_ops ops = {.name = "fake", .id = 42, .features = features, .config = config,
	.queue_start = start, .queue_kick = kick, .queue_stop = stop, .reset = reset};

static void here(void *user, void (*fn)(void *arg), void *arg) { (void)user, fn(arg); }

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	fake_ram_init(&w->ram);
	for (int i = 0; i < 2; i++)
		fake_ring_init(&w->ring[i], &w->ram);
	w->config = 0x11223344;
	w->dev = (struct virtio_dev){.ops = &ops, .nqueues = 2, .vq = w->vq};
	w->loop = evloop_new();
	w->irq = eventfd(0, EFD_NONBLOCK);
	struct virtio_mmio_attr a = {.loop = w->loop, .dev = &w->dev, .mem = &w->ram.mem, .irq_fd = w->irq, .call = here};
	*state = w;
	return virtio_mmio_new(&a, &w->m);
}

static int teardown(void **state)
{
	struct world *w = *state;
	virtio_mmio_free(w->m);
	evloop_free(w->loop);
	close(w->irq);
	fake_ram_fini(&w->ram);
	free(w);
	return 0;
}

static uint32_t get(struct world *w, unsigned off) { return (uint32_t)virtio_mmio_read(w->m, off, 4); }
static void put(struct world *w, unsigned off, uint32_t v) { virtio_mmio_write(w->m, off, 4, v); }

static bool interrupted(struct world *w)
{
	uint64_t n;
	return read(w->irq, &n, sizeof(n)) == sizeof(n);
}

static void agree(struct world *w, uint64_t f)
{
	put(w, VIRTIO_MMIO_STATUS, 0);
	put(w, VIRTIO_MMIO_STATUS, 3);
	for (unsigned i = 0; i < 2; i++) {
		put(w, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		put(w, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(f >> (32 * i)));
	}
	put(w, VIRTIO_MMIO_STATUS, 11);
}

static void queue(struct world *w, unsigned n, const struct virtq_ring *r)
{
	put(w, VIRTIO_MMIO_QUEUE_SEL, n);
	put(w, VIRTIO_MMIO_QUEUE_NUM, r->size);
	put(w, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)r->desc);
	put(w, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(r->desc >> 32));
	put(w, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)r->avail);
	put(w, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(r->avail >> 32));
	put(w, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)r->used);
	put(w, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(r->used >> 32));
	put(w, VIRTIO_MMIO_QUEUE_READY, 1);
}

static void begin(struct world *w)
{
	agree(w, VERSION_1 | FEATURE);
	queue(w, 0, &w->ring[0].at);
	queue(w, 1, &w->ring[1].at);
	put(w, VIRTIO_MMIO_STATUS, 15);
}

static void test_identity(void **state)
{
	struct world *w = *state;
	assert_int_equal(get(w, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(get(w, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(get(w, VIRTIO_MMIO_DEVICE_ID), 42);
	put(w, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	assert_int_equal(get(w, VIRTIO_MMIO_DEVICE_FEATURES), 1);
	put(w, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	assert_int_equal(get(w, VIRTIO_MMIO_DEVICE_FEATURES), 0);
	put(w, VIRTIO_MMIO_QUEUE_SEL, 2);
	assert_int_equal(get(w, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
}

static void test_config(void **state)
{
	struct world *w = *state;
	assert_int_equal(get(w, 0x100), 0x11223344);
	assert_int_equal(virtio_mmio_read(w->m, 0x101, 1), 0x33);
	assert_int_equal(virtio_mmio_read(w->m, 0x101, 4), 0x112233);   // zeros behind it
	assert_int_equal(virtio_mmio_read(w->m, 0x1fc, 4), 0);
	uint32_t generation = get(w, VIRTIO_MMIO_CONFIG_GENERATION);
	w->config = 5;
	w->dev.config_changed(w->dev.config_user);
	assert_false(interrupted(w));                               // nobody there to tell
	assert_int_equal(get(w, 0x100), 5);
	assert_int_not_equal(get(w, VIRTIO_MMIO_CONFIG_GENERATION), generation);
	begin(w);
	w->dev.config_changed(w->dev.config_user);
	assert_true(interrupted(w));
	assert_true(get(w, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG);
}

static void test_features(void **state)
{
	struct world *w = *state;
	agree(w, FEATURE);
	assert_int_equal(get(w, VIRTIO_MMIO_STATUS), 3);
	agree(w, VERSION_1 | 1ull << 50);
	assert_int_equal(get(w, VIRTIO_MMIO_STATUS), 3);
	put(w, VIRTIO_MMIO_STATUS, 15);
	assert_int_equal(get(w, VIRTIO_MMIO_STATUS), 3);
	assert_int_equal(w->starts, 0);
	agree(w, VERSION_1 | FEATURE);
	put(w, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	put(w, VIRTIO_MMIO_DRIVER_FEATURES, 0);                     // too late
	put(w, VIRTIO_MMIO_STATUS, 15);
	assert_int_equal(w->dev.driver_features, VERSION_1 | FEATURE);
}

static void test_serves(void **state)
{
	struct world *w = *state;
	uint32_t len = 0;
	begin(w);
	assert_int_equal(w->starts, 2);
	fake_offer(&w->ring[1], fake_desc(&w->ring[1], fake_alloc(&w->ram, 64), 64, 2));
	put(w, VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	put(w, VIRTIO_MMIO_QUEUE_NOTIFY, 2);                        // no such queue
	assert_int_equal(evloop_once(w->loop, 1000), 0);
	assert_int_equal(fake_take(&w->ring[1], &len), 0);
	assert_int_equal(len, 7);
	assert_true(interrupted(w));
	assert_int_equal(get(w, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	put(w, VIRTIO_MMIO_INTERRUPT_ACK, 3);
	assert_int_equal(get(w, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

static void test_running_ring_stays(void **state)
{
	struct world *w = *state;
	begin(w);
	queue(w, 0, &w->ring[1].at);
	put(w, VIRTIO_MMIO_STATUS, 15);
	assert_int_equal(w->starts, 2);
	put(w, VIRTIO_MMIO_QUEUE_SEL, 0);
	put(w, VIRTIO_MMIO_QUEUE_READY, 0);
	assert_int_equal(w->stops, 1);
	put(w, VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(w->starts, 3);
	put(w, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(w->stops, 3);
	assert_int_equal(w->resets, 2);                             // the first one in begin
	assert_int_equal(get(w, VIRTIO_MMIO_STATUS), 0);
	assert_int_equal(get(w, VIRTIO_MMIO_QUEUE_READY), 0);
}

static void test_bad_ring_needs_reset(void **state)
{
	struct world *w = *state;
	const struct virtq_ring bad[] = {
		{.size = 3, .desc = FAKE_GPA, .avail = FAKE_GPA, .used = FAKE_GPA},
		{.size = 16, .desc = 0, .avail = FAKE_GPA, .used = FAKE_GPA},
		{.size = 16, .desc = UINT64_MAX - 15, .avail = FAKE_GPA, .used = FAKE_GPA},
		{.size = 16, .desc = FAKE_GPA + FAKE_RAM - 16, .avail = FAKE_GPA, .used = FAKE_GPA},
		{.size = 512, .desc = FAKE_GPA, .avail = FAKE_GPA, .used = FAKE_GPA},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		agree(w, VERSION_1);
		queue(w, 0, &bad[i]);
		put(w, VIRTIO_MMIO_STATUS, 15);
		assert_true(get(w, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
		assert_true(interrupted(w));
	}
	assert_int_equal(w->starts, 0);
	begin(w);
	assert_int_equal(get(w, VIRTIO_MMIO_STATUS), 15);
	fake_offer(&w->ring[0], 999);
	put(w, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	assert_int_equal(evloop_once(w->loop, 1000), 0);
	assert_true(get(w, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

// The driver's side of the second world is that of the first: a VM that was saved here and restored there.
static void move(struct world *from, struct world *to, struct virtio_mmio_state *s)
{
	struct err e = ERR_INIT;
	virtio_mmio_pause(from->m);
	virtio_mmio_save(from->m, s);
	memcpy(to->ram.base, from->ram.base, FAKE_RAM);
	assert_int_equal(virtio_mmio_restore(to->m, s, &e), 0);
	for (int i = 0; i < 2; i++) {
		to->ring[i].seen = from->ring[i].seen;
		to->ring[i].free = from->ring[i].free;
	}
}

static void test_saved_and_restored(void **state)
{
	struct world *w = *state, *clone;
	struct virtio_mmio_state s;
	uint32_t len = 0;
	setup((void **)&clone);
	begin(w);
	for (int i = 0; i < 3; i++) {
		fake_offer(&w->ring[0], fake_desc(&w->ring[0], fake_alloc(&w->ram, 64), 64, 2));
		put(w, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		assert_int_equal(evloop_once(w->loop, 0), 0);
	}
	fake_offer(&w->ring[0], fake_desc(&w->ring[0], fake_alloc(&w->ram, 64), 64, 2));   // its kick comes too late
	clone->config = 77;
	move(w, clone, &s);
	assert_int_equal(w->stops, 2);
	assert_int_equal(evloop_once(w->loop, 0), 0);
	assert_int_equal(w->ring[0].used->idx, 3);                  // nothing more is done here
	assert_false(interrupted(clone));
	assert_int_equal(get(clone, VIRTIO_MMIO_STATUS), 15);
	assert_int_equal(clone->ring[0].used->idx, 3);
	virtio_mmio_resume(clone->m);
	assert_true(interrupted(clone));
	assert_int_equal(get(clone, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG | VIRTIO_MMIO_INT_VRING);
	assert_int_equal(clone->starts, 0);                         // not before its event loop turns
	assert_int_equal(evloop_once(clone->loop, 0), 0);
	assert_int_equal(clone->starts, 2);
	assert_int_equal(clone->ring[0].used->idx, 4);
	for (int i = 0; i < 4; i++)
		assert_int_not_equal(fake_take(&clone->ring[0], &len), -1);
	assert_int_equal(fake_take(&clone->ring[0], &len), -1);
	put(clone, VIRTIO_MMIO_STATUS, 0);
	begin(clone);
	assert_int_equal(clone->starts, 4);
	teardown((void **)&clone);
}

static void test_paused_and_resumed(void **state)
{
	struct world *w = *state;
	begin(w);
	virtio_mmio_pause(w->m);
	fake_offer(&w->ring[1], fake_desc(&w->ring[1], fake_alloc(&w->ram, 64), 64, 2));
	put(w, VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	assert_int_equal(evloop_once(w->loop, 0), 0);
	assert_int_equal(w->ring[1].used->idx, 0);
	virtio_mmio_resume(w->m);
	assert_int_equal(evloop_once(w->loop, 0), 0);
	assert_int_equal(w->ring[1].used->idx, 1);
}

static void refuse(struct world *w, const struct virtio_mmio_state *s, const char *sentence)
{
	struct err e = ERR_INIT;
	assert_int_equal(virtio_mmio_restore(w->m, s, &e), -22);
	if (!strstr(e.text, sentence))
		fail_msg("\"%s\" instead of \"%s\"", e.text, sentence);
	assert_int_equal(get(w, VIRTIO_MMIO_STATUS), 0);
}

static void test_what_is_not_restored(void **state)
{
	struct world *w = *state, *clone;
	struct virtio_mmio_state s, bad;
	setup((void **)&clone);
	begin(w);
	virtio_mmio_pause(w->m);
	virtio_mmio_save(w->m, &s);
	bad = s, bad.device_id = 2;
	refuse(clone, &bad, "a device of type 2 was saved, and here is one of type 42");
	bad = s, bad.nqueues = 3;
	refuse(clone, &bad, "saved with 3 queues and has 2 here");
	bad = s, bad.driver_features |= 1ull << 20;
	refuse(clone, &bad, "features (0x100000) that the device does not have");
	bad = s, bad.queue[1].num = 3;
	refuse(clone, &bad, "the saved ring of queue 1 cannot be");
	bad = s, bad.queue[0].used = 1ull << 40;
	refuse(clone, &bad, "the saved ring of queue 0 cannot be");
	bad = s, bad.config_len = 9999;
	refuse(clone, &bad, "cannot be");
	struct err e = ERR_INIT;
	assert_int_equal(virtio_mmio_restore(clone->m, &s, &e), 0);
	teardown((void **)&clone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_config, setup, teardown),
		cmocka_unit_test_setup_teardown(test_features, setup, teardown),
		cmocka_unit_test_setup_teardown(test_serves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_running_ring_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_ring_needs_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_saved_and_restored, setup, teardown),
		cmocka_unit_test_setup_teardown(test_paused_and_resumed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_not_restored, setup, teardown),
	};
	return cmocka_run_group_tests_name("virtio/mmio", tests, NULL, NULL);
}
