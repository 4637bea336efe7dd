// SPDX-License-Identifier: Apache-2.0
// Disks against plain memory: random requests on trees of clones, both engines, reopened in between.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <bulkhead/disk.h>

#include "base/err.h"
#include "base/file.h"
#include "base/own.h"
#include "disk/copy.h"
#include "disk/test_disk.h"

#define SIZE (3u << 20)


static struct bh_disk *open_disk(const char *path, const struct bh_disk_attr *a)
{
	struct bh_disk *d = NULL;
	struct err e = ERR_INIT;

	ok(bh_disk_open(path, a, &d, &e), e);
	return d;
}

static void close_disk(struct bh_disk *d)
{
	struct err e = ERR_INIT;

	ok(bh_disk_close(d, &e), e);
}

struct slot { struct bh_disk_io io; struct iovec iov[3]; unsigned char buf[96 << 10]; bool busy; int result; };

static void slot_done(struct bh_disk_io *io, int result)
{
	struct slot *s = io->user;

	s->busy = false;
	s->result = result;
}

/* Requests one after the other or several at once; what overlaps in time does not overlap in place. */
static void scribble(struct bh_disk *d, unsigned char *model, uint64_t size, unsigned *seed, int steps, bool writes)
{
	static struct slot slot[8];
	struct bh_disk_queue *q;
	struct err e = ERR_INIT;

	ok(bh_disk_queue_open(d, 8, &q, &e), e);
	for (int i = 0; i < steps; i++) {
		int n = 1 + rand_r(seed) % 8;
		uint64_t part = size / (unsigned)n;

		for (int k = 0; k < n; k++) {
			struct slot *s = &slot[k];
			uint64_t len = 1 + (uint64_t)rand_r(seed) % (rand_r(seed) % 4 ? 9000 : sizeof(s->buf)), off;
			int cut1, cut2;

			if (rand_r(seed) % 3 == 0) len = (len + 4095) / 4096 * 4096;
			off = part * (unsigned)k + (uint64_t)rand_r(seed) % (part - len);
			if (len % 4096 == 0) off = off / 4096 * 4096 < part * (unsigned)k ? off : off / 4096 * 4096;
			s->io = (struct bh_disk_io){ .op = BH_DISK_READ, .off = off, .len = len, .iov = s->iov, .iovcnt = 3, .done = slot_done, .user = s };
			if (writes) s->io.op = (enum bh_disk_op[]){ 0, 0, 1, 1, 1, 2, 3, 4 }[rand_r(seed) % 8];
			if (rand_r(seed) % 16 == 0) s->io.flags = BH_DISK_FUA;
			cut1 = rand_r(seed) % (int)(len + 1);
			cut2 = cut1 + rand_r(seed) % (int)(len - (uint64_t)cut1 + 1);
			s->iov[0] = (struct iovec){ s->buf, (size_t)cut1 };
			s->iov[1] = (struct iovec){ s->buf + cut1, (size_t)(cut2 - cut1) };
			s->iov[2] = (struct iovec){ s->buf + cut2, len - (size_t)cut2 };
			if (rand_r(seed) % 2) {
				s->iov[0].iov_len = len;
				s->io.iovcnt = 1;
			}
			for (uint64_t b = 0; b < len; b++) s->buf[b] = (unsigned char)rand_r(seed);
			if (s->io.op == BH_DISK_WRITE) memcpy(model + off, s->buf, len);
			if (s->io.op == BH_DISK_WRITE_ZEROES) memset(model + off, 0, len);
			s->busy = true;
			bh_disk_submit(q, &s->io);
		}
		for (int k = 0; k < n; k++) {
			struct slot *s = &slot[k];

			while (bh_disk_queue_poll(q), s->busy) {
				struct pollfd p = { .fd = bh_disk_queue_fd(q), .events = POLLIN };

				if (poll(&p, 1, 10000) == 0) fail_msg("request %d lost", s->io.op);
			}
			if (s->result) fail_msg("op %d: %d", s->io.op, s->result);
			if (s->io.op == BH_DISK_READ && memcmp(s->buf, model + s->io.off, s->io.len))
				fail_msg("step %d: read of %lu at %lu differs", i, (unsigned long)s->io.len, (unsigned long)s->io.off);
			if (s->io.op == BH_DISK_DISCARD) ok(bh_disk_rw(d, BH_DISK_READ, s->io.off, model + s->io.off, s->io.len, 0, &e), e);
		}
	}
	bh_disk_queue_close(q);
}

