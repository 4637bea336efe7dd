// SPDX-License-Identifier: Apache-2.0
// The power goes at every write and sync of a workload on clones with various chains, and of flatten, commit, rebase and
// resize; and, separately, each request below the link fails once. After that: every flushed sector has what was flushed
// or what was written later, none is torn, none is foreign; the disk can be written again. CRASH_TEST_STRIDE=1 takes every
// point where the chain is slow to test and every few would do.
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <bulkhead/disk.h>

#include "base/err.h"
#include "base/file.h"
#include "base/own.h"
#include "base/usock.h"
#include "disk/admin.h"
#include "disk/copy.h"
#include "disk/descriptor.h"
#include "disk/nbd/server.h"
#include "disk/test_disk.h"

#define SECTORS 1024u
#define SIZE (SECTORS * 512u)
#define STEPS 40

static char base_path[128], clone_path[128];

/* What a sector may hold: the number of a write, or 0 for the base's. since[s]: the oldest version still allowed. */
struct model { uint32_t version[SECTORS]; uint32_t since[SECTORS]; uint32_t now; };

static void fill_sector(unsigned char *p, uint32_t sector, uint32_t version)
{
	for (uint32_t i = 0; i < 128; i++) {
		uint32_t v = version ? version * 2654435761u + sector * 40503u + i / 16 : sector + 7;

		memcpy(p + i * 4, version == UINT32_MAX ? (uint32_t[]){ 0 } : &v, 4);
	}
	if (version && version != UINT32_MAX) memcpy(p, &version, 4);
}

static int setup(void **state)
{
	if (make_dir(state)) return -1;
	snprintf(base_path, sizeof(base_path), "%s/base.bhd", dir);
	snprintf(clone_path, sizeof(clone_path), "%s/clone.bhd", dir);
	return 0;
}

/* The injector, which may stand anywhere, goes to the bottom. */
static void admin_move_last(const char *path)
{
	struct descriptor *d;
	struct descriptor_filter f;
	struct err e = ERR_INIT;

	ok(descriptor_read(path, &d, &e), e);
	f = d->filters[0];
	memmove(&d->filters[0], &d->filters[1], (d->nfilters - 1) * sizeof(f));
	d->filters[d->nfilters - 1] = f;
	ok(descriptor_write(d, &e), e);
	descriptor_free(d);
}

static void make_base(void)
{
	static unsigned char all[SIZE];
	struct bh_disk_new n = { .size_bytes = SIZE };
	struct err e = ERR_INIT;
	struct bh_disk *d;

	ok(bh_disk_create(base_path, &n, &e), e);
	ok(bh_disk_open(base_path, NULL, &d, &e), e);
	for (uint32_t s = 0; s < SECTORS; s++) fill_sector(all + s * 512, s, 0);
	ok(bh_disk_rw(d, BH_DISK_WRITE, 0, all, SIZE, 0, &e), e);
	ok(bh_disk_close(d, &e), e);
}

static unsigned stride_of(unsigned n) { return getenv("CRASH_TEST_STRIDE") ? (unsigned)atoi(getenv("CRASH_TEST_STRIDE")) : n; }

static unsigned failures;   // of requests, while the power was on

