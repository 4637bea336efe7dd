// SPDX-License-Identifier: Apache-2.0
// Counts requests: latencies and sizes in powers of two, queue depth. Each queue counts for itself; readers sum up.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bulkhead/iofilter.h>

#define BUCKETS 32

struct op_counts {
	_Atomic uint64_t count, errors, bytes, ns;
	_Atomic uint64_t latency[BUCKETS];   // [i]: 2^i ns and more
	_Atomic uint64_t size[BUCKETS];      // [i]: 2^i bytes and more
};

struct counts {
	struct counts *next;
	_Atomic uint64_t depth, depth_max;
	struct op_counts op[IOF_OPS];
};

struct stats { pthread_mutex_t lock; struct counts *all; };   // counts outlive their queues

static const struct iof_setting settings[] = { { NULL, NULL } };
static const char *const op_names[IOF_OPS] = { "read", "write", "flush", "discard", "zeroes", "extents" };

static void add(_Atomic uint64_t *c, uint64_t n)   // one writer
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int stats_open(struct iof_layer *l, const struct iof_settings *s, void **state, uint32_t *align, struct err *e)
{
	struct stats *t = calloc(1, sizeof(*t));

	(void)l;
	(void)s;
	(void)align;
	if (!t) return iof->error(e, ENOMEM, "no memory");
	pthread_mutex_init(&t->lock, NULL);
	*state = t;
	return 0;
}

static int stats_close(struct iof_layer *l, struct err *e)
{
	struct stats *t = iof_state(l);
	struct counts *c;

	(void)e;
	while ((c = t->all)) {
		t->all = c->next;
		free(c);
	}
	pthread_mutex_destroy(&t->lock);
	free(t);
	return 0;
}

static int stats_queue_open(struct iof_layer *l, void **qs, struct err *e)
{
	struct stats *t = iof_state(l);
	struct counts *c = calloc(1, sizeof(*c));

	if (!c) return iof->error(e, ENOMEM, "no memory");
	pthread_mutex_lock(&t->lock);
	c->next = t->all;
	t->all = c;
	pthread_mutex_unlock(&t->lock);
	*qs = c;
	return 0;
}

static int log2_of(uint64_t v)
{
	int b = v ? 63 - __builtin_clzll(v) : 0;

	return b < BUCKETS ? b : BUCKETS - 1;
}

static void stats_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	struct counts *k = (struct counts *)c->data[0];
	struct op_counts *o = &k->op[r->op];
	uint64_t ns = now_ns() - c->data[1];

	iof_free(c);
	add(&o->count, 1);
	add(&o->bytes, r->len);
	add(&o->ns, ns);
	add(&o->latency[log2_of(ns)], 1);
	add(&o->size[log2_of(r->len)], 1);
	if (result < 0) add(&o->errors, 1);
	add(&k->depth, (uint64_t)-1);
	r->done(r, result);
}

static void stats_request(struct iof_layer *l, struct iof_req *r)
{
	struct counts *k = iof->queue_state(l, r->queue);
	struct iof_req *c = iof_child(l, r);
	uint64_t depth;

	if (!c) {
		r->done(r, -ENOMEM);
		return;
	}
	c->done = stats_done;
	c->user = r;
	c->data[0] = (uintptr_t)k;
	c->data[1] = now_ns();
	depth = atomic_load_explicit(&k->depth, memory_order_relaxed) + 1;
	atomic_store_explicit(&k->depth, depth, memory_order_relaxed);
	if (depth > atomic_load_explicit(&k->depth_max, memory_order_relaxed)) atomic_store_explicit(&k->depth_max, depth, memory_order_relaxed);
	iof_pass(l, c);
}

static uint64_t sum(struct stats *t, size_t field)
{
	uint64_t n = 0;

	for (struct counts *c = t->all; c; c = c->next) n += atomic_load_explicit((_Atomic uint64_t *)((char *)c + field), memory_order_relaxed);
	return n;
}

static void stats_emit(struct iof_layer *l, void (*emit)(void *, const char *, uint64_t), void *user)
{
	struct stats *t = iof_state(l);
	char key[64];
	uint64_t n, max = 0;

	pthread_mutex_lock(&t->lock);
	for (int op = 0; op < IOF_OPS; op++) {
		const struct { const char *what; size_t field; } fields[] = {
			{ "count", offsetof(struct counts, op[op].count) }, { "errors", offsetof(struct counts, op[op].errors) },
			{ "bytes", offsetof(struct counts, op[op].bytes) }, { "ns", offsetof(struct counts, op[op].ns) },
		};

		for (int i = 0; i < 4; i++) {
			snprintf(key, sizeof(key), "%s_%s", op_names[op], fields[i].what);
			emit(user, key, sum(t, fields[i].field));
		}
		for (int b = 0; b < BUCKETS; b++) {
			n = sum(t, offsetof(struct counts, op[op].latency[b]));
			snprintf(key, sizeof(key), "%s_latency_ge_%llu_ns", op_names[op], 1ull << b);
			if (n) emit(user, key, n);
		}
		for (int b = 0; b < BUCKETS; b++) {
			n = sum(t, offsetof(struct counts, op[op].size[b]));
			snprintf(key, sizeof(key), "%s_size_ge_%llu_bytes", op_names[op], 1ull << b);
			if (n) emit(user, key, n);
		}
	}
	for (struct counts *c = t->all; c; c = c->next) max = c->depth_max > max ? c->depth_max : max;
	emit(user, "depth", sum(t, offsetof(struct counts, depth)));
	emit(user, "depth_max", max);
	pthread_mutex_unlock(&t->lock);
}

const struct iof_filter stats_filter = {
	.abi = IOF_ABI_VERSION, .size = sizeof(struct iof_filter), .name = "stats", .summary = "counts requests, latencies and sizes",
	.order = IOF_CLASS_OBSERVE, .settings = settings, .open = stats_open, .close = stats_close, .queue_open = stats_queue_open,
	.read = stats_request, .write = stats_request, .flush = stats_request, .discard = stats_request, .write_zeroes = stats_request,
	.stats = stats_emit,
};