static void compare(struct bh_disk *d, const unsigned char *model, uint64_t size)
{
	own_free unsigned char *all = malloc(size);
	struct err e = ERR_INIT;

	ok(bh_disk_rw(d, BH_DISK_READ, 0, all, size, 0, &e), e);
	for (uint64_t i = 0; i < size; i++)
		if (all[i] != model[i]) fail_msg("byte %lu is %02x, not %02x", (unsigned long)i, all[i], model[i]);
}

static void random_on(const char *path, unsigned char *model, uint64_t size, unsigned seed, bool threads)
{
	struct bh_disk_attr a = { .mode = BH_DISK_RDWR, .no_io_uring = threads };

	for (int round = 0; round < 2; round++) {
		struct bh_disk *d = open_disk(path, &a);

		scribble(d, model, size, &seed, 60, true);
		compare(d, model, size);
		close_disk(d);
	}
}

static void test_raw(void **state)
{
	own_free unsigned char *model = calloc(1, SIZE);
	own_fd int fd = open(at("raw.img"), O_CREAT | O_RDWR, 0600);

	(void)state;
	assert_true(fd >= 0 && ftruncate(fd, SIZE - 512) == 0);
	random_on(at("raw.img"), model, SIZE - 512, 1, false);
	random_on(at("raw.img"), model, SIZE - 512, 2, true);
}

static void test_clones(void **state)
{
	unsigned char *model[6] = { 0 };
	struct err e = ERR_INIT;
	struct bh_disk_new n = { .size_bytes = SIZE - 1024 };

	(void)state;
	ok(bh_disk_create(at("0.bhd"), &n, &e), e);
	for (int i = 0; i < 6; i++) {
		char name[16], next[16];

		model[i] = calloc(1, SIZE);
		if (i) memcpy(model[i], model[i - 1], SIZE);
		snprintf(name, sizeof(name), "%d.bhd", i);
		snprintf(next, sizeof(next), "%d.bhd", i + 1);
		random_on(at(name), model[i], SIZE - 1024, 10 + (unsigned)i, i % 2);
		ok(bh_disk_clone(at(name), at(next), &e), e);
	}
	for (int i = 0; i < 6; i++) {   // none of the parents has changed
		char name[16];
		struct bh_disk_attr a = { .mode = BH_DISK_RDONLY };
		struct bh_disk *d;

		snprintf(name, sizeof(name), "%d.bhd", i);
		d = open_disk(at(name), &a);
		compare(d, model[i], SIZE - 1024);
		close_disk(d);
		free(model[i]);
	}
}

