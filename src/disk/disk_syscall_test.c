// SPDX-License-Identifier: Apache-2.0
// The host's disk fails or is full: the nth system call on a disk's files, or entry in its ring, fails once with EIO or
// ENOSPC, for every n, or all writes from the nth on fail with ENOSPC until space returns. The user of the disk gets an error or nothing of it;
// then everything works, every sector holds what it was given, old or new where the request failed, also after reopening;
// check finds no fault. And a disk or a clone that is being made when a call fails, or the process dies, is there or not,
// and can be made again. With the ring for what would wait, with the ring for all data (each
// transfer of it cut short), and without. SYSCALL_TEST_STRIDE=1 takes every n.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <bulkhead/disk.h>

#include "base/err.h"
#include "base/file.h"
#include "disk/copy.h"
#include "disk/queue.h"
#include "disk/test_disk.h"

#define SECTORS 512u
#define SIZE (SECTORS * 512u)
#define STEPS 30
#define OLD_MAX 8


/* ---- system calls ---- */

static struct { _Atomic bool armed; _Atomic unsigned seen, hits; unsigned at; int code; bool full, dies, ring; } fault;

static void arm(unsigned at, int code, bool full)
{
	fault.at = at;
	fault.code = code;
	fault.full = full;
	fault.dies = false;
	fault.seen = fault.hits = 0;
	fault.armed = true;
}

/* Whether this call fails. takes_space: it would with a full disk, too. */
static bool hit(bool takes_space)
{
	unsigned n;

	if (!fault.armed || (fault.full && !takes_space)) return false;
	n = ++fault.seen;
	if (fault.full ? n < fault.at : n != fault.at) return false;
	if (fault.dies) _exit(9);
	fault.hits++;
	errno = fault.code;
	return true;
}

static void (*on_sync)(int fd);       // before it happens
static void (*on_rename)(void);

#define WRAP(type, name, space, params, args) \
	type __real_##name params; \
	type __wrap_##name params; \
	type __wrap_##name params { return hit(space) ? -1 : __real_##name args; }

WRAP(ssize_t, pwrite64, true, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o))
WRAP(ssize_t, pwritev64, true, (int fd, const struct iovec *v, int n, off64_t o), (fd, v, n, o))
WRAP(ssize_t, pread64, false, (int fd, void *b, size_t n, off64_t o), (fd, b, n, o))
WRAP(ssize_t, preadv64, false, (int fd, const struct iovec *v, int n, off64_t o), (fd, v, n, o))
WRAP(int, ftruncate64, true, (int fd, off64_t n), (fd, n))

#define WRAP_WATCHED(name, space, params, args, watch) \
	int __real_##name params; \
	int __wrap_##name params; \
	int __wrap_##name params { watch; return hit(space) ? -1 : __real_##name args; }

WRAP_WATCHED(fdatasync, false, (int fd), (fd), if (on_sync) on_sync(fd))
WRAP_WATCHED(fsync, false, (int fd), (fd), if (on_sync) on_sync(fd))
WRAP_WATCHED(rename, true, (const char *a, const char *b), (a, b), if (on_rename) on_rename())
WRAP(int, fallocate64, !(mode & FALLOC_FL_PUNCH_HOLE), (int fd, int mode, off64_t o, off64_t n), (fd, mode, o, n))

ssize_t __real_preadv64v2(int fd, const struct iovec *v, int n, off64_t o, int flags);
ssize_t __wrap_preadv64v2(int fd, const struct iovec *v, int n, off64_t o, int flags);

ssize_t __wrap_preadv64v2(int fd, const struct iovec *v, int n, off64_t o, int flags)
{
	if (!fault.ring) return __real_preadv64v2(fd, v, n, o, flags);
	errno = EAGAIN;
	return -1;
}

/* ---- the ring ---- */

static unsigned ring_hits;

int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);

/* An entry that is to fail is made one that does nothing, and its result the error; long transfers are cut short. */
int __wrap_io_uring_submit(struct io_uring *ring)
{
	uint64_t failed[64];
	unsigned n = 0, head;
	struct io_uring_cqe *c;
	int rc;

	for (unsigned i = ring->sq.sqe_head; i != ring->sq.sqe_tail; i++) {
		struct io_uring_sqe *s = &ring->sq.sqes[i & ring->sq.ring_mask];
		uint64_t data = s->user_data;

		if (s->opcode != IORING_OP_READ && s->opcode != IORING_OP_WRITE) continue;
		if (n < 64 && hit(s->opcode == IORING_OP_WRITE)) {
			io_uring_prep_nop(s);
			s->user_data = failed[n++] = data;
			ring_hits++;
		} else if (s->len >= 2048) {
			s->len /= 2;
		}
	}
	rc = __real_io_uring_submit(ring);
	io_uring_for_each_cqe(ring, head, c)
		for (unsigned i = 0; i < n; i++)
			if (c->user_data == failed[i]) c->res = -fault.code;
	return rc;
}

