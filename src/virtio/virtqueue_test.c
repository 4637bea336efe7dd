// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "virtio/virtq_fake.h"

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

struct world {
	struct fake_ram ram;
	struct fake_ring r;
	struct virtqueue q;
	struct virtq_chain c;
};

static int setup_with(void **state, uint64_t features)
{
	struct world *w = calloc(1, sizeof(*w));
	fake_ram_init(&w->ram);
	fake_ring_init(&w->r, &w->ram);
	assert_int_equal(fake_ring_start(&w->r, &w->q, features), 0);
	*state = w;
	return 0;
}

static int setup(void **state) { return setup_with(state, 1ull << VIRTIO_RING_F_INDIRECT_DESC); }
static int setup_event(void **state) { return setup_with(state, VIRTQ_FEATURES); }
static int setup_plain(void **state) { return setup_with(state, 0); }

static int teardown(void **state)
{
	struct world *w = *state;
	fake_ram_fini(&w->ram);
	free(w);
	return 0;
}

static void expect_broken(struct world *w, const char *why)
{
	assert_int_equal(virtqueue_pop(&w->q, &w->c), -EPROTO);
	assert_int_equal(w->r.failures, 1);
	assert_non_null(strstr(w->r.why, why));
	assert_int_equal(virtqueue_pop(&w->q, &w->c), -EPROTO);   // and stays so, told once
	assert_int_equal(w->r.failures, 1);
	virtqueue_push(&w->q, 0, 0);
	assert_int_equal(w->r.used->idx, 0);
}

static void chain_is_read_in_order(void **state)
{
	struct world *w = *state;
	gpa_t a = fake_alloc(&w->ram, 16), b = fake_alloc(&w->ram, 100), s = fake_alloc(&w->ram, 1);
	uint16_t head = fake_desc(&w->r, a, 16, NEXT);
	fake_desc(&w->r, b, 100, NEXT | WRITE);
	fake_desc(&w->r, s, 1, WRITE);
	assert_int_equal(virtqueue_pop(&w->q, &w->c), 0);
	fake_offer(&w->r, head);
	assert_int_equal(virtqueue_pop(&w->q, &w->c), 1);
	assert_int_equal(w->c.head, head);
	assert_int_equal(w->c.nout, 1);
	assert_int_equal(w->c.nin, 2);
	assert_int_equal(w->c.out_len, 16);
	assert_int_equal(w->c.in_len, 101);
	assert_ptr_equal(w->c.iov[0].iov_base, fake_at(&w->ram, a));
	assert_ptr_equal(w->c.iov[2].iov_base, fake_at(&w->ram, s));
	assert_int_equal(virtqueue_pop(&w->q, &w->c), 0);
	uint32_t len = 0;
	virtqueue_push(&w->q, head, 77);
	assert_int_equal(fake_take(&w->r, &len), head);
	assert_int_equal(len, 77);
}

static void indirect_table(void **state)
{
	struct world *w = *state;
	gpa_t table = fake_alloc(&w->ram, 64), data = fake_alloc(&w->ram, 64);
	struct vring_desc *t = fake_at(&w->ram, table);
	t[0] = (struct vring_desc){.addr = data, .len = 10, .flags = NEXT, .next = 2};
	t[2] = (struct vring_desc){.addr = data + 10, .len = 20, .flags = WRITE};
	fake_offer(&w->r, fake_desc(&w->r, table, 64, INDIRECT));
	assert_int_equal(virtqueue_pop(&w->q, &w->c), 1);
	assert_int_equal(w->c.out_len, 10);
	assert_int_equal(w->c.in_len, 20);
}

static void indirect_in_indirect(void **state)
{
	struct world *w = *state;
	gpa_t table = fake_alloc(&w->ram, 64);
	struct vring_desc *t = fake_at(&w->ram, table);
	t[0] = (struct vring_desc){.addr = table, .len = 64, .flags = INDIRECT};
	fake_offer(&w->r, fake_desc(&w->r, table, 64, INDIRECT));
	expect_broken(w, "indirect");
}

static void indirect_not_negotiated(void **state)
{
	struct world *w = *state;
	gpa_t table = fake_alloc(&w->ram, 64);
	fake_offer(&w->r, fake_desc(&w->r, table, 64, INDIRECT));
	expect_broken(w, "indirect");
}