/* Clones, each with other filters; the base and every other clone with keys of their own. */
static void test_filters(void **state)
{
	static const char *const chains[] = {
		"[{\"type\":\"encrypt\",\"settings\":{\"key-file\":\"%s/key0\",\"iterations\":1000}}]",
		"[{\"type\":\"stats\"},{\"type\":\"compress\"},{\"type\":\"encrypt\",\"settings\":{\"key-file\":\"%s/key1\",\"iterations\":1000}}]",
		"[{\"type\":\"throttle\",\"settings\":{\"iops\":1000000}},{\"type\":\"compress\",\"settings\":{\"algorithm\":\"lz4\",\"cluster\":\"16K\"}}]",
		"[{\"type\":\"delay\",\"settings\":{\"write\":\"20us\",\"read\":\"10us\"}}]",
		"[]",
		"[{\"type\":\"compress\",\"settings\":{\"cluster\":\"128K\"}}]",
		"[{\"type\":\"cache\",\"settings\":{\"path\":\"%s/cache\",\"size\":\"1M\"}},{\"type\":\"checksum\"},{\"type\":\"cbt\",\"settings\":{\"points\":\"a b\"}}]",
		"[{\"type\":\"cache\",\"settings\":{\"path\":\"%s/cache\",\"mode\":\"writeback\",\"journal\":\"4M\"}},{\"type\":\"stats\"}]",
	};
	const int n = sizeof(chains) / sizeof(chains[0]);
	own_free unsigned char *model = calloc(1, SIZE);
	struct err e = ERR_INIT;

	(void)state;
	ok(file_write_atomic(at("key0"), "zero", 4, 0600, &e), e);
	ok(file_write_atomic(at("key1"), "one", 3, 0600, &e), e);
	for (int i = 0; i < n; i++) {
		char name[16], parent[16], filters[512];
		struct bh_disk_new dn = { .size_bytes = SIZE - 512, .filters = filters };

		snprintf(name, sizeof(name), "f%d.bhd", i);
		snprintf(parent, sizeof(parent), "f%d.bhd", i - 1);
		snprintf(filters, sizeof(filters), chains[i], dir);
		if (i) dn.parent = at(parent);
		ok(bh_disk_create(at(name), &dn, &e), e);
		random_on(at(name), model, SIZE - 512, 100 + (unsigned)i, i % 2);
	}
	ok(file_write_atomic(at("key0"), "nought", 6, 0600, &e), e);
	{
		struct bh_disk *d;

		assert_int_equal(bh_disk_open(at("f7.bhd"), NULL, &d, &e), -EKEYREJECTED);
		assert_non_null(strstr(e.text, "wrong key"));
	}
}

/* Clusters written again and again take new places until a flush; without one there is room all the same. */
static void test_compress_room(void **state)
{
	struct bh_disk_new n = { .size_bytes = SIZE, .filters = "[{\"type\":\"compress\",\"settings\":{\"cluster\":\"16K\"}}]" };
	own_free unsigned char *model = calloc(1, SIZE);
	struct err e = ERR_INIT;
	unsigned seed = 5;
	struct bh_disk *d;

	(void)state;
	ok(bh_disk_create(at("room.bhd"), &n, &e), e);
	d = open_disk(at("room.bhd"), NULL);
	for (int round = 0; round < 8; round++)
		for (uint64_t off = 0; off < SIZE; off += 64 << 10) {
			for (int b = 0; b < 64 << 10; b++) model[off + (unsigned)b] = (unsigned char)rand_r(&seed);
			ok(bh_disk_rw(d, BH_DISK_WRITE, off, model + off, 64 << 10, 0, &e), e);
		}
	compare(d, model, SIZE);
	close_disk(d);
	d = open_disk(at("room.bhd"), NULL);
	compare(d, model, SIZE);
	close_disk(d);
}

/* Opening by descriptors that somebody else has opened. */
struct handed { struct { char path[128]; int fd; } file[8]; unsigned count, asked; };

static int hand(void *user, const char *path, enum bh_disk_file what, bool writable, struct err *e)
{
	struct handed *h = user;

	(void)e;
	assert_true(h->count < 8);
	snprintf(h->file[h->count].path, sizeof(h->file[0].path), "%s", path);
	h->file[h->count].fd = open(path, (writable ? O_RDWR : O_RDONLY) | (what == BH_DISK_FILE_SIDE ? O_CREAT : 0), 0600);
	assert_true(h->file[h->count].fd >= 0);
	h->count++;
	return 0;
}

static int open_handed(void *user, const char *path, bool writable)
{
	struct handed *h = user;

	(void)writable;
	h->asked++;
	for (unsigned i = 0; i < h->count; i++)
		if (!strcmp(h->file[i].path, path)) return dup(h->file[i].fd);
	return -ENOENT;
}