/* Returns whether the power went. Versions of zeroed sectors are UINT32_MAX in the file; version 0 means the base. */
static bool work(struct bh_disk *d, struct model *m, uint8_t zeroed[][SECTORS], unsigned seed)
{
	static unsigned char buf[SIZE];

	for (int i = 0; i < STEPS; i++) {
		uint32_t n = 1 + (uint32_t)rand_r(&seed) % (rand_r(&seed) % 3 ? 24 : 200), at = (uint32_t)rand_r(&seed) % (SECTORS - n);
		int what = rand_r(&seed) % 8, rc;
		uint32_t flags = rand_r(&seed) % 10 ? 0 : BH_DISK_FUA;

		if (rand_r(&seed) % 2) {
			at = at / 8 * 8;
			n = (n + 7) / 8 * 8;
			if (at + n > SECTORS) n = SECTORS - at;
		}
		if (what == 0) {
			rc = bh_disk_rw(d, BH_DISK_FLUSH, 0, NULL, 0, 0, NULL);
			if (rc == 0) memcpy(m->since, m->version, sizeof(m->since));
		} else {
			uint32_t v = ++m->now, before[SECTORS];

			memcpy(before, m->version, sizeof(before));
			memset(zeroed[v], 0, SECTORS);
			if (what == 1) memset(zeroed[v] + at, 1, n);
			for (uint32_t s = at; s < at + n; s++) {
				fill_sector(buf + (s - at) * 512, s, v);
				m->version[s] = v;   // may reach the disk even if it fails
			}
			rc = what == 1 ? bh_disk_rw(d, BH_DISK_WRITE_ZEROES, at * 512, NULL, n * 512, flags, NULL) :
				bh_disk_rw(d, BH_DISK_WRITE, at * 512, buf, n * 512, flags, NULL);
			if (rc == -ENOSPC || rc == -ETIMEDOUT) memcpy(m->version, before, sizeof(before));   // old or new: a flush makes neither sure
			if (rc == 0 && flags)
				for (uint32_t s = at; s < at + n; s++) m->since[s] = v;
		}
		if (rc == -EIO) return true;
		if (rc < 0 && rc != -ENOSPC && rc != -ETIMEDOUT) fail_msg("step %d: %d", i, rc);
		if (rc < 0) failures++;
	}
	return false;
}

/* A read-modify-write or a cluster carries old sectors along: any version from since on is allowed, and those between. */
static bool allowed(const struct model *m, uint8_t zeroed[][SECTORS], const unsigned char *p, uint32_t s)
{
	unsigned char want[512];

	for (uint32_t v = m->since[s]; v <= m->now; v++) {
		if (v && zeroed[v][s]) memset(want, 0, sizeof(want));
		else fill_sector(want, s, v);
		if (!memcmp(p, want, 512)) return true;
	}
	return false;
}

/* ---- the other side of replicate, whose power stays on ---- */

static struct { struct nbd_export x; int listen_fd, stop_fd; pthread_t thread; } replica;

static void *replica_run(void *arg)
{
	struct err e = ERR_INIT;

	(void)arg;
	return (void *)(intptr_t)nbd_serve(&replica.x, replica.listen_fd, replica.stop_fd, &e);
}

static void replica_start(char *target, size_t room)
{
	struct bh_disk_new n = { .size_bytes = SIZE };
	char path[128];
	struct err e = ERR_INIT;

	snprintf(path, sizeof(path), "%s/replica.bhd", dir);
	ok(bh_disk_create(path, &n, &e), e);
	ok(bh_disk_open(path, NULL, &replica.x.disk, &e), e);
	replica.x.name = "replica";
	replica.x.connections_max = 8;
	snprintf(path, sizeof(path), "%s/replica.sock", dir);
	snprintf(target, room, "unix:%s", path);
	replica.listen_fd = usock_listen(path, SOCK_STREAM, 0600, &e);
	replica.stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_true(replica.listen_fd >= 0 && replica.stop_fd >= 0);
	assert_int_equal(pthread_create(&replica.thread, NULL, replica_run, NULL), 0);
}

static void replica_stop(void)
{
	struct err e = ERR_INIT;
	void *rc;

	assert_int_equal(eventfd_write(replica.stop_fd, 1), 0);
	pthread_join(replica.thread, &rc);
	assert_null(rc);
	close(replica.listen_fd);
	close(replica.stop_fd);
	ok(bh_disk_close(replica.x.disk, &e), e);
	replica.x.disk = NULL;
}