ssize_t __real_write(int fd, const void *b, size_t n);
ssize_t __wrap_write(int fd, const void *b, size_t n);

ssize_t __wrap_write(int fd, const void *b, size_t n)
{
	return n != sizeof(uint64_t) && hit(true) ? -1 : __real_write(fd, b, n);   // eight bytes: a queue's event descriptor
}

/* ---- a disk and what its sectors may hold ---- */

struct sector { uint32_t may[OLD_MAX]; unsigned n; };   // numbers of writes; 0: zeroes

static struct sector model[SECTORS];

static int teardown(void **state)
{
	fault.armed = fault.ring = false;
	return remove_dir(state);
}

static unsigned stride_of(unsigned n) { return getenv("SYSCALL_TEST_STRIDE") ? (unsigned)atoi(getenv("SYSCALL_TEST_STRIDE")) : n; }

static void fill(unsigned char *p, uint32_t sector, uint32_t version)
{
	uint32_t v[128];

	for (uint32_t i = 0; i < 128; i++) v[i] = version ? version * 2654435761u + sector * 40503u + i : 0;
	memcpy(p, v, sizeof(v));
}

static void put(uint32_t s, uint32_t version, bool failed)
{
	struct sector *x = &model[s];

	if (!failed) x->n = 0;
	for (unsigned i = 0; i < x->n; i++)
		if (x->may[i] == version) return;
	if (x->n == OLD_MAX) fail_msg("sector %u failed too often", s);
	x->may[x->n++] = version;
}

static unsigned work(struct bh_disk *d, unsigned seed, unsigned space_returns)
{
	static unsigned char buf[SIZE];
	unsigned errors = 0;

	for (unsigned i = 1; i <= STEPS; i++) {
		uint32_t n = 1 + (uint32_t)rand_r(&seed) % (rand_r(&seed) % 3 ? 20 : 120), s = (uint32_t)rand_r(&seed) % (SECTORS - n);
		int what = rand_r(&seed) % 7, rc;

		if (i == space_returns) fault.armed = false;
		for (uint32_t k = 0; k < n; k++) fill(buf + k * 512, s + k, i);
		if (what == 0) rc = bh_disk_rw(d, BH_DISK_FLUSH, 0, NULL, 0, 0, NULL);
		else if (what == 1) rc = bh_disk_rw(d, BH_DISK_WRITE_ZEROES, s * 512, NULL, n * 512, 0, NULL);
		else if (what == 2) rc = bh_disk_rw(d, BH_DISK_READ, s * 512, buf, n * 512, 0, NULL);
		else if (what == 6) rc = bh_disk_rw(d, BH_DISK_DISCARD, s * 512, NULL, n * 512, 0, NULL);
		else rc = bh_disk_rw(d, BH_DISK_WRITE, s * 512, buf, n * 512, what == 3 ? BH_DISK_FUA : 0, NULL);
		if (rc < 0 && rc != -fault.code) fail_msg("call %u, step %u: %d", fault.at, i, rc);
		if (rc < 0 && !fault.hits) fail_msg("call %u, step %u: %d without a reason", fault.at, i, rc);
		errors += rc < 0;
		for (uint32_t k = 0; k < n && what && what != 2; k++) put(s + k, what == 1 || what == 6 ? 0 : i, rc < 0 || what == 6);
	}
	return errors;
}

static void compare(struct bh_disk *d, const char *when)
{
	static unsigned char all[SIZE];
	unsigned char want[512];
	struct err e = ERR_INIT;

	ok(bh_disk_rw(d, BH_DISK_READ, 0, all, SIZE, 0, &e), e);
	for (uint32_t s = 0; s < SECTORS; s++) {
		bool found = false;

		for (unsigned i = 0; i < model[s].n && !found; i++) {
			fill(want, s, model[s].may[i]);
			found = !memcmp(want, all + s * 512, 512);
		}
		if (!found) fail_msg("call %u, %s: sector %u is nothing that was written", fault.at, when, s);
	}
}

static void report(void *user, const char *text) { snprintf(user, 200, "%s", text); }