static void test_handed_files(void **state)
{
	struct bh_disk_new n = { .size_bytes = SIZE };
	struct handed h = { .count = 0 };
	struct err e = ERR_INIT;
	struct bh_disk *d;
	char a[16] = "in the parent", b[16] = "in the clone", in[16];

	(void)state;
	ok(bh_disk_create(at("p.bhd"), &n, &e), e);
	d = open_disk(at("p.bhd"), NULL);
	ok(bh_disk_rw(d, BH_DISK_WRITE, 8192, a, sizeof(a), 0, &e), e);
	close_disk(d);
	ok(bh_disk_clone(at("p.bhd"), at("c.bhd"), &e), e);
	ok(bh_disk_files(at("c.bhd"), false, hand, &h, &e), e);
	assert_int_equal(h.count, 5);   // descriptor, data, map; the parent's descriptor and data
	bh_disk_set_opener(open_handed, &h);
	d = open_disk(at("c.bhd"), NULL);
	bh_disk_set_opener(NULL, NULL);
	assert_true(h.asked >= h.count);
	ok(bh_disk_rw(d, BH_DISK_READ, 8192, in, sizeof(in), 0, &e), e);
	assert_memory_equal(in, a, sizeof(a));
	ok(bh_disk_rw(d, BH_DISK_WRITE, 65536, b, sizeof(b), 0, &e), e);
	close_disk(d);
	for (unsigned i = 0; i < h.count; i++) close(h.file[i].fd);
	d = open_disk(at("c.bhd"), NULL);   // by path again: it is all there
	ok(bh_disk_rw(d, BH_DISK_READ, 65536, in, sizeof(in), 0, &e), e);
	assert_memory_equal(in, b, sizeof(b));
	close_disk(d);
	h.count = 0;                        // nothing was handed over
	bh_disk_set_opener(open_handed, &h);
	assert_int_equal(bh_disk_open(at("c.bhd"), NULL, &d, &e), -ENOENT);
	bh_disk_set_opener(NULL, NULL);
	n.filters = "[{\"type\": \"cbt\"}]";
	ok(bh_disk_create(at("f.bhd"), &n, &e), e);
	assert_int_equal(bh_disk_files(at("f.bhd"), false, hand, &h, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "only its filter 'cbt' knows"));
	for (unsigned i = 0; i < h.count; i++) close(h.file[i].fd);
}

static void test_refused(void **state)
{
	struct bh_disk_new n = { .size_bytes = SIZE };
	struct bh_disk_attr ro = { .mode = BH_DISK_RDONLY };
	struct bh_disk *d, *d2;
	struct err e = ERR_INIT;
	own_free unsigned char *buf = calloc(1, 4096);

	(void)state;
	ok(bh_disk_create(at("b.bhd"), &n, &e), e);
	d = open_disk(at("b.bhd"), NULL);
	assert_int_equal(bh_disk_open(at("b.bhd"), NULL, &d2, &e), -EBUSY);
	assert_int_equal(bh_disk_open(at("b.bhd"), &ro, &d2, &e), -EBUSY);
	assert_int_equal(bh_disk_clone(at("b.bhd"), at("c.bhd"), &e), -EBUSY);
	assert_non_null(strstr(e.text, "open for writing by this process"));
	assert_int_equal(bh_disk_rw(d, BH_DISK_WRITE, SIZE, buf, 512, 0, &e), -EINVAL);
	close_disk(d);
	ok(bh_disk_clone(at("b.bhd"), at("c.bhd"), &e), e);
	assert_int_equal(bh_disk_open(at("b.bhd"), NULL, &d2, &e), -EROFS);
	d = open_disk(at("b.bhd"), &ro);
	d2 = open_disk(at("b.bhd"), &ro);
	assert_int_equal(bh_disk_rw(d, BH_DISK_WRITE, 0, buf, 512, 0, &e), -EROFS);
	close_disk(d);
	close_disk(d2);
	{   // behind our back
		own_fd int fd = open(at("b.data"), O_WRONLY);

		assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	}
	assert_int_equal(bh_disk_open(at("c.bhd"), NULL, &d, &e), -ESTALE);
	assert_non_null(strstr(e.text, "has changed since"));
	assert_int_equal(unlink(at("b.bhd")), 0);
	assert_int_equal(bh_disk_open(at("c.bhd"), NULL, &d, &e), -ENOENT);
	assert_non_null(strstr(e.text, "parent"));
}