/* After the power has come back the replica becomes what the disk is, whichever of them had more of the last writes. */
static void expect_replica(struct bh_disk *d, const unsigned char *all, unsigned cut)
{
	static unsigned char there[SIZE];
	struct err e = ERR_INIT;

	for (int i = 0;; i++) {
		own_free char *stats = bh_disk_stats(d);

		if (stats && strstr(stats, "\"behind_bytes\":0") && strstr(stats, "\"connected\":1")) break;
		if (i == 60000) fail_msg("cut %u: the replica does not catch up: %s", cut, stats ? stats : "");
		usleep(1000);
	}
	ok(bh_disk_rw(replica.x.disk, BH_DISK_READ, 0, there, SIZE, 0, &e), e);
	for (uint32_t s = 0; s < SECTORS; s++)
		if (memcmp(there + s * 512, all + s * 512, 512)) fail_msg("cut %u: sector %u of the replica is another", cut, s);
}

static void check_after(const struct model *m, uint8_t zeroed[][SECTORS], unsigned cut, const char *injector)
{
	static unsigned char all[SIZE];
	struct descriptor *desc;
	struct err e = ERR_INIT;
	struct bh_disk *d;

	ok(descriptor_read(clone_path, &desc, &e), e);
	descriptor_filter_remove(desc, (unsigned)descriptor_filter_find(desc, injector));
	ok(descriptor_write(desc, &e), e);
	descriptor_free(desc);
	ok(bh_disk_open(clone_path, NULL, &d, &e), e);
	ok(bh_disk_rw(d, BH_DISK_READ, 0, all, SIZE, 0, &e), e);
	for (uint32_t s = 0; s < SECTORS; s++)
		if (!allowed(m, zeroed, all + s * 512, s)) {
			uint32_t got;

			memcpy(&got, all + s * 512, 4);
			fail_msg("cut %u: sector %u holds %u; flushed %u, last written %u", cut, s, got, m->since[s], m->version[s]);
		}
	if (replica.x.disk) expect_replica(d, all, cut);
	ok(bh_disk_rw(d, BH_DISK_WRITE, 0, all, SIZE, 0, &e), e);
	ok(bh_disk_close(d, &e), e);
}

/* Journals bear the ids of disks that are gone. */
static void drop_caches(void)
{
	DIR *d = opendir(dir);
	struct dirent *f;

	while (d && (f = readdir(d))) {
		char path[400];

		snprintf(path, sizeof(path), "%s/%s", dir, f->d_name);
		if (!strncmp(f->d_name, "cache", 5)) unlink(path);
	}
	if (d) closedir(d);
}

static void cut_everywhere(const char *filters, unsigned stride)
{
	static uint8_t zeroed[STEPS + 2][SECTORS];
	bool cut = true;

	make_base();
	stride = stride_of(stride);
	for (unsigned n = 1; cut; n += stride) {
		char all[512];
		struct bh_disk_new dn = { .parent = base_path, .filters = all };
		struct model m = { .now = 0 };
		struct err e = ERR_INIT;
		struct bh_disk *d;
		int rc;

		snprintf(all, sizeof(all), "[%s%s{\"type\":\"powercut\",\"settings\":{\"cut-after\":%u,\"seed\":%u}}]", filters, *filters ? "," : "", n, n * 7 + 1);
		ok(bh_disk_create(clone_path, &dn, &e), e);
		rc = bh_disk_open(clone_path, NULL, &d, &e);
		if (rc == 0) {
			cut = work(d, &m, zeroed, n / 50);
			rc = bh_disk_close(d, &e);
			if (!cut && rc == 0) memcpy(m.since, m.version, sizeof(m.since));
			cut |= rc < 0;
		}
		check_after(&m, zeroed, n, "powercut");
		ok(bh_disk_remove(clone_path, &e), e);
		drop_caches();
	}
}

