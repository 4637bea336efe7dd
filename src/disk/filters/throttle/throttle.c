// SPDX-License-Identifier: Apache-2.0
// Limits of requests and bytes per second. Each limit is a clock that every request pushes forward by its cost; a
// request waits until the clock, less the burst, is not ahead of the time.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include <bulkhead/iofilter.h>

enum { ALL_IOPS, READ_IOPS, WRITE_IOPS, ALL_BPS, READ_BPS, WRITE_BPS, LIMITS };

static const char *const keys[LIMITS] = { "iops", "read-iops", "write-iops", "bps", "read-bps", "write-bps" };

struct throttle {
	pthread_mutex_t lock;
	_Atomic bool limited;            // there is any limit
	double ns_per_unit[LIMITS];      // 0: no limit
	double clock[LIMITS];            // when the next request is due, ns
	double burst_ns;
	uint64_t delayed, delayed_ns;
};

static const struct iof_setting settings[] = {
	{ "iops", "requests a second, reads and writes together" }, { "read-iops", "reads a second" }, { "write-iops", "writes a second" },
	{ "bps", "bytes a second" }, { "read-bps", "bytes read a second" }, { "write-bps", "bytes written a second" },
	{ "burst", "how long an idle disk may save up its allowance (100ms)" }, { NULL, NULL },
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int throttle_set(struct iof_layer *l, const struct iof_settings *s, struct err *e)
{
	struct throttle *t = iof_state(l);
	uint64_t limit[LIMITS], burst;
	int rc = iof->setting_ns(s, "burst", 100000000, &burst, e);
	bool limited = false;

	for (int i = 0; i < LIMITS && rc == 0; i++) rc = iof->setting_size(s, keys[i], 0, &limit[i], e);
	if (rc < 0) return rc;
	pthread_mutex_lock(&t->lock);
	for (int i = 0; i < LIMITS; i++) {
		t->ns_per_unit[i] = limit[i] ? 1e9 / (double)limit[i] : 0;
		t->clock[i] = 0;
		limited |= limit[i] != 0;
	}
	atomic_store_explicit(&t->limited, limited, memory_order_relaxed);
	t->burst_ns = (double)burst;
	pthread_mutex_unlock(&t->lock);
	return 0;
}

static int throttle_open(struct iof_layer *l, const struct iof_settings *s, void **state, uint32_t *align, struct err *e)
{
	struct throttle *t = calloc(1, sizeof(*t));

	(void)l;
	(void)s;
	(void)align;
	if (!t) return iof->error(e, ENOMEM, "no memory");
	pthread_mutex_init(&t->lock, NULL);
	*state = t;
	return 0;
}

static int throttle_close(struct iof_layer *l, struct err *e)
{
	struct throttle *t = iof_state(l);

	(void)e;
	pthread_mutex_destroy(&t->lock);
	free(t);
	return 0;
}

/* How long the request has to wait by limit i; takes its share. */
static double take(struct throttle *t, int i, double units, double now)
{
	double wait;

	if (t->ns_per_unit[i] == 0) return 0;
	if (t->clock[i] < now - t->burst_ns) t->clock[i] = now - t->burst_ns;
	wait = t->clock[i] - now;
	t->clock[i] += units * t->ns_per_unit[i];
	return wait;
}

static void limit_request(struct iof_layer *l, struct throttle *t, struct iof_req *r)
{
	bool write = r->op != IOF_READ;
	double now = (double)now_ns(), wait = 0, w;
	const struct { int limit; double units; } share[] = {
		{ ALL_IOPS, 1 }, { write ? WRITE_IOPS : READ_IOPS, 1 }, { ALL_BPS, (double)r->len }, { write ? WRITE_BPS : READ_BPS, (double)r->len },
	};

	pthread_mutex_lock(&t->lock);
	for (int i = 0; i < 4; i++) {
		w = take(t, share[i].limit, share[i].units, now);
		if (w > wait) wait = w;
	}
	if (wait > 0) {
		t->delayed++;
		t->delayed_ns += (uint64_t)wait;
	}
	pthread_mutex_unlock(&t->lock);
	if (wait > 0) iof->after(l, r, (uint64_t)wait, iof->pass);
	else iof_pass(l, r);
}

static void throttle_request(struct iof_layer *l, struct iof_req *r)
{
	struct throttle *t = iof_state(l);

	if (atomic_load_explicit(&t->limited, memory_order_relaxed)) limit_request(l, t, r);
	else iof_pass(l, r);
}

static void throttle_stats(struct iof_layer *l, void (*emit)(void *, const char *, uint64_t), void *user)
{
	struct throttle *t = iof_state(l);
	uint64_t delayed, ns;

	pthread_mutex_lock(&t->lock);
	delayed = t->delayed;
	ns = t->delayed_ns;
	pthread_mutex_unlock(&t->lock);
	emit(user, "delayed", delayed);
	emit(user, "delayed_ns", ns);
}

const struct iof_filter throttle_filter = {
	.abi = IOF_ABI_VERSION, .size = sizeof(struct iof_filter), .name = "throttle", .summary = "limits requests and bytes per second",
	.order = IOF_CLASS_OBSERVE, .settings = settings, .open = throttle_open, .close = throttle_close, .reconfigure = throttle_set,
	.read = throttle_request, .write = throttle_request, .stats = throttle_stats,
};
