// SPDX-License-Identifier: Apache-2.0
// Threads that meet at a queue and at a block: a late waking, readers and writers of the same place, a change of settings
// while requests are in flight. write() goes through here, so that a worker can be late.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <bulkhead/disk.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/own.h"
#include "disk/points.h"
#include "disk/test_disk.h"

#define SIZE (1u << 20)
#define BLOCK 4096u
#define LATE_US 20000

static pthread_t test_thread;
static _Atomic bool late;

ssize_t __real_write(int fd, const void *buf, size_t n);
ssize_t __wrap_write(int fd, const void *buf, size_t n);

ssize_t __wrap_write(int fd, const void *buf, size_t n)
{
	if (late && !pthread_equal(pthread_self(), test_thread)) usleep(LATE_US);
	return __real_write(fd, buf, n);
}

static int setup(void **state)
{
	test_thread = pthread_self();
	return make_dir(state);
}

static struct bh_disk *make(const char *name, const char *filters, bool no_io_uring)
{
	struct bh_disk_new n = { .size_bytes = SIZE, .filters = filters };
	struct bh_disk_attr a = { .mode = BH_DISK_RDWR, .no_io_uring = no_io_uring };
	struct bh_disk *d = NULL;
	struct err e = ERR_INIT;

	ok(bh_disk_create(at(name), &n, &e), e);
	ok(bh_disk_open(at(name), &a, &d, &e), e);
	return d;
}

struct one { struct bh_disk_io io; struct iovec iov; unsigned char buf[BLOCK]; bool busy; int result; };

static void one_done(struct bh_disk_io *io, int result)
{
	struct one *o = io->user;

	o->busy = false;
	o->result = result;
}

static void start(struct bh_disk_queue *q, struct one *o, enum bh_disk_op op, uint64_t off)
{
	o->iov = (struct iovec){ o->buf, BLOCK };
	o->io = (struct bh_disk_io){ .op = op, .off = off, .len = BLOCK, .iov = &o->iov, .iovcnt = 1, .done = one_done, .user = o };
	o->busy = true;
	bh_disk_submit(q, &o->io);
}

/* A request that is polled for is done before its worker has written to the event descriptor. Whoever closes the queue
 * then and opens a file gets the same number; the file must not get the eight bytes. */