/* The nth write, read or flush below fails; what was asked for fails or not, and everything after it works. */
static void fail_everywhere(const char *filters, const char *code)
{
	static uint8_t zeroed[STEPS + 2][SECTORS];

	make_base();
	for (unsigned n = 1, quiet = 0; quiet < 3; n++) {
		char all[512];
		struct bh_disk_new dn = { .parent = base_path, .filters = all };
		struct model m = { .now = 0 };
		struct err e = ERR_INIT;
		struct bh_disk *d;

		snprintf(all, sizeof(all), "[%s%s{\"type\":\"error\",\"settings\":{\"at\":%u,\"code\":\"%s\"}}]", filters, *filters ? "," : "", n, code);
		ok(bh_disk_create(clone_path, &dn, &e), e);
		admin_move_last(clone_path);
		failures = 0;
		ok(bh_disk_open(clone_path, NULL, &d, &e), e);
		assert_false(work(d, &m, zeroed, n / 20));
		if (bh_disk_rw(d, BH_DISK_FLUSH, 0, NULL, 0, 0, NULL) < 0) {
			failures++;
			ok(bh_disk_rw(d, BH_DISK_FLUSH, 0, NULL, 0, 0, &e), e);
		}
		if (failures == 0) memcpy(m.since, m.version, sizeof(m.since));
		quiet = failures ? 0 : quiet + 1;
		if (bh_disk_close(d, &e) < 0) assert_true(e.code == ENOSPC || e.code == ETIMEDOUT);   // its flush was the nth
		check_after(&m, zeroed, n, "error");
		ok(bh_disk_remove(clone_path, &e), e);
	}
	assert_int_equal(bh_disk_remove(base_path, NULL), 0);
}

static void test_faults_link(void **state) { (void)state; fail_everywhere("", "ENOSPC"); }
static void test_faults_compress(void **state) { (void)state; fail_everywhere("{\"type\":\"compress\",\"settings\":{\"cluster\":\"16K\"}}", "ENOSPC"); }

/* ---- changes of whole disks ---- */

static unsigned char want[2 * SIZE];   // what the clone must read as

static int op_flatten(struct err *e) { return disk_flatten(clone_path, NULL, NULL, e); }
static int op_commit(struct err *e) { return disk_commit(clone_path, NULL, NULL, e); }

static int op_rebase(struct err *e)
{
	char other[160];

	snprintf(other, sizeof(other), "%s/other.bhd", dir);
	return disk_rebase(clone_path, other, NULL, NULL, e);
}

static int resize_to(uint64_t size, struct err *e)
{
	struct bh_disk *d;
	int rc = bh_disk_open(clone_path, NULL, &d, e);

	if (rc < 0) return rc;
	rc = bh_disk_resize(d, size, e);
	if (rc < 0) bh_disk_close(d, NULL);
	else rc = bh_disk_close(d, e);
	return rc;
}

static int op_shrink(struct err *e) { return resize_to(SIZE / 2 + 4096, e); }
static int op_grow(struct err *e) { return resize_to(SIZE + SIZE / 2, e); }

static int op_shrink_grow(struct err *e)
{
	int rc = op_shrink(e);

	return rc < 0 ? rc : op_grow(e);
}

/* powercut at the bottom of a disk's chain; cut 0: away again. */
static void set_cut(const char *path, unsigned cut)
{
	struct descriptor *d;
	struct err e = ERR_INIT;
	int i;

	ok(descriptor_read(path, &d, &e), e);
	i = descriptor_filter_find(d, "powercut");
	if (cut) {
		json_t *s = json_pack("{s:i,s:i}", "cut-after", (int)cut, "seed", (int)cut * 3 + 1);

		ok(admin_filter_add(d, "powercut", NULL, s, -1, &e), e);
		json_decref(s);
	} else if (i >= 0) {
		descriptor_filter_remove(d, (unsigned)i);
	}
	ok(descriptor_write(d, &e), e);
	descriptor_free(d);
}