/* A clone that was cut and has grown again does not see its parent behind the cut; its own blocks there go to the parent
 * all the same, and are read from there. */
static void test_commit_regrown(void **state)
{
	struct bh_disk_new n = { .size_bytes = 64 << 10 };
	unsigned char base[64 << 10], want[64 << 10], got[64 << 10];
	struct err e = ERR_INIT;
	struct bh_disk *d;

	(void)state;
	memset(base, 'b', sizeof(base));
	ok(bh_disk_create(at("b.bhd"), &n, &e), e);
	d = open_disk(at("b.bhd"), NULL);
	ok(bh_disk_rw(d, BH_DISK_WRITE, 0, base, sizeof(base), 0, &e), e);
	close_disk(d);
	ok(bh_disk_clone(at("b.bhd"), at("c.bhd"), &e), e);
	memcpy(want, base, sizeof(want));
	memset(want + (16 << 10), 0, 48 << 10);
	memset(want + (32 << 10), 'c', 8 << 10);
	d = open_disk(at("c.bhd"), NULL);
	ok(bh_disk_resize(d, 16 << 10, &e), e);
	ok(bh_disk_resize(d, 64 << 10, &e), e);
	ok(bh_disk_rw(d, BH_DISK_WRITE, 32 << 10, want + (32 << 10), 8 << 10, 0, &e), e);
	close_disk(d);
	ok(disk_commit(at("c.bhd"), NULL, NULL, &e), e);
	for (int i = 0; i < 2; i++) {
		d = open_disk(at(i ? "b.bhd" : "c.bhd"), &(struct bh_disk_attr){ .mode = BH_DISK_RDONLY });
		ok(bh_disk_rw(d, BH_DISK_READ, 0, got, sizeof(got), 0, &e), e);
		assert_memory_equal(got, want, sizeof(got));
		close_disk(d);
	}
}

/* A clone that ends inside a block leaves what its parent has behind that end. */
static void test_commit_short(void **state)
{
	struct bh_disk_new n = { .size_bytes = 32 << 10 }, c = { .size_bytes = 32 << 10 };
	unsigned char want[32 << 10], got[32 << 10];
	struct err e = ERR_INIT;
	struct bh_disk *d;

	(void)state;
	memset(want, 'b', sizeof(want));
	ok(bh_disk_create(at("b.bhd"), &n, &e), e);
	d = open_disk(at("b.bhd"), NULL);
	ok(bh_disk_rw(d, BH_DISK_WRITE, 0, want, sizeof(want), 0, &e), e);
	close_disk(d);
	c.parent = at("b.bhd");
	ok(bh_disk_create(at("c.bhd"), &c, &e), e);
	d = open_disk(at("c.bhd"), NULL);
	ok(bh_disk_resize(d, 16 << 10, &e), e);
	ok(bh_disk_resize(d, (16 << 10) + 512, &e), e);
	memset(want + (14 << 10), 'c', (2 << 10) + 512);
	ok(bh_disk_rw(d, BH_DISK_WRITE, 14 << 10, want + (14 << 10), (2 << 10) + 512, 0, &e), e);
	close_disk(d);
	ok(disk_commit(at("c.bhd"), NULL, NULL, &e), e);
	d = open_disk(at("b.bhd"), &(struct bh_disk_attr){ .mode = BH_DISK_RDONLY });
	ok(bh_disk_rw(d, BH_DISK_READ, 0, got, sizeof(got), 0, &e), e);
	assert_memory_equal(got, want, sizeof(got));
	close_disk(d);
	c.parent = at("c.bhd");   // a larger clone of it, which is one that grows, does not see that either
	ok(bh_disk_create(at("d.bhd"), &c, &e), e);
	memset(want + (16 << 10) + 512, 0, sizeof(want) - (16 << 10) - 512);
	d = open_disk(at("d.bhd"), NULL);
	ok(bh_disk_rw(d, BH_DISK_READ, 0, got, sizeof(got), 0, &e), e);
	assert_memory_equal(got, want, sizeof(got));
	close_disk(d);
}