static void indirect_bad_length(void **state)
{
	struct world *w = *state;
	gpa_t table = fake_alloc(&w->ram, 64);
	fake_offer(&w->r, fake_desc(&w->r, table, 63, INDIRECT));
	expect_broken(w, "length");
}

static void indirect_outside(void **state)
{
	struct world *w = *state;
	fake_offer(&w->r, fake_desc(&w->r, FAKE_GPA + FAKE_RAM - 16, 32, INDIRECT));
	expect_broken(w, "outside");
}

static void indirect_next_out_of_table(void **state)
{
	struct world *w = *state;
	gpa_t table = fake_alloc(&w->ram, 64);
	struct vring_desc *t = fake_at(&w->ram, table);
	t[0] = (struct vring_desc){.addr = table, .len = 1, .flags = NEXT, .next = 4};
	fake_offer(&w->r, fake_desc(&w->r, table, 64, INDIRECT));
	expect_broken(w, "out of range");
}

static void loop_is_found(void **state)
{
	struct world *w = *state;
	gpa_t a = fake_alloc(&w->ram, 16);
	uint16_t head = fake_desc(&w->r, a, 16, NEXT);
	fake_desc(&w->r, a, 16, NEXT);
	w->r.desc[1].next = head;
	fake_offer(&w->r, head);
	expect_broken(w, "loop");
}

static void buffers_outside_memory(void **state)
{
	static const struct { gpa_t at; uint32_t len; } bad[] = {
		{0, 1}, {FAKE_GPA - 1, 2}, {FAKE_GPA + FAKE_RAM, 1}, {FAKE_GPA + FAKE_RAM - 1, 2}, {UINT64_MAX, 1},
		{UINT64_MAX - 5, 100}, {FAKE_GPA, UINT32_MAX},
	};
	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct world *w;
		setup((void **)&w);
		fake_offer(&w->r, fake_desc(&w->r, bad[i].at, bad[i].len, 0));
		expect_broken(w, "outside");
		teardown((void **)&w);
	}
}

static void head_out_of_range(void **state)
{
	struct world *w = *state;
	fake_offer(&w->r, FAKE_SIZE);
	expect_broken(w, "out of range");
}

static void index_jumps(void **state)
{
	struct world *w = *state;
	w->r.avail->idx = FAKE_SIZE + 1;
	expect_broken(w, "jumped");
}

static void read_behind_write(void **state)
{
	struct world *w = *state;
	gpa_t a = fake_alloc(&w->ram, 16);
	uint16_t head = fake_desc(&w->r, a, 16, NEXT | WRITE);
	fake_desc(&w->r, a, 16, 0);
	fake_offer(&w->r, head);
	expect_broken(w, "follows");
}

static void write_to_read_only_memory(void **state)
{
	struct world *w = *state;
	w->ram.mem.r[0].read_only = true;
	fake_offer(&w->r, fake_desc(&w->r, fake_alloc(&w->ram, 16), 16, WRITE));
	expect_broken(w, "outside");
}

static void ring_must_fit(void **state)
{
	struct world *w = *state;
	struct virtq_host host = {fake_interrupt, fake_again, fake_failed, &w->r};
	struct virtq_ring good = w->r.at;
	static const uint16_t sizes[] = {0, 3, 2048, 65535};
	for (unsigned i = 0; i < 4; i++) {
		struct virtq_ring r = good;
		r.size = sizes[i];
		assert_int_equal(virtqueue_start(&w->q, &w->ram.mem, &r, 0, 0, &host), -EINVAL);
	}
	for (int field = 0; field < 3; field++) {
		struct virtq_ring r = good;
		*(field == 0 ? &r.desc : field == 1 ? &r.avail : &r.used) += 1;
		assert_int_equal(virtqueue_start(&w->q, &w->ram.mem, &r, 0, 0, &host), -EINVAL);
		r = good;
		*(field == 0 ? &r.desc : field == 1 ? &r.avail : &r.used) = FAKE_GPA + FAKE_RAM - 16;
		assert_int_equal(virtqueue_start(&w->q, &w->ram.mem, &r, 0, 0, &host), -EFAULT);
	}
}