static void make_base(void)
{
	struct bh_disk_new n = { .size_bytes = SIZE };
	unsigned char p[512];
	struct err e = ERR_INIT;
	struct bh_disk *d;

	ok(bh_disk_create(at("base.bhd"), &n, &e), e);
	ok(bh_disk_open(at("base.bhd"), NULL, &d, &e), e);
	for (uint32_t s = 0; s < SECTORS; s++) {
		fill(p, s, 1000);
		ok(bh_disk_rw(d, BH_DISK_WRITE, s * 512, p, 512, 0, &e), e);
	}
	ok(bh_disk_close(d, &e), e);
}

enum engine { CACHED, THREADS, RING, ENGINES };

static bool have_ring;

/* All data of the tree of disks goes through the ring from now on. */
static void ring_only(struct bh_disk *d)
{
	d->in_memory = false;
	for (unsigned i = 0; i < d->slots; i++)
		if (d->slot_layer[i]) d->slot_layer[i]->disk->in_memory = false;
	d->front->slow_writes = d->helper->slow_writes = UINT32_MAX;
	have_ring = d->front->has_ring;
	fault.ring = true;
}

/* Returns whether a call was hit. */
static bool one_point(const char *filters, int code, bool full, enum engine engine, unsigned n)
{
	struct bh_disk_new c = { .parent = at("base.bhd"), .filters = filters };
	struct bh_disk_attr a = { .mode = BH_DISK_RDWR, .no_io_uring = engine == THREADS };
	char text[200] = "";
	struct err e = ERR_INIT;
	struct bh_disk *d;
	unsigned errors;

	for (uint32_t s = 0; s < SECTORS; s++) model[s] = (struct sector){ .may = { 1000 }, .n = 1 };
	ok(bh_disk_create(at("c.bhd"), &c, &e), e);
	ok(bh_disk_open(at("c.bhd"), &a, &d, &e), e);
	if (engine == RING) ring_only(d);
	arm(n, code, full);
	errors = work(d, n / 8, full ? STEPS * 2 / 3 : 0);
	fault.armed = false;
	if (full && fault.hits && !errors) fail_msg("call %u: the disk was full and nobody heard of it", n);
	compare(d, "at once");
	if (bh_disk_rw(d, BH_DISK_FLUSH, 0, NULL, 0, 0, &e) < 0) fail_msg("call %u: a flush after it: %s", n, e.text);
	ok(bh_disk_close(d, &e), e);
	fault.ring = false;
	ok(bh_disk_open(at("c.bhd"), &a, &d, &e), e);
	compare(d, "opened again");
	ok(bh_disk_close(d, &e), e);
	if (disk_check(at("c.bhd"), false, report, text, &e) != 0) fail_msg("call %u: check: %s %s", n, text, e.text);
	ok(bh_disk_remove(at("c.bhd"), &e), e);
	return fault.hits;
}

#define COMPRESS "[{\"type\":\"compress\",\"settings\":{\"cluster\":\"16K\"}}]"
#define CHECKSUM "[{\"type\":\"cbt\",\"settings\":{\"points\":\"p\"}},{\"type\":\"checksum\"}]"

static void every_call(const char *filters, int code, bool full, unsigned stride)
{
	for (enum engine engine = CACHED; engine < ENGINES; engine++) {
		ring_hits = 0;
		for (unsigned n = 1, quiet = 0; quiet < 2; n += stride_of(stride)) quiet = one_point(filters, code, full, engine, n) ? 0 : quiet + 1;
		if (engine == RING && have_ring) assert_true(ring_hits > 0);
	}
}

static void test_eio(void **state)
{
	(void)state;
	make_base();
	every_call(NULL, EIO, false, 1);
	every_call(COMPRESS, EIO, false, 7);
	every_call(CHECKSUM, EIO, false, 7);
}

static void test_enospc(void **state)
{
	(void)state;
	make_base();
	every_call(NULL, ENOSPC, false, 1);
	every_call(COMPRESS, ENOSPC, false, 7);
	every_call(CHECKSUM, ENOSPC, false, 7);
}

static void test_full_for_a_while(void **state)
{
	(void)state;
	make_base();
	every_call(NULL, ENOSPC, true, 1);
	every_call(COMPRESS, ENOSPC, true, 9);
	every_call(CHECKSUM, ENOSPC, true, 9);
}

/* ---- making disks ---- */

static int make(bool clone, struct err *e)
{
	struct bh_disk_new n = { .size_bytes = clone ? 0 : SIZE, .parent = clone ? at("base.bhd") : NULL, .filters = COMPRESS };

	return bh_disk_create(at("new.bhd"), &n, e);
}