static void one_fault(void *user, const char *text) { snprintf(user, 256, "%s", text); }

/* A base whose data file was cut is refused as such, to its clones and to new ones; filled with zeroes it is theirs again once they accept it. */
static void test_short_base(void **state)
{
	static const unsigned char zeroes[8 << 10];
	struct bh_disk_new n = { .size_bytes = 1 << 20 };
	unsigned char want[8 << 10], got[8 << 10];
	char text[256] = "";
	struct err e = ERR_INIT;
	struct bh_disk *d;

	(void)state;
	memset(want, 'b', sizeof(want));
	ok(bh_disk_create(at("b.bhd"), &n, &e), e);
	d = open_disk(at("b.bhd"), NULL);
	ok(bh_disk_rw(d, BH_DISK_WRITE, 0, want, sizeof(want), 0, &e), e);
	ok(bh_disk_rw(d, BH_DISK_WRITE, 512 << 10, want, sizeof(want), 0, &e), e);
	close_disk(d);
	ok(bh_disk_clone(at("b.bhd"), at("c.bhd"), &e), e);
	d = open_disk(at("c.bhd"), NULL);
	ok(bh_disk_rw(d, BH_DISK_WRITE, 4096, "mine", 4, 0, &e), e);
	memcpy(want + 4096, "mine", 4);
	close_disk(d);
	assert_int_equal(disk_check(at("b.bhd"), true, one_fault, text, &e), -EROFS);   // whole, and it has clones
	assert_int_equal(truncate(at("b.data"), 256 << 10), 0);
	assert_int_equal(bh_disk_open(at("c.bhd"), NULL, &d, &e), -EIO);
	assert_non_null(strstr(e.text, "was cut short: 262144 of 1048576 bytes"));
	assert_int_equal(bh_disk_clone(at("b.bhd"), at("d.bhd"), &e), -EIO);
	assert_non_null(strstr(e.text, "was cut short"));
	assert_int_equal(disk_accept(at("c.bhd"), NULL, &e), -EIO);
	assert_int_not_equal(access(at("d.bhd"), F_OK), 0);
	assert_int_equal(disk_check(at("b.bhd"), true, one_fault, text, &e), 1);
	assert_non_null(strstr(text, "is zeroes now; its clones need 'disk rebase --accept'"));
	assert_int_equal(disk_check(at("b.bhd"), false, one_fault, text, &e), 0);
	assert_true(bh_disk_open(at("c.bhd"), NULL, &d, &e) < 0);
	ok(disk_accept(at("c.bhd"), NULL, &e), e);
	d = open_disk(at("c.bhd"), NULL);
	ok(bh_disk_rw(d, BH_DISK_READ, 0, got, sizeof(got), 0, &e), e);
	assert_memory_equal(got, want, sizeof(got));
	ok(bh_disk_rw(d, BH_DISK_READ, 512 << 10, got, sizeof(got), 0, &e), e);
	assert_memory_equal(got, zeroes, sizeof(got));
	close_disk(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_raw, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_clones, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_filters, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_compress_room, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_commit_regrown, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_commit_short, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_short_base, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_handed_files, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_refused, make_dir, remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