static void test_late_wake(void **state)
{
	struct bh_disk *d = make("w.bhd", NULL, false);
	struct err e = ERR_INIT;

	(void)state;
	late = true;
	for (int i = 0; i < 3; i++) {
		struct bh_disk_queue *q;
		struct one o = { .busy = false };
		struct stat st;
		int fd, event;

		ok(bh_disk_queue_open(d, 4, &q, &e), e);
		event = bh_disk_queue_fd(q);
		start(q, &o, BH_DISK_FLUSH, 0);
		while (bh_disk_queue_poll(q), o.busy) continue;
		assert_int_equal(o.result, 0);
		bh_disk_queue_close(q);
		fd = open(at("file"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		assert_true(fd >= 0);
		if (fd != event) {   // the ring had a lower one
			assert_int_equal(dup2(fd, event), event);
			close(fd);
			fd = event;
		}
		usleep(2 * LATE_US);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, 0);
		close(fd);
	}
	late = false;
	ok(bh_disk_close(d, &e), e);
}

struct side { struct bh_disk *d; bool writes; uint64_t until; _Atomic int *error; unsigned count; };

static void *one_side(void *arg)
{
	static const enum bh_disk_op ops[] = { BH_DISK_WRITE, BH_DISK_DISCARD, BH_DISK_WRITE_ZEROES };
	struct side *s = arg;
	struct bh_disk_queue *q;
	struct one o = { .busy = false };

	if (bh_disk_queue_open(s->d, 4, &q, NULL) < 0) {
		*s->error = -ENOMEM;
		return NULL;
	}
	while (clock_mono_ns() < s->until && !*s->error) {
		if (s->writes) memset(o.buf, (int)(s->count & 0xff), BLOCK);
		start(q, &o, s->writes ? ops[s->count % 3] : BH_DISK_READ, 0);
		while (bh_disk_queue_poll(q), o.busy) {
			struct pollfd p = { .fd = bh_disk_queue_fd(q), .events = POLLIN };

			poll(&p, 1, -1);
		}
		if (o.result) *s->error = o.result;
		s->count++;
	}
	bh_disk_queue_close(q);
	return NULL;
}

/* Whoever reads while others write gets one or the other, and no error then or later. */
static void same_block(const char *name, const char *filters, bool no_io_uring)
{
	struct bh_disk *d = make(name, filters, no_io_uring);
	_Atomic int error = 0;
	struct side s[3];
	pthread_t t[3];
	unsigned char buf[BLOCK];
	struct err e = ERR_INIT;

	for (int i = 0; i < 3; i++) {
		s[i] = (struct side){ .d = d, .writes = i == 0, .until = clock_mono_ns() + 150 * NS_PER_MS, .error = &error };
		assert_int_equal(pthread_create(&t[i], NULL, one_side, &s[i]), 0);
	}
	for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
	if (error) fail_msg("%s: %d after %u writes", filters, error, s[0].count);
	ok(bh_disk_rw(d, BH_DISK_READ, 0, buf, BLOCK, 0, &e), e);
	ok(bh_disk_close(d, &e), e);
}

static void test_same_block(void **state)
{
	static const char *const chains[] = { "[{\"type\":\"checksum\"}]", "[{\"type\":\"compress\",\"settings\":{\"algorithm\":\"lz4\"}}]",
					      "[{\"type\":\"cbt\",\"settings\":{\"points\":\"a\"}},{\"type\":\"checksum\"},{\"type\":\"compress\"}]" };
	char name[16];

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "s%u.bhd", i);
		same_block(name, chains[i / 2], i % 2);
	}
}

/* A point of changed blocks lies between requests: what was in flight has landed when it is made. */
static void test_point_between_requests(void **state)
{
	struct bh_disk *d = make("p.bhd", "[{\"type\":\"cbt\",\"settings\":{\"points\":\"a\"}}]", false);
	struct bh_disk_queue *q;
	struct one o = { .busy = false };
	struct err e = ERR_INIT;

	(void)state;
	ok(bh_disk_filter_add(d, "delay", NULL, "{\"write\":\"30ms\"}", 1, true, &e), e);
	ok(bh_disk_queue_open(d, 4, &q, &e), e);
	start(q, &o, BH_DISK_WRITE, 0);
	assert_true(o.busy);
	ok(bh_disk_filter_set(d, "cbt", "{\"points\":\"a b\"}", &e), e);
	assert_false(o.busy);
	assert_int_equal(o.result, 0);
	bh_disk_queue_close(q);
	ok(bh_disk_close(d, &e), e);
}

static void *flush_now(void *arg)
{
	return (void *)(intptr_t)bh_disk_rw(arg, BH_DISK_FLUSH, 0, NULL, 0, 0, NULL);
}

/* A thread with a flush in its queue waits for a request of its own, which waits for another thread's, which has joined the
 * flush: the queue goes on meanwhile, or all wait for ever. */
static void test_waiting_thread_serves_its_queue(void **state)
{
	struct bh_disk *d = make("j.bhd", "[{\"type\":\"compress\"}]", false);
	struct bh_disk_queue *q;
	struct one o = { .busy = false };
	unsigned char buf[BLOCK];
	struct err e = ERR_INIT;
	pthread_t t;
	void *rc;

	(void)state;
	ok(bh_disk_filter_add(d, "delay", NULL, "{\"flush\":\"30ms\"}", 1, true, &e), e);
	ok(bh_disk_queue_open(d, 4, &q, &e), e);
	start(q, &o, BH_DISK_FLUSH, 0);
	assert_int_equal(pthread_create(&t, NULL, flush_now, d), 0);
	usleep(LATE_US);
	alarm(60);
	ok(bh_disk_rw(d, BH_DISK_READ, 0, buf, BLOCK, 0, &e), e);
	alarm(0);
	while (bh_disk_queue_poll(q), o.busy) continue;   // before it is joined: it may have come late, and join the flush now
	pthread_join(t, &rc);
	assert_null(rc);
	assert_int_equal(o.result, 0);
	bh_disk_queue_close(q);
	ok(bh_disk_close(d, &e), e);
}

