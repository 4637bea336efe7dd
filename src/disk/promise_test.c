// SPDX-License-Identifier: Apache-2.0
// What filters promise besides the right bytes: limits that hold and are changed online, histograms that say what happened,
// failures and delays where they were asked for, a replica that is never further behind than it may be.
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include <bulkhead/disk.h>

#include "base/clock.h"
#include "base/own.h"
#include "base/usock.h"
#include "disk/nbd/server.h"
#include "disk/test_disk.h"

#define SIZE (8u << 20)
#define BLOCK 4096u

static struct bh_disk *disk(const char *name, const char *filters)
{
	struct bh_disk_new n = { .size_bytes = SIZE, .filters = filters };
	struct err e = ERR_INIT;
	struct bh_disk *d = NULL;

	ok(bh_disk_create(at(name), &n, &e), e);
	ok(bh_disk_open(at(name), NULL, &d, &e), e);
	return d;
}

static void end(struct bh_disk *d)
{
	struct err e = ERR_INIT;

	ok(bh_disk_close(d, &e), e);
}

static void set(struct bh_disk *d, const char *name, const char *settings)
{
	struct err e = ERR_INIT;

	ok(bh_disk_filter_set(d, name, settings, &e), e);
}

static uint64_t stat_of(struct bh_disk *d, const char *filter, const char *key)
{
	own_free char *text = bh_disk_stats(d);
	json_t *all = json_loads(text ? text : "", 0, NULL), *f;
	uint64_t v = 0;
	size_t i;

	assert_non_null(all);
	json_array_foreach(json_object_get(all, "filters"), i, f)
		if (!strcmp(json_string_value(json_object_get(f, "name")), filter))
			v = (uint64_t)json_integer_value(json_object_get(json_object_get(f, "stats"), key));
	json_decref(all);
	return v;
}

/* n requests of len bytes, one after the other. Returns the last result. */
static int some(struct bh_disk *d, enum bh_disk_op op, unsigned n, size_t len)
{
	static unsigned char buf[64 << 10];
	struct err e = ERR_INIT;
	int rc = 0;

	for (unsigned i = 0; i < n; i++) rc = bh_disk_rw(d, op, i * len % SIZE, buf, len, 0, &e);
	return rc;
}

static uint64_t took(struct bh_disk *d, enum bh_disk_op op, unsigned n, size_t len)
{
	uint64_t began = clock_mono_ns();

	assert_int_equal(some(d, op, n, len), 0);
	return clock_mono_ns() - began;
}

/* ---- throttle: n requests take (n - 1) / limit at least, whatever else the machine does ---- */

static void test_limits(void **state)
{
	struct bh_disk *d = disk("d.bhd", "[{\"type\":\"throttle\",\"settings\":{\"burst\":\"1us\",\"iops\":200}}]");

	(void)state;
	assert_true(took(d, BH_DISK_WRITE, 11, BLOCK) >= 49 * NS_PER_MS);
	assert_true(took(d, BH_DISK_READ, 11, BLOCK) >= 45 * NS_PER_MS);
	set(d, "throttle", "{\"iops\":null,\"read-iops\":200}");
	assert_true(took(d, BH_DISK_READ, 11, BLOCK) >= 45 * NS_PER_MS);
	uint64_t delayed = stat_of(d, "throttle", "delayed");
	assert_true(delayed > 0);
	some(d, BH_DISK_WRITE, 500, BLOCK);
	assert_int_equal(stat_of(d, "throttle", "delayed"), delayed);   // writes have no limit
	set(d, "throttle", "{\"read-iops\":null,\"write-bps\":\"1M\"}");
	assert_true(took(d, BH_DISK_WRITE, 3, 64 << 10) >= 120 * NS_PER_MS);
	delayed = stat_of(d, "throttle", "delayed");
	some(d, BH_DISK_READ, 500, BLOCK);
	assert_int_equal(stat_of(d, "throttle", "delayed"), delayed);
	set(d, "throttle", "{\"write-bps\":null}");
	some(d, BH_DISK_WRITE, 500, BLOCK);
	assert_int_equal(stat_of(d, "throttle", "delayed"), delayed);
	end(d);
}

/* An idle disk has saved up its burst: that many go at once, the next ones wait. */
static void test_burst(void **state)
{
	struct bh_disk *d = disk("d.bhd", "[{\"type\":\"throttle\",\"settings\":{\"burst\":\"1s\",\"iops\":50}}]");

	(void)state;
	some(d, BH_DISK_WRITE, 50, BLOCK);
	assert_int_equal(stat_of(d, "throttle", "delayed"), 0);
	set(d, "throttle", "{\"burst\":\"1us\"}");
	assert_true(took(d, BH_DISK_WRITE, 4, BLOCK) >= 55 * NS_PER_MS);
	assert_in_range(stat_of(d, "throttle", "delayed"), 1, 4);
	end(d);
}

