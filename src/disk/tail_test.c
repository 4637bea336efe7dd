// SPDX-License-Identifier: Apache-2.0
// Where a disk ends inside a block, its parent may have bytes in the rest of that block. No clone may ever show them,
// whatever becomes of it: it grows, is flattened, gets another parent or clones of its own, is committed.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <bulkhead/disk.h>

#include "base/err.h"
#include "base/file.h"
#include "base/own.h"
#include "disk/copy.h"
#include "disk/descriptor.h"
#include "disk/test_disk.h"

#define LONG (32u << 10)
#define SHORT ((16u << 10) + 512)

static const unsigned char *letters(uint32_t n)   // n letters, then zeroes
{
	static unsigned char all[LONG];

	memset(all, 'b', n);
	memset(all + n, 0, LONG - n);
	return all;
}

static void make(const char *name, const char *parent, uint64_t size, const char *filters)
{
	struct bh_disk_new n = { .size_bytes = size, .parent = parent ? at(parent) : NULL, .filters = filters };
	struct err e = ERR_INIT;

	ok(bh_disk_create(at(name), &n, &e), e);
}

static void fill(const char *name, uint32_t size, uint32_t n)
{
	struct err e = ERR_INIT;
	struct bh_disk *d;

	make(name, NULL, size, NULL);
	ok(bh_disk_open(at(name), NULL, &d, &e), e);
	ok(bh_disk_rw(d, BH_DISK_WRITE, 0, (void *)letters(n), n, 0, &e), e);
	ok(bh_disk_close(d, &e), e);
}

static void resize(const char *name, uint64_t size)
{
	struct err e = ERR_INIT;
	struct bh_disk *d;

	ok(bh_disk_open(at(name), NULL, &d, &e), e);
	ok(bh_disk_resize(d, size, &e), e);
	ok(bh_disk_close(d, &e), e);
}

/* It reads as n letters and zeroes, in one piece and in pieces of several sizes. */
static void expect(const char *name, uint32_t n)
{
	static const uint32_t piece[] = { LONG, 512, 1000, 4096, 7000 };
	const unsigned char *want = letters(n);
	unsigned char got[LONG];
	struct err e = ERR_INIT;
	struct bh_disk *d;

	ok(bh_disk_open(at(name), &(struct bh_disk_attr){ .mode = BH_DISK_RDONLY }, &d, &e), e);
	for (unsigned p = 0; p < sizeof(piece) / sizeof(piece[0]); p++) {
		memset(got, 'x', LONG);
		for (uint32_t off = 0; off < LONG; off += piece[p]) {
			uint32_t len = LONG - off < piece[p] ? LONG - off : piece[p];

			ok(bh_disk_rw(d, BH_DISK_READ, off, got + off, len, 0, &e), e);
		}
		for (uint32_t b = 0; b < LONG; b++)
			if (got[b] != want[b]) fail_msg("%s: byte %u is %02x, not %02x (pieces of %u)", name, b, got[b], want[b], piece[p]);
	}
	ok(bh_disk_close(d, &e), e);
}

/* Data of its ancestors as far as they show, then a hole. */
static void expect_extents(const char *name, uint64_t n)
{
	struct bh_disk_extent x;
	struct err e = ERR_INIT;
	struct bh_disk *d;

	ok(bh_disk_open(at(name), &(struct bh_disk_attr){ .mode = BH_DISK_RDONLY }, &d, &e), e);
	for (uint64_t off = 0; off < LONG; off += x.len) {
		assert_int_equal(disk_extent(d, off, LONG - off, &x), 0);
		assert_true(x.len && off + x.len <= (off < n ? n : LONG));
		assert_int_equal(x.type, off < n ? BH_DISK_DATA : BH_DISK_HOLE);
		assert_true(x.depth > 0);
	}
	ok(bh_disk_close(d, &e), e);
}

static void test_flatten(void **state)
{
	static const char *const filters[] = { "[]", "[{\"type\":\"checksum\"}]", "[{\"type\":\"compress\",\"settings\":{\"cluster\":\"16K\"}}]" };
	struct err e = ERR_INIT;

	(void)state;
	fill("base.bhd", LONG, LONG);
	for (unsigned f = 0; f < sizeof(filters) / sizeof(filters[0]); f++) {
		make("c.bhd", "base.bhd", SHORT, filters[f]);
		ok(disk_flatten(at("c.bhd"), NULL, NULL, &e), e);
		resize("c.bhd", LONG);
		expect("c.bhd", SHORT);
		ok(bh_disk_remove(at("c.bhd"), &e), e);
	}
}

/* The new parent, which is shorter, has the base's bytes behind its end, and the clone nothing of its own there. */
static void test_rebase(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	fill("base.bhd", LONG, LONG);
	fill("other.bhd", LONG, SHORT);
	make("short.bhd", "base.bhd", SHORT, NULL);
	make("c.bhd", "other.bhd", 0, NULL);
	ok(disk_rebase(at("c.bhd"), at("short.bhd"), NULL, NULL, &e), e);
	expect("c.bhd", SHORT);
}

