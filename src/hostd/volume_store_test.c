// SPDX-License-Identifier: Apache-2.0
// Volumes, copies, snapshots: what each holds after the others have changed or gone.
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/own.h"
#include "bulkhead/disk.h"
#include "volume_store.h"

#define MIB (1ull << 20)

static char root[64];
static struct volume_store *store;
static struct err e;

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/bh-volumes-XXXXXX");
	e = (struct err)ERR_INIT;
	return mkdtemp(root) && !volume_store_open(root, &store, &e) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	volume_store_close(store);
	return dir_remove(root, NULL);
}

static void ok(int rc)
{
	if (rc)
		fail_msg("%d: %s", rc, e.text);
}

static int make(const char *id, uint64_t mib, const char *from_volume, const char *from_snapshot)
{
	struct volume_new n = {.id = id, .size_bytes = mib * MIB, .block = true, .from_volume = from_volume, .from_snapshot = from_snapshot};
	e = (struct err)ERR_INIT;
	return volume_create(store, &n, &e);
}

static void put(const char *id, const char *text)
{
	struct volume_info v;
	struct bh_disk *d;
	char block[512] = "";
	strcpy(block, text);
	ok(volume_open(store, id, &v, &e));
	ok(bh_disk_open(v.path, NULL, &d, &e));
	ok(bh_disk_rw(d, BH_DISK_WRITE, 4096, block, sizeof(block), 0, &e));
	ok(bh_disk_close(d, &e));
}

static void expect(const char *id, const char *text)
{
	struct bh_disk_attr attr = {.mode = BH_DISK_RDONLY};
	struct volume_info v;
	struct bh_disk *d;
	char block[512];
	ok(volume_get(store, id, &v, &e));
	ok(bh_disk_open(v.path, &attr, &d, &e));
	ok(bh_disk_rw(d, BH_DISK_READ, 4096, block, sizeof(block), 0, &e));
	ok(bh_disk_close(d, &e));
	assert_string_equal(block, text);
}

static size_t disks(void)
{
	char path[128];
	size_t n = 0;
	snprintf(path, sizeof(path), "%s/volumes/disks", root);
	own_dir DIR *d = opendir(path);
	for (struct dirent *de; (de = readdir(d));)
		n += strstr(de->d_name, ".bhd") != NULL;
	return n;
}

static void test_copies_stand_alone(void **state)
{
	(void)state;
	ok(make("a", 8, NULL, NULL));
	put("a", "one");
	ok(volume_snapshot(store, "s", "a", false, &e));
	put("a", "two");
	ok(make("b", 16, NULL, "s"));
	ok(make("c", 8, "a", NULL));
	put("b", "three");
	put("a", "four");
	expect("b", "three");
	expect("c", "two");
	expect("a", "four");
	ok(make("d", 8, NULL, "s"));
	expect("d", "one");
	ok(volume_remove(store, "a", &e));
	ok(volume_snapshot_remove(store, "s", &e));
	expect("b", "three");
	expect("c", "two");
	expect("d", "one");
	volume_store_close(store);   // what is needed is there after a restart
	ok(volume_store_open(root, &store, &e));
	expect("c", "two");
	ok(volume_remove(store, "b", &e));
	ok(volume_remove(store, "c", &e));
	ok(volume_remove(store, "d", &e));
	assert_int_equal(disks(), 0);
}