static void expect_clone(unsigned n, const char *when, uint64_t least)
{
	static unsigned char all[2 * SIZE];
	struct bh_disk_attr ro = { .mode = BH_DISK_RDONLY };
	struct bh_disk_info info;
	struct err e = ERR_INIT;
	struct bh_disk *d;

	ok(bh_disk_open(clone_path, &ro, &d, &e), e);
	bh_disk_info(d, &info);
	ok(bh_disk_rw(d, BH_DISK_READ, 0, all, info.size_bytes, 0, &e), e);
	ok(bh_disk_close(d, &e), e);
	if (info.size_bytes < least) least = info.size_bytes;
	for (uint64_t i = 0; i < least; i++)
		if (all[i] != want[i]) fail_msg("cut %u, %s: byte %lu is %02x, not %02x", n, when, (unsigned long)i, all[i], want[i]);
}

static void fault(void *user, const char *text) { snprintf(user, 200, "%s", text); }

static void write_some(const char *path, unsigned seed, unsigned char *model)
{
	struct err e = ERR_INIT;
	struct bh_disk *d;

	ok(bh_disk_open(path, NULL, &d, &e), e);
	for (int i = 0; i < 12; i++) {
		uint32_t len = 512 * (1 + (uint32_t)rand_r(&seed) % 100), at = 512 * ((uint32_t)rand_r(&seed) % (SECTORS - len / 512));
		unsigned char buf[512 * 100];

		for (uint32_t b = 0; b < len; b++) buf[b] = rand_r(&seed) % 4 ? (unsigned char)(b / 100 + (uint32_t)i) : (unsigned char)rand_r(&seed);
		if (model) memcpy(model + at, buf, len);
		ok(bh_disk_rw(d, BH_DISK_WRITE, at, buf, len, 0, &e), e);
	}
	ok(bh_disk_close(d, &e), e);
}

/* The power goes at each step of op, on the clone's or its parent's medium; then op is run again. keep: bytes that stay. */
static void cut_op(const char *filters, int (*op)(struct err *e), bool on_parent, bool again_first, uint64_t keep, unsigned stride)
{
	char other[160];
	bool cut = true;

	snprintf(other, sizeof(other), "%s/other.bhd", dir);
	stride = stride_of(stride);
	for (unsigned n = 1; cut; n += stride) {
		struct bh_disk_new on = { .size_bytes = SIZE }, cn = { .parent = base_path, .filters = *filters ? filters : NULL };
		char text[200] = "";
		struct err e = ERR_INIT;

		make_base();
		ok(bh_disk_create(other, &on, &e), e);
		write_some(other, 5, NULL);
		ok(bh_disk_create(clone_path, &cn, &e), e);
		memset(want, 0, sizeof(want));
		for (uint32_t s = 0; s < SECTORS; s++) fill_sector(want + s * 512, s, 0);
		write_some(clone_path, n / 16, want);
		set_cut(on_parent ? base_path : clone_path, n);
		cut = op(&e) < 0;
		if (cut) assert_true(e.code == EIO);
		set_cut(on_parent ? base_path : clone_path, 0);
		if (cut && !again_first) expect_clone(n, "after the cut", keep);
		if (cut && op(&e) < 0 && !strstr(e.text, "is not a clone")) fail_msg("cut %u: once more: %s", n, e.text);
		expect_clone(n, "at the end", sizeof(want));
		if (disk_check(clone_path, false, fault, text, &e) != 0) fail_msg("cut %u: check: %s %s", n, text, e.text);
		ok(bh_disk_remove(clone_path, &e), e);
		ok(bh_disk_remove(base_path, &e), e);
		ok(bh_disk_remove(other, &e), e);
	}
}

#define COMPRESS "[{\"type\":\"compress\",\"settings\":{\"cluster\":\"16K\"}}]"
#define CHECKSUM "[{\"type\":\"checksum\"}]"

static void test_op_flatten(void **state)
{
	(void)state;
	cut_op("", op_flatten, false, false, sizeof(want), 1);
	cut_op(COMPRESS, op_flatten, false, false, sizeof(want), 3);
	cut_op(CHECKSUM, op_flatten, false, false, sizeof(want), 3);
}