/* What is there opens; what is not can be made. */
static void there_or_not(bool clone, unsigned n)
{
	struct err e = ERR_INIT;
	struct bh_disk *d;

	if (access(at("new.bhd"), F_OK) < 0 && make(clone, &e) < 0) fail_msg("call %u: once more: %s", n, e.text);
	if (bh_disk_open(at("new.bhd"), NULL, &d, &e) < 0) fail_msg("call %u: %s", n, e.text);
	ok(bh_disk_rw(d, BH_DISK_WRITE_ZEROES, 0, NULL, SIZE, 0, &e), e);
	ok(bh_disk_close(d, &e), e);
	ok(bh_disk_remove(at("new.bhd"), &e), e);
	ok(bh_disk_open(at("base.bhd"), &(struct bh_disk_attr){ .mode = BH_DISK_RDONLY }, &d, &e), e);
	ok(bh_disk_close(d, &e), e);
}

static void test_create(void **state)
{
	(void)state;
	make_base();
	for (int i = 0; i < 4; i++) {
		bool clone = i % 2, dies = i / 2, hits = true;

		for (unsigned n = 1; hits; n++) {
			struct err e = ERR_INIT;
			int status = 0;

			if (!dies) {
				arm(n, ENOSPC, false);
				if (make(clone, &e) < 0) assert_true(fault.hits);
				fault.armed = false;
				hits = fault.hits;
			} else {
				pid_t pid = fork();

				assert_true(pid >= 0);
				if (pid == 0) {
					arm(n, EIO, false);
					fault.dies = true;
					_exit(make(clone, &e) < 0 ? 1 : 0);
				}
				assert_int_equal(waitpid(pid, &status, 0), pid);
				assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 1);
				hits = WEXITSTATUS(status) == 9;
			}
			there_or_not(clone, n);
		}
	}
}

/* ---- what is synced, and when ---- */

static struct { off_t size; unsigned syncs, renames; struct bh_disk_queue *queue; bool served; } watched;

static void served(struct bh_disk_io *io, int result)
{
	(void)io;
	watched.served = result == 0;
}

/* A data file of the size that is looked for: does a request that comes now have to wait for the sync? */
static void data_synced(int fd)
{
	static char block[512];
	static struct iovec v = { block, sizeof(block) };
	static struct bh_disk_io io;

	if (lseek(fd, 0, SEEK_END) != watched.size) return;
	watched.syncs++;
	if (!watched.queue) return;
	on_sync = NULL;
	io = (struct bh_disk_io){ .op = BH_DISK_READ, .len = sizeof(block), .iov = &v, .iovcnt = 1, .done = served };
	bh_disk_submit(watched.queue, &io);
	for (int i = 0; i < 5000 && !watched.served; i++) {
		bh_disk_queue_poll(watched.queue);
		usleep(1000);
	}
}

static void descriptor_named(void)
{
	watched.renames++;
	assert_true(watched.syncs > 0);
}

static void test_data_before_descriptor(void **state)
{
	struct bh_disk_new n = { .size_bytes = SIZE };
	struct err e = ERR_INIT;

	(void)state;
	memset(&watched, 0, sizeof(watched));
	watched.size = SIZE;
	on_sync = data_synced;
	on_rename = descriptor_named;
	ok(bh_disk_create(at("new.bhd"), &n, &e), e);
	on_sync = NULL;
	on_rename = NULL;
	assert_int_equal(watched.renames, 1);
}

static void test_grows_while_served(void **state)
{
	struct bh_disk_new n = { .size_bytes = SIZE };
	struct err e = ERR_INIT;
	struct bh_disk *d;

	(void)state;
	memset(&watched, 0, sizeof(watched));
	watched.size = 2 * SIZE;
	ok(bh_disk_create(at("new.bhd"), &n, &e), e);
	ok(bh_disk_open(at("new.bhd"), NULL, &d, &e), e);
	ok(bh_disk_queue_open(d, 8, &watched.queue, &e), e);
	on_sync = data_synced;
	ok(bh_disk_resize(d, 2 * SIZE, &e), e);
	on_sync = NULL;
	assert_int_equal(watched.syncs, 1);
	assert_true(watched.served);
	bh_disk_queue_close(watched.queue);
	ok(bh_disk_close(d, &e), e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_create, make_dir, teardown),
		cmocka_unit_test_setup_teardown(test_data_before_descriptor, make_dir, teardown),
		cmocka_unit_test_setup_teardown(test_grows_while_served, make_dir, teardown),
		cmocka_unit_test_setup_teardown(test_eio, make_dir, teardown),
		cmocka_unit_test_setup_teardown(test_enospc, make_dir, teardown),
		cmocka_unit_test_setup_teardown(test_full_for_a_while, make_dir, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
