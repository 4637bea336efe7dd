// SPDX-License-Identifier: Apache-2.0
// The compressed store: what is put comes back, from another process's file too; altered data does not.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "store.h"

static const struct store_key a = { { 1, 2 } }, b = { { 3, 4 } };

static void fill(unsigned char *page, uint32_t seed, int kind)
{
	uint32_t x = seed * 2654435761u + 1;
	for (uint32_t i = 0; i < PAGER_PAGE; i++) {
		x = x * 1664525 + 1013904223;
		page[i] = kind == 0 ? (unsigned char)seed : kind == 1 ? (unsigned char)(x >> 24) : (unsigned char)(x >> 30);
	}
}

/* Files from memfd_create share their lock with their duplicates: each store opens it anew, as a process does. */
static int again(int fd)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDWR | O_CLOEXEC);
}

static struct backing *open_store(int fd, enum store_codec codec)
{
	struct backing *s = NULL;
	struct err e = ERR_INIT;
	int mine = again(fd);
	assert_int_equal(store_new(mine, 8 << 20, codec, NULL, &s, &e), 0);
	close(mine);
	return s;
}

static void assert_page(struct backing *s, uint32_t handle, uint32_t seed, int kind)
{
	unsigned char want[PAGER_PAGE], buf[PAGER_PAGE];
	const void *got;
	fill(want, seed, kind);
	assert_int_equal(s->ops->load(s, handle, 1, buf, &got), 0);
	assert_memory_equal(got, want, PAGER_PAGE);
}

static void back_again(void **state)
{
	(void)state;
	for (int codec = STORE_RAW; codec <= STORE_ZSTD; codec++) {
		int fd = memfd_create("store", MFD_CLOEXEC);
		struct backing *s = open_store(fd, codec);
		uint32_t handle[300];
		unsigned char page[PAGER_PAGE];
		struct store_usage u;
		for (int round = 0; round < 3; round++) {
			for (uint32_t i = 0; i < 300; i++) {
				fill(page, i, (int)(i % 3));
				assert_int_equal(store_put(s, a, i, page, &handle[i]), 0);
			}
			for (uint32_t i = 0; i < 300; i++)
				assert_page(s, handle[i], i, (int)(i % 3));
			store_usage(s, &u);
			assert_int_equal(u.pages, 300);
			assert_true(codec == STORE_RAW || u.bytes < 300 * PAGER_PAGE * 2 / 3);
			for (uint32_t i = 0; i < 300; i++)
				store_release(s, handle[i]);
		}
		store_usage(s, &u);
		assert_int_equal(u.pages, 0);
		backing_put(s);
		close(fd);
	}
}

static void full(void **state)
{
	(void)state;
	int fd = memfd_create("store", MFD_CLOEXEC), n = 0;
	struct backing *s = open_store(fd, STORE_LZ4);
	static uint32_t handle[4096];
	unsigned char page[PAGER_PAGE];
	for (;; n++) {
		fill(page, (uint32_t)n, 1);
		int rc = store_put(s, a, (uint32_t)n, page, &handle[n]);
		if (rc) {
			assert_int_equal(rc, -ENOSPC);
			break;
		}
	}
	assert_true(n > 1800);                                         // 127 chunks of 15
	store_release(s, handle[17]);
	fill(page, 9999, 1);
	assert_int_equal(store_put(s, a, 9999, page, &handle[17]), 0);
	assert_page(s, handle[17], 9999, 1);
	assert_page(s, handle[18], 18, 1);
	backing_put(s);
	close(fd);
}

struct found { uint32_t handle[100]; uint32_t n; };

static void found_page(void *user, uint32_t page, uint32_t handle)
{
	struct found *f = user;
	assert_true(page < 100);
	f->handle[page] = handle;
	f->n++;
}

