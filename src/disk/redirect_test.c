// SPDX-License-Identifier: Apache-2.0
// What the link of a clone sends to its base, and what it keeps: decided by the kind of request and by whose the block is.
// The base's chain is another instance with its own filters and keys; an error filter in it says what reaches it.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <bulkhead/disk.h>

#include "base/err.h"
#include "base/file.h"
#include "base/own.h"
#include "disk/test_disk.h"

#define BLOCK 4096u
#define SIZE (256u << 10)


static struct bh_disk *make(const char *name, const char *parent, const char *filters)
{
	struct bh_disk_new n = { .size_bytes = parent ? 0 : SIZE, .parent = parent, .filters = filters };
	struct bh_disk *d = NULL;
	struct err e = ERR_INIT;

	ok(bh_disk_create(at(name), &n, &e), e);
	ok(bh_disk_open(at(name), NULL, &d, &e), e);   // by its name alone: the filters are found in its descriptor
	return d;
}

static int rw(struct bh_disk *d, enum bh_disk_op op, uint64_t off, void *buf, size_t len) { return bh_disk_rw(d, op, off, buf, len, 0, NULL); }

static void make_base(const char *filters)
{
	static unsigned char all[SIZE];
	struct bh_disk *d = make("base.bhd", NULL, NULL);
	struct err e = ERR_INIT;

	memset(all, 'b', SIZE);
	ok(bh_disk_rw(d, BH_DISK_WRITE, 0, all, SIZE, 0, &e), e);
	ok(bh_disk_filter_add(d, "error", NULL, filters, -1, true, &e), e);
	ok(bh_disk_close(d, &e), e);
}