static void test_in_use(void **state)
{
	(void)state;
	struct volume_info v;
	struct bh_disk *d;
	char block[512] = "live";
	ok(make("a", 8, NULL, NULL));
	ok(volume_open(store, "a", &v, &e));
	ok(bh_disk_open(v.path, NULL, &d, &e));
	ok(bh_disk_rw(d, BH_DISK_WRITE, 4096, block, sizeof(block), 0, &e));
	ok(bh_disk_rw(d, BH_DISK_FLUSH, 0, NULL, 0, 0, &e));
	assert_int_equal(volume_snapshot(store, "s", "a", false, &e), -EBUSY);
	assert_int_equal(make("b", 8, "a", NULL), -EBUSY);
	assert_int_equal(volume_remove(store, "a", &e), -EBUSY);
	ok(volume_snapshot(store, "s", "a", true, &e));   // as if its file system were frozen
	strcpy(block, "later");
	ok(bh_disk_rw(d, BH_DISK_WRITE, 4096, block, sizeof(block), 0, &e));
	ok(volume_grow(store, "a", 32 * MIB, true, &e));
	ok(bh_disk_close(d, &e));
	ok(make("c", 8, NULL, "s"));
	expect("c", "live");
	expect("a", "later");
	ok(volume_get(store, "a", &v, &e));
	assert_int_equal(v.size_bytes, 32 * MIB);
	struct bh_disk_info info;
	ok(bh_disk_open(v.path, NULL, &d, &e));
	bh_disk_info(d, &info);
	ok(bh_disk_close(d, &e));
	assert_int_equal(info.size_bytes, 32 * MIB);
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const ids[] = {"", "../a", "a/b", ".a"};
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		assert_int_equal(make(ids[i], 8, NULL, NULL), -EINVAL);
	assert_int_equal(make("a", 1ull << 30, NULL, NULL), -ENOSPC);
	assert_int_equal(make("a", 8, "nobody", NULL), -ENOENT);
	ok(make("a", 8, NULL, NULL));
	assert_int_equal(make("b", 4, "a", NULL), -EINVAL);
	assert_int_equal(volume_grow(store, "a", 4 * MIB, false, &e), -EINVAL);
	struct volume_new other = {.id = "c", .size_bytes = 16 * MIB, .from_volume = "a"};
	assert_int_equal(volume_create(store, &other, &e), -EINVAL);
	ok(make("a", 8, NULL, NULL));   // again: it is there
	assert_int_equal(disks(), 1);
}

static void test_grow(void **state)
{
	(void)state;
	struct volume_info v;
	ok(make("a", 8, NULL, NULL));
	put("a", "x");
	ok(volume_grow(store, "a", 20 * MIB + 1, false, &e));
	ok(volume_get(store, "a", &v, &e));
	assert_int_equal(v.size_bytes, 21 * MIB);
	expect("a", "x");
}

// ---- The sync of a data file that grows ----

static bool watched, worked;

static void *meanwhile(void *arg)
{
	(void)arg;
	worked = !make("other", 8, NULL, NULL) && !volume_grow(store, "a", 40 * MIB, true, &e);
	return NULL;
}

/* Instead of the C library's. While a volume in use is synced others are made, and it grows further. */
int fsync(int fd)
{
	struct stat st;
	if (watched && !fstat(fd, &st) && st.st_size == 32 * MIB) {
		pthread_t t;
		struct timespec end;
		watched = false;
		clock_gettime(CLOCK_REALTIME, &end);
		end.tv_sec += 30;
		assert_int_equal(pthread_create(&t, NULL, meanwhile, NULL), 0);
		assert_int_equal(pthread_timedjoin_np(t, NULL, &end), 0);
	}
	return (int)syscall(SYS_fsync, fd);
}

static void test_grows_beside_others(void **state)
{
	(void)state;
	struct bh_disk_info info;
	struct volume_info v;
	struct bh_disk *d;
	ok(make("a", 8, NULL, NULL));
	put("a", "x");
	worked = false;
	watched = true;
	ok(volume_grow(store, "a", 32 * MIB, true, &e));
	assert_false(watched);
	assert_true(worked);
	ok(volume_get(store, "a", &v, &e));
	assert_int_equal(v.size_bytes, 40 * MIB);
	ok(bh_disk_open(v.path, NULL, &d, &e));
	bh_disk_info(d, &info);
	ok(bh_disk_close(d, &e));
	assert_int_equal(info.size_bytes, 40 * MIB);
	expect("a", "x");
	assert_int_equal(volume_grow(store, "a", 32 * MIB, true, &e), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_copies_stand_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_use, setup, teardown), cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_grow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_grows_beside_others, setup, teardown)};
	return cmocka_run_group_tests_name("hostd/volume_store", tests, NULL, NULL);
}