static void survives(void **state)
{
	(void)state;
	int fd = memfd_create("store", MFD_CLOEXEC);
	struct backing *s = open_store(fd, STORE_LZ4);
	unsigned char page[PAGER_PAGE];
	uint32_t handle = 0;
	struct err e = ERR_INIT;
	for (uint32_t i = 0; i < 100; i++) {
		fill(page, i, (int)(i % 3));
		assert_int_equal(store_put(s, i % 2 ? a : b, i, page, &handle), 0);
	}
	store_release(s, handle);
	struct backing *second = NULL;
	int mine = again(fd);
	assert_int_equal(store_new(mine, 8 << 20, STORE_LZ4, NULL, &second, &e), -EWOULDBLOCK);
	close(mine);
	backing_put(s);                                                // nothing is written on the way out
	s = open_store(fd, STORE_ZSTD);                                // the codec is each page's own
	struct found f = { .n = 0 };
	store_adopt(s, a, found_page, &f);
	assert_int_equal(f.n, 49);
	for (uint32_t i = 1; i < 98; i += 2)
		assert_page(s, f.handle[i], i, (int)(i % 3));
	assert_int_equal(store_sweep(s), 50);                          // b's
	struct store_usage u;
	store_usage(s, &u);
	assert_int_equal(u.pages, 49);
	f.n = 0;
	store_adopt(s, b, found_page, &f);
	assert_int_equal(f.n, 0);
	for (uint32_t i = 0; i < 200; i++) {                           // new pages do not overwrite adopted ones
		fill(page, i + 1000, 1);
		assert_int_equal(store_put(s, b, i, page, &handle), 0);
	}
	for (uint32_t i = 1; i < 98; i += 2)
		assert_page(s, f.handle[i], i, (int)(i % 3));
	backing_put(s);
	close(fd);
}

static void altered(void **state)
{
	(void)state;
	int fd = memfd_create("store", MFD_CLOEXEC);
	struct backing *s = open_store(fd, STORE_LZ4);
	unsigned char page[PAGER_PAGE], buf[PAGER_PAGE], byte;
	const void *got;
	uint32_t handle = 0;
	fill(page, 5, 2);
	assert_int_equal(store_put(s, a, 5, page, &handle), 0);
	int refused = 0;
	for (int i = 0; i < 600; i++) {                                // in its header and its data: flip, look, flip back
		off_t at = (off_t)handle * 256 + (i < 27 ? i : 32 + i);
		if (i == 27 || (i >= 23 && i < 27))
			continue;                                      // padding and the valid mark are not covered
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= 0x10;
		pwrite(fd, &byte, 1, at);
		refused += s->ops->load(s, handle, 1, buf, &got) == -EBADMSG;
		byte ^= 0x10;
		pwrite(fd, &byte, 1, at);
	}
	assert_int_equal(refused, 595);
	assert_page(s, handle, 5, 2);
	assert_int_equal(s->ops->load(s, 0, 1, buf, &got), -EBADMSG);
	assert_int_equal(s->ops->load(s, UINT32_MAX, 1, buf, &got), -EBADMSG);
	assert_int_equal(s->ops->load(s, handle + 1, 1, buf, &got), -EBADMSG);
	store_release(s, handle);
	assert_int_equal(s->ops->load(s, handle, 1, buf, &got), -EBADMSG);
	backing_put(s);
	close(fd);
}

static void not_a_store(void **state)
{
	(void)state;
	struct backing *s = NULL;
	struct err e = ERR_INIT;
	int fd = memfd_create("store", MFD_CLOEXEC);
	pwrite(fd, "something else", 14, 100000);
	assert_int_equal(store_new(fd, 8 << 20, STORE_LZ4, NULL, &s, &e), -EINVAL);
	close(fd);
	fd = memfd_create("store", MFD_CLOEXEC);
	assert_int_equal(store_new(fd, 1000, STORE_LZ4, NULL, &s, &e), -EINVAL);
	close(fd);
	fd = memfd_create("store", MFD_CLOEXEC);
	backing_put(open_store(fd, STORE_LZ4));
	assert_int_equal(ftruncate(fd, 4 << 20), 0);
	assert_int_equal(store_new(fd, 8 << 20, STORE_LZ4, NULL, &s, &e), -EINVAL);
	assert_null(s);
	close(fd);
}

static void allocations_fail(void **state)
{
	(void)state;
	int rc = -1, failed = 0;
	for (long n = 1; rc && n < 200; n++) {
		int fd = memfd_create("store", MFD_CLOEXEC);
		struct backing *s = NULL;
		unsigned char page[PAGER_PAGE];
		uint32_t handle = 0;
		pager_fail_at = n;
		rc = store_new(fd, 8 << 20, STORE_LZ4, NULL, &s, NULL);
		fill(page, 1, 2);
		if (!rc)
			rc = store_put(s, a, 1, page, &handle);
		if (!rc)
			assert_page(s, handle, 1, 2);
		backing_put(s);
		close(fd);
		failed += rc != 0;
	}
	pager_fail_at = 0;
	assert_int_equal(rc, 0);
	assert_true(failed > 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(back_again),
		cmocka_unit_test(full),
		cmocka_unit_test(survives),
		cmocka_unit_test(altered),
		cmocka_unit_test(not_a_store),
		cmocka_unit_test(allocations_fail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