/* Nothing but reads ever enters the base. */
static void test_kinds(void **state)
{
	unsigned char buf[BLOCK];
	struct err e = ERR_INIT;
	struct bh_disk *d;

	(void)state;
	make_base("{\"ops\":\"wdz\",\"every\":1}");
	d = make("c.bhd", at("base.bhd"), NULL);
	memset(buf, 'c', BLOCK);
	assert_int_equal(rw(d, BH_DISK_WRITE, 0, buf, BLOCK), 0);
	assert_int_equal(rw(d, BH_DISK_WRITE, BLOCK + 512, buf, 512), 0);
	assert_int_equal(rw(d, BH_DISK_WRITE_ZEROES, 2 * BLOCK, NULL, BLOCK), 0);
	assert_int_equal(rw(d, BH_DISK_DISCARD, 3 * BLOCK, NULL, BLOCK), 0);
	assert_int_equal(rw(d, BH_DISK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(rw(d, BH_DISK_READ, 4 * BLOCK, buf, BLOCK), 0);
	assert_int_equal(buf[0], 'b');
	ok(bh_disk_close(d, &e), e);
}

/* Reads enter it for blocks that are not the clone's: of the user, and to fill a block that is written in part. */
static void test_blocks(void **state)
{
	unsigned char buf[BLOCK];
	struct err e = ERR_INIT;
	struct bh_disk *d;

	(void)state;
	make_base("{\"ops\":\"r\",\"every\":1,\"from\":\"64K\",\"to\":\"128K\"}");
	d = make("c.bhd", at("base.bhd"), NULL);
	memset(buf, 'c', BLOCK);
	assert_int_equal(rw(d, BH_DISK_READ, 64 << 10, buf, BLOCK), -EIO);
	assert_int_equal(rw(d, BH_DISK_READ, 60 << 10, buf, BLOCK), 0);
	assert_int_equal(rw(d, BH_DISK_WRITE, 64 << 10, buf, 512), -EIO);         // the rest of the block would come from the base
	assert_int_equal(rw(d, BH_DISK_WRITE, 64 << 10, buf, BLOCK), 0);          // a whole one needs nothing from it
	assert_int_equal(rw(d, BH_DISK_READ, 64 << 10, buf, BLOCK), 0);           // the clone's own now
	assert_int_equal(rw(d, BH_DISK_WRITE, (64 << 10) + 512, buf, 512), 0);
	assert_int_equal(rw(d, BH_DISK_READ, 68 << 10, buf, BLOCK), -EIO);        // its neighbour is not
	ok(bh_disk_close(d, &e), e);
}

/* A part of a block that is written leaves the rest as the base has it, and the base as it was. */
static void test_fill(void **state)
{
	unsigned char buf[BLOCK], want[BLOCK];
	struct err e = ERR_INIT;
	struct bh_disk *d;

	(void)state;
	make_base("{\"at\":1000000}");
	d = make("c.bhd", at("base.bhd"), NULL);
	memset(want, 'b', BLOCK);
	memset(want + 100, 'c', 300);
	assert_int_equal(rw(d, BH_DISK_WRITE, 8 * BLOCK + 100, want + 100, 300), 0);
	assert_int_equal(rw(d, BH_DISK_READ, 8 * BLOCK, buf, BLOCK), 0);
	assert_memory_equal(buf, want, BLOCK);
	ok(bh_disk_close(d, &e), e);
	ok(bh_disk_open(at("base.bhd"), &(struct bh_disk_attr){ .mode = BH_DISK_RDONLY }, &d, &e), e);
	memset(want, 'b', BLOCK);
	assert_int_equal(rw(d, BH_DISK_READ, 8 * BLOCK, buf, BLOCK), 0);
	assert_memory_equal(buf, want, BLOCK);
	ok(bh_disk_close(d, &e), e);
}

static void scribble(struct bh_disk *const d[2], unsigned seed)
{
	static unsigned char a[64 << 10], b[64 << 10];

	for (int i = 0; i < 300; i++) {
		uint32_t len = 1 + (uint32_t)rand_r(&seed) % (rand_r(&seed) % 4 ? 6000 : sizeof(a)), off = (uint32_t)rand_r(&seed) % (SIZE - len);
		int what = rand_r(&seed) % 8;

		for (uint32_t k = 0; k < len && what < 4; k++) a[k] = b[k] = (unsigned char)(rand_r(&seed) % 3 ? i : rand_r(&seed));
		for (int k = 0; k < 2; k++) {
			if (what < 4) assert_int_equal(rw(d[k], BH_DISK_WRITE, off, k ? b : a, len), 0);
			else if (what == 4) assert_int_equal(rw(d[k], BH_DISK_WRITE_ZEROES, off, NULL, len), 0);
			else if (what == 5) assert_int_equal(rw(d[k], BH_DISK_FLUSH, 0, NULL, 0), 0);
			else assert_int_equal(rw(d[k], BH_DISK_READ, off, k ? b : a, len), 0);
		}
		assert_memory_equal(a, b, len);
	}
}

/* A clone, throttled, compressed and with a key of its own, of an encrypted and cached base, beside a plain disk. */
static void test_chains(void **state)
{
	static unsigned char a[SIZE], b[SIZE];
	char base[300], clone[400];
	struct err e = ERR_INIT;
	struct bh_disk *d[2];

	(void)state;
	ok(file_write_atomic(at("key0"), "zero", 4, 0600, &e), e);
	ok(file_write_atomic(at("key1"), "one", 3, 0600, &e), e);
	snprintf(base, sizeof(base), "[{\"type\":\"cache\",\"settings\":{\"path\":\"%s/cache\",\"size\":\"1M\"}},"
		 "{\"type\":\"encrypt\",\"settings\":{\"key-file\":\"%s/key0\",\"iterations\":1000}}]", dir, dir);
	snprintf(clone, sizeof(clone), "[{\"type\":\"throttle\",\"settings\":{\"iops\":1000000}},{\"type\":\"compress\",\"settings\":{\"cluster\":\"16K\"}},"
		 "{\"type\":\"encrypt\",\"settings\":{\"key-file\":\"%s/key1\",\"iterations\":1000}}]", dir);
	d[0] = make("base.bhd", NULL, base);
	d[1] = make("plain.bhd", NULL, NULL);
	scribble(d, 1);
	ok(bh_disk_close(d[0], &e), e);
	d[0] = make("clone.bhd", at("base.bhd"), clone);
	scribble(d, 2);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(rw(d[0], BH_DISK_READ, 0, a, SIZE), 0);
		assert_int_equal(rw(d[1], BH_DISK_READ, 0, b, SIZE), 0);
		assert_memory_equal(a, b, SIZE);
		ok(bh_disk_close(d[0], &e), e);
		ok(bh_disk_open(at("clone.bhd"), NULL, &d[0], &e), e);
	}
	ok(bh_disk_close(d[0], &e), e);
	ok(bh_disk_close(d[1], &e), e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kinds, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_blocks, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_fill, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_chains, make_dir, remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
