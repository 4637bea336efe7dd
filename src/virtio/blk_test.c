// SPDX-License-Identifier: Apache-2.0
// The block device with a guest's driver in this process, on a file of its own.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

#include <bulkhead/disk.h>
#include <linux/virtio_blk.h>

#include "base/err.h"
#include "base/evloop.h"
#include "virtio/blk.h"
#include "virtio/virtq_fake.h"

#define DISK_BYTES (1u << 20)
#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE

struct world {
	struct fake_ram ram;
	struct evloop *loop;
	char path[64], temp[64];
	int fd;
	struct bh_disk *disk;
	struct blk *b;
	struct fake_ring r;
	gpa_t head, data, status;
};

/* full: the host has no room for three writes; then it has. */
static void path_make(struct world *w, bool full)
{
	struct err e = ERR_INIT;
	strcpy(w->path, "/tmp/bulkhead-blk-test-XXXXXX");
	w->fd = mkstemp(w->path);
	assert_true(w->fd >= 0);
	strcpy(w->temp, w->path);
	if (full) {
		struct bh_disk_new n = {.size_bytes = DISK_BYTES,
					.filters = "[{\"type\": \"error\", \"settings\": {\"code\": \"ENOSPC\", \"ops\": \"wz\", \"every\": \"1\", \"count\": \"3\"}}]"};
		strcat(w->path, ".bhd");
		if (bh_disk_create(w->path, &n, &e))
			fail_msg("%s", e.text);
	} else {
		assert_int_equal(ftruncate(w->fd, DISK_BYTES), 0);
	}
}

static void world_open(struct world *w, bool read_only, bool full)
{
	struct err e = ERR_INIT;
	struct bh_disk_attr attr = {.mode = read_only ? BH_DISK_RDONLY : BH_DISK_RDWR};
	fake_ram_init(&w->ram);
	w->loop = evloop_new();
	path_make(w, full);
	if (bh_disk_open(w->path, &attr, &w->disk, &e))
		fail_msg("%s", e.text);
	struct blk_attr a = {.loop = w->loop, .disk = w->disk, .serial = "serial-0123456789", .nqueues = 1,
			     .read_only = read_only, .hold_ms = 5};
	assert_int_equal(blk_new(&a, &w->b), 0);
	fake_ring_init(&w->r, &w->ram);
	w->head = fake_alloc(&w->ram, 512);
	w->data = fake_alloc(&w->ram, 65536);
	w->status = fake_alloc(&w->ram, 1);
	struct virtio_dev *d = blk_dev(w->b);
	assert_int_equal(fake_ring_start(&w->r, &d->vq[0], VIRTQ_FEATURES), 0);
	d->ops->queue_start(d, 0);
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct world));
	world_open(*state, false, false);
	return 0;
}

static int setup_read_only(void **state)
{
	*state = calloc(1, sizeof(struct world));
	world_open(*state, true, false);
	return 0;
}

static int setup_full(void **state)
{
	*state = calloc(1, sizeof(struct world));
	world_open(*state, false, true);
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;
	struct virtio_dev *d = blk_dev(w->b);
	d->ops->queue_stop(d, 0);
	virtqueue_stop(&d->vq[0]);
	blk_free(w->b);
	assert_int_equal(bh_disk_close(w->disk, &e), 0);
	evloop_free(w->loop);
	close(w->fd);
	unlink(w->temp);
	if (strcmp(w->temp, w->path))
		assert_int_equal(bh_disk_remove(w->path, &e), 0);
	fake_ram_fini(&w->ram);
	free(w);
	return 0;
}

// Offer one request: head, data (len bytes; toward the guest if in), status.
static void offer(struct world *w, uint32_t type, uint64_t sector, uint32_t len, bool in)
{
	struct virtio_blk_outhdr h = {.type = type, .sector = sector};
	memcpy(fake_at(&w->ram, w->head), &h, sizeof(h));
	*(uint8_t *)fake_at(&w->ram, w->status) = 0xee;
	uint16_t first = fake_desc(&w->r, w->head, sizeof(h), NEXT);
	if (len)
		fake_desc(&w->r, w->data, len, NEXT | (in ? WRITE : 0));
	fake_desc(&w->r, w->status, 1, WRITE);
	fake_offer(&w->r, first);
}

// Kick and wait for one completion. Returns the status byte; *len: what the device says it wrote.
static int finish(struct world *w, uint32_t *len)
{
	struct virtio_dev *d = blk_dev(w->b);
	d->ops->queue_kick(d, 0);
	for (int i = 0; i < 2000; i++) {
		if (fake_take(&w->r, len) >= 0)
			return *(uint8_t *)fake_at(&w->ram, w->status);
		assert_int_equal(evloop_once(w->loop, 10), 0);
	}
	fail_msg("a request did not end");
	return -1;
}

static int request(struct world *w, uint32_t type, uint64_t sector, uint32_t len, bool in)
{
	offer(w, type, sector, len, in);
	return finish(w, NULL);
}

