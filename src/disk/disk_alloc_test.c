// SPDX-License-Identifier: Apache-2.0
// The nth allocation fails, for every n: of the library, its filters and jansson, on every thread. Whatever was asked for
// then fails with an error or works all the same; nothing crashes, nothing leaks (the ASan build sees to it), and once
// there is memory again the disk opens and holds every write that was answered. ALLOC_TEST_STRIDE=1 takes every n.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include <bulkhead/disk.h>

#include "base/err.h"
#include "base/file.h"
#include "disk/copy.h"
#include "disk/descriptor.h"

#define SIZE (512u << 10)
#define BLOCK 4096u

/* ---- the allocator: ld's --wrap puts it before the real one ---- */

static _Atomic long countdown;   // 0: nothing fails
static _Atomic bool hit;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);

static bool fails(void)
{
	if (atomic_load(&countdown) <= 0 || atomic_fetch_sub(&countdown, 1) != 1) return false;
	atomic_store(&hit, true);
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t n) { return fails() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t size) { return fails() ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t n) { return fails() ? NULL : __real_realloc(p, n); }
void *__wrap_aligned_alloc(size_t align, size_t n) { return fails() ? NULL : __real_aligned_alloc(align, n); }
char *__wrap_strdup(const char *s) { return fails() ? NULL : __real_strdup(s); }

/* ---- the work ---- */

static char dir[64], base_path[128], clone_path[128];
static unsigned char want[SIZE], maybe[SIZE];   // maybe: a write that failed may have reached this byte
static bool flushed;

static int put(struct bh_disk *d, uint64_t off, size_t len, unsigned char v)
{
	static unsigned char buf[64 << 10];
	struct err e = ERR_INIT;
	int rc;

	memset(buf, v, len);
	rc = bh_disk_rw(d, BH_DISK_WRITE, off, buf, len, 0, &e);
	if (rc == 0) memset(want + off, v, len);
	else memset(maybe + off / BLOCK * BLOCK, 1, (len + off % BLOCK + BLOCK - 1) / BLOCK * BLOCK);
	return rc;
}

static int use(struct bh_disk *d, struct err *e)
{
	static unsigned char back[64 << 10];
	int rc = put(d, 4096, 8192, 1);

	if (rc == 0) rc = put(d, 100001, 30000, 2);
	if (rc == 0) rc = bh_disk_filter_add(d, "stats", NULL, "{}", -1, false, e);
	if (rc >= 0) rc = put(d, 200000, 60000, 3);
	if (rc == 0) rc = bh_disk_filter_add(d, "cbt", NULL, "{\"points\":\"a\"}", -1, false, e);
	if (rc >= 0) rc = put(d, 300000, 5000, 4);
	if (rc == 0) rc = bh_disk_filter_set(d, "cbt", "{\"points\":\"a b\"}", e);
	if (rc == 0) rc = bh_disk_rw(d, BH_DISK_READ, 90000, back, sizeof(back), 0, e);
	if (rc == 0) rc = bh_disk_rw(d, BH_DISK_WRITE_ZEROES, 204800, NULL, 8192, 0, e);
	if (rc == 0) memset(want + 204800, 0, 8192);
	else memset(maybe + 204800, 1, 8192);
	if (rc == 0) rc = bh_disk_rw(d, BH_DISK_FLUSH, 0, NULL, 0, 0, e);
	if (rc == 0) rc = bh_disk_resize(d, SIZE + 65536, e);
	if (rc == 0) rc = bh_disk_filter_remove(d, "stats", e);
	free(bh_disk_stats(d));
	return rc;
}

static int everything(const char *filters, struct err *e)
{
	struct bh_disk_new n = { .size_bytes = SIZE }, cn = { .parent = base_path, .filters = filters };
	struct bh_disk *d = NULL;
	int rc = bh_disk_create(base_path, &n, e), rc2;

	if (rc == 0) rc = bh_disk_create(clone_path, &cn, e);
	if (rc == 0) rc = bh_disk_open(clone_path, NULL, &d, e);
	if (rc < 0) return rc;
	rc = use(d, e);
	rc2 = bh_disk_close(d, rc < 0 ? NULL : e);
	flushed = rc2 == 0;
	return rc < 0 ? rc : rc2;
}

static void ignore(void *user, const char *text) { (void)user; (void)text; }

static void verify(long n)
{
	static unsigned char all[SIZE];
	struct bh_disk_attr ro = { .mode = BH_DISK_RDONLY };
	struct err e = ERR_INIT;
	struct bh_disk *d;

	if (access(clone_path, F_OK) < 0) return;
	if (bh_disk_open(clone_path, &ro, &d, &e) < 0) fail_msg("allocation %ld: afterwards: %s", n, e.text);
	if (bh_disk_rw(d, BH_DISK_READ, 0, all, SIZE, 0, &e) < 0) fail_msg("allocation %ld: afterwards: %s", n, e.text);
	for (uint32_t i = 0; i < SIZE && flushed; i++)
		if (all[i] != want[i] && !maybe[i]) fail_msg("allocation %ld: byte %u is %02x, not %02x", n, i, all[i], want[i]);
	assert_int_equal(bh_disk_close(d, &e), 0);
	if (disk_check(clone_path, false, ignore, NULL, &e) != 0) fail_msg("allocation %ld: check: %s", n, e.text);
}

static void fail_each(const char *filters, unsigned stride)
{
	long n;

	if (getenv("ALLOC_TEST_STRIDE")) stride = (unsigned)atoi(getenv("ALLOC_TEST_STRIDE"));
	for (n = 1, hit = true; hit; n += stride) {
		struct err e = ERR_INIT;
		int rc;

		strcpy(dir, "/dev/shm/bh-disk-alloc-XXXXXX");
		assert_non_null(mkdtemp(dir));
		snprintf(base_path, sizeof(base_path), "%s/base.bhd", dir);
		snprintf(clone_path, sizeof(clone_path), "%s/clone.bhd", dir);
		memset(want, 0, sizeof(want));
		memset(maybe, 0, sizeof(maybe));
		flushed = false;
		hit = false;
		atomic_store(&countdown, n);
		rc = everything(filters, &e);
		atomic_store(&countdown, 0);
		if (rc < 0 && !hit) fail_msg("%d: %s", rc, e.text);
		verify(n);
		assert_int_equal(dir_remove(dir, NULL), 0);
	}
	print_message("# %ld allocations\n", n);
}

static void test_link(void **state) { (void)state; fail_each("[]", 3); }
static void test_compress(void **state) { (void)state; fail_each("[{\"type\":\"compress\",\"settings\":{\"cluster\":\"16K\"}}]", 7); }
static void test_checksum(void **state) { (void)state; fail_each("[{\"type\":\"throttle\",\"settings\":{\"iops\":1000000}},{\"type\":\"checksum\"}]", 7); }

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_link), cmocka_unit_test(test_compress), cmocka_unit_test(test_checksum) };

	json_set_alloc_funcs(__wrap_malloc, free);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
