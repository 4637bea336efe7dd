// SPDX-License-Identifier: Apache-2.0
// SIGKILL at any moment of a process that writes, flushes, changes its chain and closes: afterwards every flushed block is
// there or has what was written later, no block is torn, check is clean, and the next one goes on with the same disk.
// KILL_TEST_ROUNDS (20): thousands for a long run. This process opens no disk itself: it forks.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <bulkhead/disk.h>

#include "base/err.h"
#include "base/file.h"
#include "disk/copy.h"

#define BLOCKS 256u
#define BLOCK 4096u

/* Shared with the writer: for each block the number of the last write begun, and of the last one that a flush covered. */
struct model { _Atomic uint32_t begun[BLOCKS], flushed[BLOCKS], number; };

static char dir[64], base_path[128], clone_path[128];
static struct model *model;

static int say(const char *what, const struct err *e)
{
	fprintf(stderr, "# %s: %s\n", what, e->text);
	return 1;
}

static void fill(unsigned char *p, uint32_t block, uint32_t number)
{
	for (uint32_t i = 0; i < BLOCK / 8; i++) {
		uint32_t v[2] = { number, i % 8 ? block : block * 2654435761u ^ number * 40503u ^ i };

		memcpy(p + i * 8, number ? v : (uint32_t[2]){ 0 }, 8);
	}
}

static int write_forever(unsigned seed)
{
	static unsigned char buf[16 * BLOCK];
	struct err e = ERR_INIT;
	struct bh_disk *d;

	for (;;) {
		if (bh_disk_open(clone_path, NULL, &d, &e) < 0) return say("writer", &e);
		for (int i = 0; i < 200; i++) {
			uint32_t n = 1 + (uint32_t)rand_r(&seed) % 16, at = (uint32_t)rand_r(&seed) % (BLOCKS - n), number = ++model->number;
			uint32_t snapshot[BLOCKS];

			for (uint32_t b = 0; b < n; b++) {
				fill(buf + b * BLOCK, at + b, number);
				model->begun[at + b] = number;
			}
			if (bh_disk_rw(d, BH_DISK_WRITE, (uint64_t)at * BLOCK, buf, n * BLOCK, 0, &e) < 0) return say("write", &e);
			if (rand_r(&seed) % 8) continue;
			for (uint32_t b = 0; b < BLOCKS; b++) snapshot[b] = model->begun[b];
			if (bh_disk_rw(d, BH_DISK_FLUSH, 0, NULL, 0, 0, &e) < 0) return say("flush", &e);
			for (uint32_t b = 0; b < BLOCKS; b++) model->flushed[b] = snapshot[b];
			if (rand_r(&seed) % 4) continue;
			if (bh_disk_filter_remove(d, "stats", &e) < 0 && bh_disk_filter_add(d, "stats", NULL, "{}", -1, false, &e) < 0) return say("filter", &e);
		}
		if (bh_disk_close(d, &e) < 0) return say("close", &e);
	}
}

static void print_fault(void *user, const char *text) { fprintf(stderr, "# %s: %s\n", (const char *)user, text); }

/* What is there now counts as flushed from here on. */
static int verify(unsigned unused)
{
	static unsigned char all[BLOCKS * BLOCK], want[BLOCK];
	struct err e = ERR_INIT;
	struct bh_disk *d;

	(void)unused;
	if (bh_disk_open(clone_path, NULL, &d, &e) < 0) return say("after the kill", &e);
	if (bh_disk_rw(d, BH_DISK_READ, 0, all, sizeof(all), 0, &e) < 0) return say("read", &e);
	for (uint32_t b = 0; b < BLOCKS; b++) {
		uint32_t number;

		memcpy(&number, all + b * BLOCK, 4);
		fill(want, b, number);
		if (number < model->flushed[b] || number > model->begun[b] || memcmp(all + b * BLOCK, want, BLOCK)) {
			fprintf(stderr, "# block %u holds %u; flushed %u, last begun %u\n", b, number, model->flushed[b], model->begun[b]);
			return 1;
		}
		model->flushed[b] = model->begun[b] = number;
	}
	if (bh_disk_close(d, &e) < 0) return say("close", &e);
	return disk_check(clone_path, false, print_fault, "check", &e) != 0 ? say("check", &e) : 0;
}

static int run(int (*fn)(unsigned), unsigned arg, unsigned kill_after_us)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) _exit(fn(arg));
	assert_true(pid > 0);
	if (kill_after_us) {
		usleep(kill_after_us);
		kill(pid, SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static const char *chain;

static int make(unsigned unused)
{
	char filters[400];
	struct bh_disk_new n = { .size_bytes = BLOCKS * BLOCK }, cn = { .parent = base_path, .filters = filters };
	struct err e = ERR_INIT;

	(void)unused;
	snprintf(filters, sizeof(filters), chain, dir);
	if (bh_disk_create(base_path, &n, &e) < 0 || bh_disk_create(clone_path, &cn, &e) < 0) return say("create", &e);
	return 0;
}

static void kill_often(const char *filters)
{
	unsigned rounds = getenv("KILL_TEST_ROUNDS") ? (unsigned)atoi(getenv("KILL_TEST_ROUNDS")) : 20, seed = 1;
	char key[128];

	strcpy(dir, "/dev/shm/bh-disk-kill-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(base_path, sizeof(base_path), "%s/base.bhd", dir);
	snprintf(clone_path, sizeof(clone_path), "%s/clone.bhd", dir);
	snprintf(key, sizeof(key), "%s/key", dir);
	assert_int_equal(file_write_atomic(key, "key", 3, 0600, NULL), 0);
	model = mmap(NULL, sizeof(*model), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(model, MAP_FAILED);
	chain = filters;
	assert_int_equal(run(make, 0, 0), 0);
	for (unsigned i = 0; i < rounds; i++) {
		int status = run(write_forever, i, 500 + (unsigned)rand_r(&seed) % 20000);

		if (!WIFSIGNALED(status)) fail_msg("round %u: the writer ended by itself", i);
		if (run(verify, 0, 0) != 0) fail_msg("round %u: see above", i);
	}
	print_message("# %u kills, %u writes\n", rounds, model->number);
	munmap(model, sizeof(*model));
	assert_int_equal(dir_remove(dir, NULL), 0);
}

static void test_link(void **state) { (void)state; kill_often("[]"); }
static void test_compress(void **state) { (void)state; kill_often("[{\"type\":\"checksum\"},{\"type\":\"compress\",\"settings\":{\"cluster\":\"16K\"}}]"); }
static void test_encrypt(void **state) { (void)state; kill_often("[{\"type\":\"cbt\",\"settings\":{\"points\":\"a\"}},{\"type\":\"encrypt\",\"settings\":{\"key-file\":\"%s/key\",\"iterations\":1000}}]"); }
static void test_journal(void **state) { (void)state; kill_often("[{\"type\":\"cache\",\"settings\":{\"path\":\"%s/cache\",\"size\":\"1M\",\"mode\":\"writeback\",\"journal\":\"4M\"}}]"); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_link), cmocka_unit_test(test_compress), cmocka_unit_test(test_encrypt), cmocka_unit_test(test_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
