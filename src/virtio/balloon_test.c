// SPDX-License-Identifier: Apache-2.0
// The balloon and the random number generator with a driver in this process.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "virtio/balloon.h"
#include "virtio/rng.h"
#include "virtio/virtq_fake.h"

#define PAGE 4096u

struct world {
	struct fake_ram ram;
	struct fake_ring ring[3];
	struct balloon *b;
	unsigned calls, config_changes;
	size_t bytes;
	uint8_t *first;
};

static void discard(void *user, void *host, size_t len)
{
	struct world *w = user;
	if (!w->calls++)
		w->first = host;
	w->bytes += len;
	memset(host, 0, len);   // must be memory of the guest: the sanitizers watch
}

static void changed(void *user) { ((struct world *)user)->config_changes++; }

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct balloon_attr a = {.discard = discard, .user = w};
	fake_ram_init(&w->ram);
	free(w->ram.base);
	w->ram.base = aligned_alloc(PAGE, FAKE_RAM);   // pages here are pages there
	memset(w->ram.base, 0, FAKE_RAM);
	w->ram.mem.r[0].host = w->ram.base;
	assert_int_equal(balloon_new(&a, &w->b), 0);
	struct virtio_dev *d = balloon_dev(w->b);
	for (int i = 0; i < 3; i++) {
		fake_ring_init(&w->ring[i], &w->ram);
		assert_int_equal(fake_ring_start(&w->ring[i], &d->vq[i], 0), 0);
	}
	d->config_changed = changed;
	d->config_user = w;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	balloon_free(w->b);
	fake_ram_fini(&w->ram);
	free(w);
	return 0;
}

static void give_pages(struct world *w, unsigned queue, const uint32_t *pfn, unsigned n)
{
	gpa_t at = fake_alloc(&w->ram, n * 4);
	memcpy(fake_at(&w->ram, at), pfn, n * 4);
	fake_offer(&w->ring[queue], fake_desc(&w->ring[queue], at, n * 4, 0));
	balloon_dev(w->b)->ops->queue_kick(balloon_dev(w->b), queue);
	assert_int_not_equal(fake_take(&w->ring[queue], NULL), -1);
}

static void inflates_neighbours_together(void **state)
{
	struct world *w = *state;
	uint32_t base = FAKE_GPA / PAGE, pfn[] = {base + 20, base + 21, base + 22, base + 40, 5, UINT32_MAX, base + 41};
	give_pages(w, 0, pfn, 7);
	assert_int_equal(w->calls, 3);
	assert_int_equal(w->bytes, 5 * PAGE);
	assert_ptr_equal(w->first, w->ram.base + 20 * PAGE);
	give_pages(w, 1, pfn, 7);      // deflation needs nothing
	assert_int_equal(w->calls, 3);
}

static void reports_whole_pages(void **state)
{
	struct world *w = *state;
	struct virtio_dev *d = balloon_dev(w->b);
	fake_desc(&w->ring[2], FAKE_GPA + 30 * PAGE + 100, 3 * PAGE, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT);
	fake_desc(&w->ring[2], FAKE_GPA + 50 * PAGE, 2 * PAGE, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT);
	fake_desc(&w->ring[2], FAKE_GPA + 52 * PAGE, 100, VRING_DESC_F_WRITE);
	fake_offer(&w->ring[2], 0);
	d->ops->queue_kick(d, 2);
	assert_int_equal(fake_take(&w->ring[2], NULL), 0);
	assert_int_equal(w->bytes, 4 * PAGE);
	assert_ptr_equal(w->first, w->ram.base + 31 * PAGE);
	assert_int_equal(balloon_reported(w->b), 4 * PAGE);
}

static void target_and_actual(void **state)
{
	struct world *w = *state;
	struct virtio_dev *d = balloon_dev(w->b);
	uint32_t c[2] = {0}, v = 77;
	balloon_set(w->b, 100 * PAGE);
	assert_int_equal(w->config_changes, 1);
	assert_int_equal(d->ops->config(d, c, sizeof(c)), 8);
	assert_int_equal(c[0], 100);
	d->ops->config_write(d, 4, &v, 4);
	assert_int_equal(balloon_actual(w->b), 77 * PAGE);
	d->ops->config_write(d, 0, &v, 4);      // not the driver's
	d->ops->config_write(d, 6, &v, 4);      // not wholly inside
	d->ops->config_write(d, 200, &v, 4);
	d->ops->config(d, c, sizeof(c));
	assert_int_equal(c[0], 100);
	assert_int_equal(c[1], 77);
	d->ops->reset(d);
	assert_int_equal(balloon_actual(w->b), 0);
	d->ops->restored(d, c, sizeof(c));
	assert_int_equal(balloon_actual(w->b), 77 * PAGE);
}

static void wrong_direction_stops_the_queue(void **state)
{
	struct world *w = *state;
	struct virtio_dev *d = balloon_dev(w->b);
	for (unsigned q = 0; q < 3; q++) {
		fake_offer(&w->ring[q], fake_desc(&w->ring[q], FAKE_GPA + 30 * PAGE, PAGE, q == 2 ? 0 : VRING_DESC_F_WRITE));
		d->ops->queue_kick(d, q);
		assert_int_equal(w->ring[q].failures, 1);
	}
	assert_int_equal(w->calls, 0);
}

static void random_bytes(void **state)
{
	struct world *w = *state;
	struct rng *r = rng_new();
	struct virtio_dev *d = rng_dev(r);
	uint32_t len = 0;
	gpa_t at = fake_alloc(&w->ram, 200);
	assert_int_equal(fake_ring_start(&w->ring[0], &d->vq[0], 0), 0);
	fake_desc(&w->ring[0], at, 60, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT);
	fake_desc(&w->ring[0], at + 100, 60, VRING_DESC_F_WRITE);
	fake_offer(&w->ring[0], 0);
	d->ops->queue_kick(d, 0);
	assert_int_equal(fake_take(&w->ring[0], &len), 0);
	assert_int_equal(len, 120);
	uint8_t *p = fake_at(&w->ram, at), zeros[60] = {0};
	assert_memory_not_equal(p, zeros, 60);
	assert_memory_not_equal(p + 100, zeros, 60);
	assert_memory_equal(p + 60, zeros, 40);
	fake_offer(&w->ring[0], fake_desc(&w->ring[0], FAKE_GPA, FAKE_RAM, VRING_DESC_F_WRITE));   // all of memory
	w->ring[0].avail->idx = 2;
	d->ops->queue_kick(d, 0);
	fake_offer(&w->ring[0], fake_desc(&w->ring[0], at, 60, 0));
	d->ops->queue_kick(d, 0);
	assert_int_equal(w->ring[0].failures, 1);
	rng_free(r);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(inflates_neighbours_together), T(reports_whole_pages), T(target_and_actual), T(wrong_direction_stops_the_queue),
		T(random_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