static int range(struct world *w, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes g = {.sector = sector, .num_sectors = sectors, .flags = flags};
	memcpy(fake_at(&w->ram, w->data), &g, sizeof(g));
	return request(w, type, 0, sizeof(g), false);
}

static void room_comes_back(void **state)
{
	struct world *w = *state;
	uint8_t *data = fake_at(&w->ram, w->data);
	memset(data, 0x5a, 4096);
	assert_int_equal(request(w, VIRTIO_BLK_T_OUT, 8, 4096, false), VIRTIO_BLK_S_OK);   // the fourth try
	memset(data, 0, 4096);
	assert_int_equal(request(w, VIRTIO_BLK_T_IN, 8, 4096, true), VIRTIO_BLK_S_OK);
	assert_int_equal(data[4095], 0x5a);
}

static void driver_goes_while_a_write_waits(void **state)
{
	struct world *w = *state;
	struct virtio_dev *d = blk_dev(w->b);
	offer(w, VIRTIO_BLK_T_OUT, 8, 4096, false);
	d->ops->queue_kick(d, 0);
	d->ops->queue_stop(d, 0);
	assert_true(fake_take(&w->r, NULL) >= 0);
	assert_int_equal(*(uint8_t *)fake_at(&w->ram, w->status), VIRTIO_BLK_S_IOERR);
}