/* Clones of a clone take its decisions over, or ask it where it has a filter that must see that. */
static void test_deep(void **state)
{
	static const char *const filters[] = { NULL, "[{\"type\":\"stats\"}]" };
	struct err e = ERR_INIT;

	(void)state;
	fill("base.bhd", LONG, LONG);
	for (int f = 0; f < 2; f++) {
		make("short.bhd", "base.bhd", SHORT, filters[f]);
		make("c.bhd", "short.bhd", LONG, filters[f]);
		make("d.bhd", "c.bhd", 0, NULL);
		make("e.bhd", "short.bhd", 0, NULL);
		resize("e.bhd", SHORT + 1024);
		resize("e.bhd", LONG);
		for (const char *const *n = (const char *const[]){ "c.bhd", "d.bhd", "e.bhd", NULL }; *n; n++) expect(*n, SHORT);
		expect_extents("c.bhd", SHORT);
		expect_extents("d.bhd", SHORT);
		for (const char *const *n = (const char *const[]){ "e.bhd", "d.bhd", "c.bhd", "short.bhd", NULL }; *n; n++) ok(bh_disk_remove(at(*n), &e), e);
	}
}

/* What is written into the last block of all keeps the rest of it zero. */
static void test_written(void **state)
{
	unsigned char b = 'b';
	struct err e = ERR_INIT;
	struct bh_disk *d;

	(void)state;
	fill("base.bhd", LONG, LONG);
	make("c.bhd", "base.bhd", SHORT, NULL);
	ok(bh_disk_open(at("c.bhd"), NULL, &d, &e), e);
	ok(bh_disk_rw(d, BH_DISK_WRITE, SHORT - 1, &b, 1, 0, &e), e);
	ok(bh_disk_close(d, &e), e);
	ok(disk_flatten(at("c.bhd"), NULL, NULL, &e), e);
	resize("c.bhd", LONG);
	expect("c.bhd", SHORT);
}

/* A block of the clone's is several of its parent's, which ends inside it. */
static void test_block(void **state)
{
	struct bh_disk_new n = { .size_bytes = LONG, .block_bytes = 16 << 10 };
	struct err e = ERR_INIT;

	(void)state;
	fill("base.bhd", 20 << 10, 20 << 10);
	n.parent = at("base.bhd");
	ok(bh_disk_create(at("c.bhd"), &n, &e), e);
	expect("c.bhd", 20 << 10);
}

/* A parent that has been made longer shows no more than before, and after commit it has the clone's zeroes. */
static void test_commit(void **state)
{
	own_fd int fd = -1;
	struct err e = ERR_INIT;

	(void)state;
	ok(file_write_atomic(at("base.img"), letters(SHORT), SHORT, 0600, &e), e);
	make("c.bhd", "base.img", LONG, NULL);
	fd = open(at("base.img"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, letters(LONG), LONG, 0), LONG);
	close(take_fd(fd));
	ok(disk_accept(at("c.bhd"), NULL, &e), e);
	expect("c.bhd", SHORT);
	ok(disk_commit(at("c.bhd"), NULL, NULL, &e), e);
	expect("c.bhd", SHORT);
	expect("base.img", SHORT);
}

/* Whatever the data file has behind the disk's end, by whomever. */
static void test_left(void **state)
{
	own_fd int fd = -1;

	(void)state;
	fill("d.bhd", SHORT, SHORT);
	fd = open(at("d.data"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, letters(LONG), 4096 - 512, SHORT), 4096 - 512);
	resize("d.bhd", SHORT + 1024);
	resize("d.bhd", LONG);
	expect("d.bhd", SHORT);
}

/* And in the rest of a cluster, which stays when the disk shrinks. */
static void test_left_in_a_cluster(void **state)
{
	struct err e = ERR_INIT;
	struct descriptor *desc;
	struct bh_disk *d;

	(void)state;
	make("d.bhd", NULL, LONG, "[{\"type\":\"compress\",\"settings\":{\"cluster\":\"64K\"}}]");
	ok(bh_disk_open(at("d.bhd"), NULL, &d, &e), e);
	ok(bh_disk_rw(d, BH_DISK_WRITE, 0, (void *)letters(20 << 10), 20 << 10, 0, &e), e);   // to the end of the last block
	ok(bh_disk_close(d, &e), e);
	ok(descriptor_read(at("d.bhd"), &desc, &e), e);
	desc->size = SHORT;
	ok(descriptor_write(desc, &e), e);
	descriptor_free(desc);
	resize("d.bhd", 8 << 10);
	resize("d.bhd", LONG);
	expect("d.bhd", 8 << 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_flatten, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_rebase, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_deep, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_written, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_block, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_commit, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_left, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_left_in_a_cluster, make_dir, remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