/* ---- stats ---- */

struct slot { struct bh_disk_io io; struct iovec iov; unsigned *left; };

static void slot_done(struct bh_disk_io *io, int result)
{
	struct slot *s = io->user;

	assert_int_equal(result, 0);
	--*s->left;
}

static void at_once(struct bh_disk *d, enum bh_disk_op op, unsigned n)
{
	static unsigned char buf[BLOCK];
	struct slot slot[16];
	struct bh_disk_queue *q;
	struct err e = ERR_INIT;
	unsigned left = n;

	ok(bh_disk_queue_open(d, 16, &q, &e), e);
	for (unsigned i = 0; i < n; i++) {
		slot[i] = (struct slot){ .iov = { buf, BLOCK }, .left = &left };
		slot[i].io = (struct bh_disk_io){ .op = op, .off = i * BLOCK, .len = BLOCK, .iov = &slot[i].iov, .iovcnt = 1, .done = slot_done, .user = &slot[i] };
		bh_disk_submit(q, &slot[i].io);
	}
	while (bh_disk_queue_poll(q), left) {
		struct pollfd p = { .fd = bh_disk_queue_fd(q), .events = POLLIN };

		poll(&p, 1, -1);
	}
	bh_disk_queue_close(q);
}

static void test_histograms(void **state)
{
	struct bh_disk *d = disk("d.bhd", "[{\"type\":\"stats\"}]");
	struct err e = ERR_INIT;
	uint64_t slow = 0;

	(void)state;
	ok(bh_disk_filter_add(d, "delay", NULL, "{\"read\":\"5ms\"}", 1, false, &e), e);
	ok(bh_disk_filter_add(d, "error", NULL, "{\"ops\":\"w\",\"at\":4}", 2, false, &e), e);
	at_once(d, BH_DISK_READ, 16);
	assert_int_equal(some(d, BH_DISK_WRITE, 3, 64 << 10), 0);
	assert_int_equal(some(d, BH_DISK_WRITE, 1, 64 << 10), -EIO);
	assert_int_equal(stat_of(d, "stats", "read_count"), 16);
	assert_int_equal(stat_of(d, "stats", "read_bytes"), 16 * BLOCK);
	assert_int_equal(stat_of(d, "stats", "read_errors"), 0);
	assert_int_equal(stat_of(d, "stats", "read_size_ge_4096_bytes"), 16);
	assert_int_equal(stat_of(d, "stats", "depth_max"), 16);
	assert_int_equal(stat_of(d, "stats", "depth"), 0);
	assert_true(stat_of(d, "stats", "read_ns") >= 16 * 5 * NS_PER_MS);
	for (int b = 22; b < 32; b++) {   // 4.2 ms and more
		char key[64];

		snprintf(key, sizeof(key), "read_latency_ge_%llu_ns", 1ull << b);
		slow += stat_of(d, "stats", key);
	}
	assert_int_equal(slow, 16);
	assert_int_equal(stat_of(d, "stats", "write_count"), 4);
	assert_int_equal(stat_of(d, "stats", "write_errors"), 1);
	assert_int_equal(stat_of(d, "stats", "write_size_ge_65536_bytes"), 4);
	end(d);
}

/* ---- delay, error ---- */

static void test_delay(void **state)
{
	struct bh_disk *d = disk("d.bhd", "[{\"type\":\"delay\",\"settings\":{\"read\":\"20ms\",\"flush\":\"40ms\"}}]");

	(void)state;
	assert_true(took(d, BH_DISK_READ, 2, BLOCK) >= 40 * NS_PER_MS);
	assert_true(took(d, BH_DISK_FLUSH, 1, 0) >= 40 * NS_PER_MS);
	set(d, "delay", "{\"read\":null,\"write\":\"30ms\"}");
	assert_true(took(d, BH_DISK_WRITE, 1, BLOCK) >= 30 * NS_PER_MS);
	end(d);
}