static void write_then_read(void **state)
{
	struct world *w = *state;
	uint8_t *data = fake_at(&w->ram, w->data), file[4096];
	uint32_t len;
	memset(data, 0x5a, 4096);
	assert_int_equal(request(w, VIRTIO_BLK_T_OUT, 8, 4096, false), VIRTIO_BLK_S_OK);
	assert_int_equal(pread(w->fd, file, sizeof(file), 4096), sizeof(file));
	assert_memory_equal(file, data, 4096);
	memset(data, 0, 4096);
	offer(w, VIRTIO_BLK_T_IN, 8, 4096, true);
	assert_int_equal(finish(w, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, 4097);
	assert_memory_equal(file, data, 4096);
	assert_int_equal(request(w, VIRTIO_BLK_T_FLUSH, 0, 0, false), VIRTIO_BLK_S_OK);
	struct blk_stats s;
	blk_stats(w->b, &s);
	assert_int_equal(s.read_bytes, 4096);
	assert_int_equal(s.write_bytes, 4096);
	assert_int_equal(s.ops, 3);
}

// Head, data and status cut in odd places: the device must not care.
static void odd_layout(void **state)
{
	struct world *w = *state;
	struct virtio_blk_outhdr h = {.type = VIRTIO_BLK_T_IN, .sector = 2};
	uint8_t file[1024];
	memset(file, 0x17, sizeof(file));
	assert_int_equal(pwrite(w->fd, file, sizeof(file), 1024), sizeof(file));
	memcpy(fake_at(&w->ram, w->head), &h, sizeof(h));
	uint16_t first = fake_desc(&w->r, w->head, 5, NEXT);
	fake_desc(&w->r, w->head + 5, 11, NEXT);
	fake_desc(&w->r, w->data, 1000, NEXT | WRITE);
	fake_desc(&w->r, w->data + 1000, 25, WRITE);   // 24 bytes of data and the status
	fake_offer(&w->r, first);
	uint32_t len;
	finish(w, &len);
	assert_int_equal(len, 1025);
	assert_memory_equal(fake_at(&w->ram, w->data), file, sizeof(file));
	assert_int_equal(*(uint8_t *)fake_at(&w->ram, w->data + 1024), VIRTIO_BLK_S_OK);
}

static void identity(void **state)
{
	struct world *w = *state;
	uint32_t len;
	memset(fake_at(&w->ram, w->data), 'x', 20);
	offer(w, VIRTIO_BLK_T_GET_ID, 0, 20, true);
	assert_int_equal(finish(w, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, 21);
	assert_string_equal(fake_at(&w->ram, w->data), "serial-0123456789");
}

static void discard_and_zeroes(void **state)
{
	struct world *w = *state;
	uint8_t file[8192], zero[4096] = {0};
	memset(file, 0x33, sizeof(file));
	assert_int_equal(pwrite(w->fd, file, sizeof(file), 0), sizeof(file));
	assert_int_equal(range(w, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(pread(w->fd, file, sizeof(file), 0), sizeof(file));
	assert_memory_equal(file, zero, 4096);
	assert_int_equal(file[4096], 0x33);
	assert_int_equal(range(w, VIRTIO_BLK_T_DISCARD, 8, 8, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(range(w, VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP), VIRTIO_BLK_S_OK);
	assert_int_equal(range(w, VIRTIO_BLK_T_DISCARD, 8, 8, 1), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(range(w, VIRTIO_BLK_T_DISCARD, UINT64_MAX, 8, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(range(w, VIRTIO_BLK_T_WRITE_ZEROES, 2047, 2, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(range(w, VIRTIO_BLK_T_WRITE_ZEROES, 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
}

static void several_ranges(void **state)
{
	struct world *w = *state;
	uint8_t file[16384], zero[512] = {0};
	memset(file, 0x44, sizeof(file));
	assert_int_equal(pwrite(w->fd, file, sizeof(file), 0), sizeof(file));
	struct virtio_blk_discard_write_zeroes g[3] = {{.sector = 0, .num_sectors = 1}, {.sector = 4, .num_sectors = 1},
						       {.sector = 8, .num_sectors = 1}};
	memcpy(fake_at(&w->ram, w->data), g, sizeof(g));
	assert_int_equal(request(w, VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(g), false), VIRTIO_BLK_S_OK);
	assert_int_equal(pread(w->fd, file, sizeof(file), 0), sizeof(file));
	for (int i = 0; i < 12; i++) {
		if (i % 4)
			assert_int_equal(file[i * 512], 0x44);
		else
			assert_memory_equal(file + i * 512, zero, 512);
	}
	assert_int_equal(request(w, VIRTIO_BLK_T_WRITE_ZEROES, 0, 17 * sizeof(g[0]), false), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(w, VIRTIO_BLK_T_WRITE_ZEROES, 0, 15, false), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(w, VIRTIO_BLK_T_WRITE_ZEROES, 0, 0, false), VIRTIO_BLK_S_UNSUPP);
}

static void outside_the_disk(void **state)
{
	struct world *w = *state;
	uint64_t last = DISK_BYTES / 512 - 1;
	assert_int_equal(request(w, VIRTIO_BLK_T_IN, last, 512, true), VIRTIO_BLK_S_OK);
	assert_int_equal(request(w, VIRTIO_BLK_T_IN, last, 1024, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(w, VIRTIO_BLK_T_OUT, last + 1, 512, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(w, VIRTIO_BLK_T_IN, UINT64_MAX, 512, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(w, VIRTIO_BLK_T_IN, UINT64_MAX / 512 + 1, 512, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(w, VIRTIO_BLK_T_IN, 0, 100, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(w, 77, 0, 512, true), VIRTIO_BLK_S_UNSUPP);
}

static void read_only_disk(void **state)
{
	struct world *w = *state;
	struct virtio_dev *d = blk_dev(w->b);
	assert_true(d->ops->features(d) >> VIRTIO_BLK_F_RO & 1);
	assert_int_equal(request(w, VIRTIO_BLK_T_IN, 0, 512, true), VIRTIO_BLK_S_OK);
	assert_int_equal(request(w, VIRTIO_BLK_T_OUT, 0, 512, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(range(w, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(range(w, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_IOERR);
}

static void no_head_stops_the_queue(void **state)
{
	struct world *w = *state;
	struct virtio_dev *d = blk_dev(w->b);
	uint16_t first = fake_desc(&w->r, w->head, 15, NEXT);
	fake_desc(&w->r, w->status, 1, WRITE);
	fake_offer(&w->r, first);
	d->ops->queue_kick(d, 0);
	assert_int_equal(w->r.failures, 1);
}

static void no_status_stops_the_queue(void **state)
{
	struct world *w = *state;
	struct virtio_dev *d = blk_dev(w->b);
	fake_offer(&w->r, fake_desc(&w->r, w->head, 16, 0));
	d->ops->queue_kick(d, 0);
	assert_int_equal(w->r.failures, 1);
}

static void configuration(void **state)
{
	struct world *w = *state;
	struct virtio_dev *d = blk_dev(w->b);
	struct virtio_blk_config c;
	assert_int_equal(d->ops->config(d, &c, sizeof(c)), sizeof(c));
	assert_int_equal(c.capacity, DISK_BYTES / 512);
	assert_true(c.seg_max + 2 <= VIRTQ_CHAIN_MAX);
	uint8_t four[5] = {0, 0, 0, 0, 0xaa};
	d->ops->config(d, four, 4);
	assert_int_equal(four[4], 0xaa);
}

// Many requests at once; stopping the queue waits for all of them.
static void stop_waits(void **state)
{
	struct world *w = *state;
	struct virtio_dev *d = blk_dev(w->b);
	memset(fake_at(&w->ram, w->data), 0x61, 4096);
	for (int i = 0; i < 5; i++)
		offer(w, VIRTIO_BLK_T_OUT, (uint64_t)i * 8, 4096, false);
	d->ops->queue_kick(d, 0);
	d->ops->queue_stop(d, 0);
	int n = 0;
	while (fake_take(&w->r, NULL) >= 0)
		n++;
	assert_int_equal(n, 5);
}

#define T(f, s) cmocka_unit_test_setup_teardown(f, s, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(write_then_read, setup), T(odd_layout, setup), T(identity, setup), T(discard_and_zeroes, setup),
		T(several_ranges, setup), T(outside_the_disk, setup), T(read_only_disk, setup_read_only),
		T(no_head_stops_the_queue, setup), T(no_status_stops_the_queue, setup), T(configuration, setup),
		T(stop_waits, setup), T(room_comes_back, setup_full), T(driver_goes_while_a_write_waits, setup_full),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