static void test_op_commit(void **state)
{
	(void)state;
	cut_op("", op_commit, false, true, sizeof(want), 1);
	cut_op(COMPRESS, op_commit, false, true, sizeof(want), 3);
	cut_op("", op_commit, true, true, sizeof(want), 1);
}

static void test_op_rebase(void **state)
{
	(void)state;
	cut_op("", op_rebase, false, false, sizeof(want), 1);
	cut_op(COMPRESS, op_rebase, false, false, sizeof(want), 7);
}

/* What stays of the disk stays; what comes is zero. */
static int op_resize(struct err *e)
{
	int rc = op_shrink_grow(e);

	if (rc == 0) memset(want + SIZE / 2 + 4096, 0, sizeof(want) - SIZE / 2 - 4096);
	return rc;
}

static void test_op_resize(void **state)
{
	(void)state;
	cut_op("", op_resize, false, false, SIZE / 2 + 4096, 1);
	cut_op(COMPRESS, op_resize, false, false, SIZE / 2 + 4096, 1);
	cut_op(CHECKSUM, op_resize, false, false, SIZE / 2 + 4096, 1);
}

static void test_faults_eio(void **state)
{
	(void)state;
	fail_everywhere("", "ETIMEDOUT");
	fail_everywhere("{\"type\":\"checksum\"}", "ETIMEDOUT");
	fail_everywhere("{\"type\":\"cbt\",\"settings\":{\"points\":\"p\"}}", "ETIMEDOUT");
}

static void test_link(void **state) { (void)state; cut_everywhere("", 1); }
static void test_compress(void **state) { (void)state; cut_everywhere("{\"type\":\"compress\",\"settings\":{\"cluster\":\"16K\"}}", 5); }
static void test_checksum(void **state) { (void)state; cut_everywhere("{\"type\":\"checksum\"}", 3); }
static void test_cbt(void **state) { (void)state; cut_everywhere("{\"type\":\"cbt\",\"settings\":{\"points\":\"p\"}}", 3); }

static void test_journal(void **state)
{
	char filters[200];

	(void)state;
	snprintf(filters, sizeof(filters), "{\"type\":\"cache\",\"settings\":{\"path\":\"%s/cache\",\"size\":\"1M\",\"mode\":\"writeback\",\"journal\":\"4M\"}}", dir);
	cut_everywhere(filters, 3);
}

static void test_replicate(void **state)
{
	char target[160], filters[300];
	struct err e = ERR_INIT;

	(void)state;
	for (int sync = 0; sync < 2; sync++) {
		replica_start(target, sizeof(target));
		snprintf(filters, sizeof(filters), "{\"type\":\"replicate\",\"settings\":{\"target\":\"%s\",\"mode\":\"%s\"}}", target, sync ? "sync" : "async");
		cut_everywhere(filters, 7);
		replica_stop();
		snprintf(target, sizeof(target), "%s/replica.bhd", dir);
		ok(bh_disk_remove(target, &e), e);
		snprintf(target, sizeof(target), "%s/replica.sock", dir);
		unlink(target);
		ok(bh_disk_remove(base_path, &e), e);
	}
}

static void test_encrypt(void **state)
{
	char filters[200];
	struct err e = ERR_INIT;

	(void)state;
	snprintf(filters, sizeof(filters), "%s/key", dir);
	ok(file_write_atomic(filters, "key", 3, 0600, &e), e);
	snprintf(filters, sizeof(filters), "{\"type\":\"encrypt\",\"settings\":{\"key-file\":\"%s/key\",\"iterations\":1000}}", dir);
	cut_everywhere(filters, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_link, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_compress, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_checksum, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_cbt, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_journal, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_encrypt, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_replicate, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_op_flatten, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_op_commit, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_op_rebase, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_op_resize, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_faults_eio, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_faults_link, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_faults_compress, setup, remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