static void interrupts_without_event_index(void **state)
{
	struct world *w = *state;
	virtqueue_push(&w->q, 0, 0);
	virtqueue_flush(&w->q);
	assert_int_equal(w->r.interrupts, 1);
	virtqueue_flush(&w->q);   // nothing new
	assert_int_equal(w->r.interrupts, 1);
	w->r.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	virtqueue_push(&w->q, 0, 0);
	virtqueue_flush(&w->q);
	assert_int_equal(w->r.interrupts, 1);
	virtqueue_kicks_off(&w->q);
	assert_int_equal(w->r.used->flags, VRING_USED_F_NO_NOTIFY);
	assert_false(virtqueue_kicks_on(&w->q));
	assert_int_equal(w->r.used->flags, 0);
}

static void interrupts_with_event_index(void **state)
{
	struct world *w = *state;
	w->r.avail->ring[FAKE_SIZE] = 2;   // wants to hear of the third
	for (int i = 0; i < 2; i++) {
		virtqueue_push(&w->q, 0, 0);
		virtqueue_flush(&w->q);
	}
	assert_int_equal(w->r.interrupts, 0);
	virtqueue_push(&w->q, 0, 0);
	virtqueue_flush(&w->q);
	assert_int_equal(w->r.interrupts, 1);
	fake_offer(&w->r, fake_desc(&w->r, fake_alloc(&w->ram, 8), 8, 0));
	assert_true(virtqueue_kicks_on(&w->q));   // one came before we asked to be kicked
	assert_int_equal(virtqueue_pop(&w->q, &w->c), 1);
	assert_false(virtqueue_kicks_on(&w->q));
	assert_int_equal(*(uint16_t *)&w->r.used->ring[FAKE_SIZE], 1);
}

static void unpop_gives_back(void **state)
{
	struct world *w = *state;
	fake_offer(&w->r, fake_desc(&w->r, fake_alloc(&w->ram, 8), 8, 0));
	assert_int_equal(virtqueue_pop(&w->q, &w->c), 1);
	virtqueue_unpop(&w->q);
	assert_int_equal(virtqueue_pop(&w->q, &w->c), 1);
	assert_int_equal(virtqueue_pop(&w->q, &w->c), 0);
}

static void stopped_queue_is_silent(void **state)
{
	struct world *w = *state;
	fake_offer(&w->r, fake_desc(&w->r, fake_alloc(&w->ram, 8), 8, 0));
	virtqueue_stop(&w->q);
	assert_int_equal(virtqueue_pop(&w->q, &w->c), 0);
	virtqueue_push(&w->q, 0, 1);
	virtqueue_flush(&w->q);
	assert_int_equal(w->r.used->idx, 0);
	assert_int_equal(w->r.interrupts, 0);
}

static void long_chain_is_refused(void **state)
{
	struct world *w = *state;
	unsigned n = VIRTQ_CHAIN_MAX + 1;
	gpa_t table = fake_alloc(&w->ram, n * sizeof(struct vring_desc));
	struct vring_desc *t = fake_at(&w->ram, table);
	for (unsigned i = 0; i < n; i++)
		t[i] = (struct vring_desc){.addr = table, .len = 1, .flags = i + 1 < n ? NEXT : 0, .next = (uint16_t)(i + 1)};
	fake_offer(&w->r, fake_desc(&w->r, table, n * sizeof(struct vring_desc), INDIRECT));
	expect_broken(w, "too many");
}

#define T(f, s) cmocka_unit_test_setup_teardown(f, s, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(chain_is_read_in_order, setup), T(indirect_table, setup), T(indirect_in_indirect, setup),
		T(indirect_not_negotiated, setup_plain), T(indirect_bad_length, setup), T(indirect_outside, setup),
		T(indirect_next_out_of_table, setup), T(loop_is_found, setup), cmocka_unit_test(buffers_outside_memory),
		T(head_out_of_range, setup), T(index_jumps, setup), T(read_behind_write, setup),
		T(write_to_read_only_memory, setup), T(ring_must_fit, setup), T(interrupts_without_event_index, setup_plain),
		T(interrupts_with_event_index, setup_event), T(unpop_gives_back, setup), T(stopped_queue_is_silent, setup),
		T(long_chain_is_refused, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