static void test_errors(void **state)
{
	struct bh_disk *d = disk("d.bhd", "[{\"type\":\"error\",\"settings\":{\"ops\":\"r\",\"every\":3,\"code\":\"ETIMEDOUT\",\"count\":2}}]");
	static unsigned char buf[BLOCK];
	struct err e = ERR_INIT;

	(void)state;
	for (int i = 1; i <= 12; i++) assert_int_equal(some(d, BH_DISK_READ, 1, BLOCK), i == 3 || i == 6 ? -ETIMEDOUT : 0);
	assert_int_equal(some(d, BH_DISK_WRITE, 12, BLOCK), 0);
	set(d, "error", "{\"ops\":\"w\",\"every\":1,\"code\":\"ENOSPC\",\"count\":null,\"from\":\"1M\",\"to\":\"2M\"}");
	assert_int_equal(bh_disk_rw(d, BH_DISK_WRITE, (1u << 20) - BLOCK, buf, BLOCK, 0, &e), 0);
	assert_int_equal(bh_disk_rw(d, BH_DISK_WRITE, 1u << 20, buf, BLOCK, 0, &e), -ENOSPC);
	assert_int_equal(bh_disk_rw(d, BH_DISK_WRITE, (2u << 20) - 512, buf, BLOCK, 0, &e), -ENOSPC);
	assert_int_equal(bh_disk_rw(d, BH_DISK_WRITE, 2u << 20, buf, BLOCK, 0, &e), 0);
	end(d);
}

/* ---- replicate ---- */

struct replica { struct nbd_export x; int listen_fd, stop_fd; pthread_t thread; };

static void *replica_run(void *arg)
{
	struct replica *r = arg;
	struct err e = ERR_INIT;

	assert_int_equal(nbd_serve(&r->x, r->listen_fd, r->stop_fd, &e), 0);
	return NULL;
}

static void replica_start(struct replica *r, const char *filters)
{
	struct err e = ERR_INIT;

	*r = (struct replica){ .x = { .disk = disk("replica.bhd", filters), .name = "replica", .connections_max = 8 } };
	r->listen_fd = usock_listen(at("replica.sock"), SOCK_STREAM, 0600, &e);
	r->stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_true(r->listen_fd >= 0 && r->stop_fd >= 0);
	assert_int_equal(pthread_create(&r->thread, NULL, replica_run, r), 0);
}

static void replica_stop(struct replica *r)
{
	assert_int_equal(eventfd_write(r->stop_fd, 1), 0);
	pthread_join(r->thread, NULL);
	close(r->listen_fd);
	close(r->stop_fd);
	end(r->x.disk);
}

/* What is on its way (1 MiB at most) counts as behind, too. */
static void test_lag(void **state)
{
	struct replica r;
	char filters[256];
	struct bh_disk *d;

	(void)state;
	replica_start(&r, "[{\"type\":\"delay\",\"settings\":{\"write\":\"30ms\"}}]");
	snprintf(filters, sizeof(filters), "[{\"type\":\"replicate\",\"settings\":{\"target\":\"unix:%s\",\"mode\":\"async\",\"lag\":\"256K\"}}]",
		 at("replica.sock"));
	d = disk("d.bhd", filters);
	for (int i = 0; i < 10000 && stat_of(d, "replicate", "behind_bytes"); i++) usleep(1000);   // the first copy of all
	for (unsigned i = 0; i < SIZE / (64 << 10); i++) {
		static unsigned char buf[64 << 10];
		struct err e = ERR_INIT;

		memset(buf, (int)i + 1, sizeof(buf));
		assert_int_equal(bh_disk_rw(d, BH_DISK_WRITE, (uint64_t)i * sizeof(buf), buf, sizeof(buf), 0, &e), 0);
		assert_in_range(stat_of(d, "replicate", "behind_bytes"), 0, (256u << 10) + (1u << 20));
	}
	for (int i = 0; i < 10000 && stat_of(d, "replicate", "behind_bytes"); i++) usleep(1000);
	assert_int_equal(stat_of(d, "replicate", "behind_bytes"), 0);
	end(d);
	replica_stop(&r);
}

/* Nobody at the other end: a synchronous disk goes on, or fails each write, as it was told. */
static void test_no_replica(void **state)
{
	static const char *const how[] = { "continue", "fail" };

	(void)state;
	for (int i = 0; i < 2; i++) {
		char filters[256], name[32];
		struct err e = ERR_INIT;
		struct bh_disk *d;

		snprintf(name, sizeof(name), "%s.bhd", how[i]);
		snprintf(filters, sizeof(filters), "[{\"type\":\"replicate\",\"settings\":{\"target\":\"unix:%s\",\"mode\":\"sync\",\"on-failure\":\"%s\"}}]",
			 at("nobody.sock"), how[i]);
		d = disk(name, filters);
		assert_int_equal(some(d, BH_DISK_WRITE, 3, BLOCK), i ? -EIO : 0);
		assert_int_equal(some(d, BH_DISK_READ, 3, BLOCK), 0);
		assert_int_equal(bh_disk_close(d, &e), i ? -EIO : 0);   // the flush of a close, too
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_limits, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_burst, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_histograms, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_delay, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_errors, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_lag, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_no_replica, make_dir, remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