struct other { struct bh_disk *d; _Atomic bool started; int result; };

/* Flushes, and so waits for the flush that is on its way in a queue of the test's thread. */
static void *other_queue(void *arg)
{
	struct other *x = arg;
	struct bh_disk_queue *q;
	struct one o = { .busy = false };

	x->result = bh_disk_queue_open(x->d, 4, &q, NULL);
	if (x->result < 0) return NULL;
	start(q, &o, BH_DISK_FLUSH, 0);
	x->started = true;
	while (bh_disk_queue_poll(q), o.busy) {
		struct pollfd p = { .fd = bh_disk_queue_fd(q), .events = POLLIN };

		poll(&p, 1, -1);
	}
	x->result = o.result;
	bh_disk_queue_close(q);
	return NULL;
}

/* Whoever changes the chain waits for all queues; what is in flight in one may wait for a request in another of its own. */
static void test_change_serves_own_queues(void **state)
{
	struct bh_disk *d = make("o.bhd", "[{\"type\":\"compress\"}]", false);
	struct other x = { .d = d };
	struct bh_disk_queue *q;
	struct one o = { .busy = false };
	struct err e = ERR_INIT;
	pthread_t t;

	(void)state;
	ok(bh_disk_filter_add(d, "delay", NULL, "{\"flush\":\"30ms\"}", 1, true, &e), e);
	ok(bh_disk_queue_open(d, 4, &q, &e), e);   // before the other's: looked at after it
	start(q, &o, BH_DISK_FLUSH, 0);
	assert_int_equal(pthread_create(&t, NULL, other_queue, &x), 0);
	while (!x.started) usleep(1000);
	alarm(60);
	ok(bh_disk_filter_add(d, "stats", NULL, NULL, -1, false, &e), e);
	alarm(0);
	assert_false(o.busy);
	pthread_join(t, NULL);
	assert_int_equal(x.result, 0);
	bh_disk_queue_close(q);
	ok(bh_disk_close(d, &e), e);
}

struct asking { struct bh_disk *d; _Atomic bool stop; _Atomic int error; _Atomic unsigned answers; };

static void *ask(void *arg)
{
	struct asking *a = arg;

	while (!a->stop) {
		uint64_t run = 0;
		bool changed;
		int rc = points_changed(a->d, "a", 0, SIZE, &run, &changed);

		if (rc < 0 && rc != -ENOENT) a->error = rc;
		if (rc == 0 && run == SIZE && !changed) a->answers++;
	}
	return NULL;
}

/* Many ask at once what has changed, while the filter that knows comes and goes: each gets an answer or hears that it is not there. */
static void test_many_ask_what_changed(void **state)
{
	struct asking a = { .d = make("m.bhd", NULL, false) };
	struct err e = ERR_INIT;
	pthread_t t[3];

	(void)state;
	for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&t[i], NULL, ask, &a), 0);
	for (int i = 0; i < 20; i++) {
		unsigned seen = a.answers;

		ok(bh_disk_filter_add(a.d, "cbt", NULL, "{\"points\":\"a\"}", -1, false, &e), e);
		while (a.answers < seen + 10 && !a.error) usleep(100);
		ok(bh_disk_filter_remove(a.d, "cbt", &e), e);
	}
	a.stop = true;
	for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
	assert_int_equal(a.error, 0);
	ok(bh_disk_close(a.d, &e), e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_late_wake, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_same_block, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_point_between_requests, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_waiting_thread_serves_its_queue, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_change_serves_own_queues, setup, remove_dir),
		cmocka_unit_test_setup_teardown(test_many_ask_what_changed, setup, remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
