// SPDX-License-Identifier: Apache-2.0
// virtio-balloon; see balloon.h. The numbers of the queues are those of a driver that was offered neither statistics nor hints.
#include "balloon.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/iovspan.h"

enum { QUEUE_INFLATE, QUEUE_DEFLATE, QUEUE_REPORT, QUEUES };

#define PAGE (1u << VIRTIO_BALLOON_PFN_SHIFT)
#define ROUND 64               // requests before the event loop turns
#define PAGES_MAX 4096         // of one request; Linux puts 256 into each

struct config { uint32_t num_pages, actual; };   // little-endian, as the driver sees it

struct balloon {
	struct virtio_dev dev;         // first
	struct virtqueue vq[QUEUES];
	struct balloon_attr a;
	struct config config;          // changed on the device's thread, atomics
	uint64_t reported;             // relaxed atomic
	struct virtq_chain chain;      // scratch
};

static struct balloon *balloon_of(struct virtio_dev *d) { return (struct balloon *)d; }

// Pages given by number; neighbours go together. Numbers of pages that are no memory are passed over: it is the guest's loss.
static void inflate(struct balloon *b, const struct virtqueue *q)
{
	const struct virtq_chain *c = &b->chain;
	uint8_t *run = NULL;
	size_t len = 0;
	for (size_t at = 0; at + sizeof(uint32_t) <= c->out_len && at < PAGES_MAX * sizeof(uint32_t); at += sizeof(uint32_t)) {
		uint32_t pfn;
		iovspan_read(c->iov, c->nout, at, &pfn, sizeof(pfn));
		uint8_t *page = gmem_at(q->mem, (gpa_t)le32toh(pfn) << VIRTIO_BALLOON_PFN_SHIFT, PAGE, GMEM_WRITE);
		if (page && run && page == run + len) {
			len += PAGE;
			continue;
		}
		if (run)
			b->a.discard(b->a.user, run, len);
		run = page;
		len = page ? PAGE : 0;
	}
	if (run)
		b->a.discard(b->a.user, run, len);
}

// The whole pages of each buffer.
static void report(struct balloon *b)
{
	const struct virtq_chain *c = &b->chain;
	for (int i = c->nout; i < c->nout + c->nin; i++) {
		uintptr_t from = ((uintptr_t)c->iov[i].iov_base + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
		uintptr_t to = ((uintptr_t)c->iov[i].iov_base + c->iov[i].iov_len) & ~(uintptr_t)(PAGE - 1);
		if (from >= to)
			continue;
		b->a.discard(b->a.user, (void *)from, to - from);
		__atomic_fetch_add(&b->reported, to - from, __ATOMIC_RELAXED);
	}
}

static int serve_one(struct balloon *b, unsigned n)
{
	struct virtqueue *q = &b->vq[n];
	int got = virtqueue_pop(q, &b->chain);
	if (got <= 0)
		return got;
	if (n == QUEUE_REPORT ? b->chain.nout : b->chain.nin)
		return virtqueue_break(q, "a balloon's buffer has the wrong direction");
	if (n == QUEUE_INFLATE)
		inflate(b, q);
	else if (n == QUEUE_REPORT)
		report(b);
	virtqueue_push(q, b->chain.head, 0);   // deflated pages come back by themselves when they are touched
	return 1;
}

static void queue_kick(struct virtio_dev *d, unsigned n)
{
	struct balloon *b = balloon_of(d);
	struct virtqueue *q = &b->vq[n];
	virtqueue_kicks_off(q);
	for (int i = 0;; i++) {
		if (i == ROUND) {
			virtqueue_again(q);
			break;
		}
		int got = serve_one(b, n);
		if (got < 0 || (!got && !virtqueue_kicks_on(q)))
			break;
	}
	virtqueue_flush(q);
}

static uint64_t features(const struct virtio_dev *d)
{
	(void)d;
	return VIRTQ_FEATURES | 1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM | 1ull << VIRTIO_BALLOON_F_REPORTING;
}

static size_t config(const struct virtio_dev *d, void *out, size_t len)
{
	const struct config *c = &((const struct balloon *)d)->config;
	memcpy(out, c, len < sizeof(*c) ? len : sizeof(*c));
	return sizeof(*c);
}

static void set(uint32_t *field, uint32_t v) { __atomic_store_n(field, v, __ATOMIC_RELAXED); }

static void config_write(struct virtio_dev *d, size_t off, const void *data, size_t len)
{
	struct config c = balloon_of(d)->config;
	if (off < offsetof(struct config, actual) || off > sizeof(c) || len > sizeof(c) - off)
		return;
	memcpy((uint8_t *)&c + off, data, len);
	set(&balloon_of(d)->config.actual, c.actual);
}

static void queue_stop(struct virtio_dev *d, unsigned n) { (void)d, (void)n; }   // no request outlives its call
static void reset(struct virtio_dev *d) { set(&balloon_of(d)->config.actual, 0); }

static void restored(struct virtio_dev *d, const void *saved, size_t len)
{
	struct config c;
	if (len < sizeof(c))
		return;
	memcpy(&c, saved, sizeof(c));
	set(&balloon_of(d)->config.num_pages, c.num_pages);
	set(&balloon_of(d)->config.actual, c.actual);
}

static const struct virtio_dev_ops ops = {
	.name = "balloon", .id = VIRTIO_ID_BALLOON, .features = features, .config = config, .queue_start = queue_kick,
	.queue_kick = queue_kick, .queue_stop = queue_stop, .reset = reset, .config_write = config_write, .restored = restored,
};

struct virtio_dev *balloon_dev(struct balloon *b) { return &b->dev; }

void balloon_set(struct balloon *b, uint64_t bytes)
{
	uint64_t pages = bytes / PAGE;
	set(&b->config.num_pages, htole32(pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX));
	if (b->dev.config_changed)
		b->dev.config_changed(b->dev.config_user);
}

uint64_t balloon_actual(const struct balloon *b)
{
	return (uint64_t)le32toh(__atomic_load_n(&b->config.actual, __ATOMIC_RELAXED)) * PAGE;
}

uint64_t balloon_reported(const struct balloon *b) { return __atomic_load_n(&b->reported, __ATOMIC_RELAXED); }

int balloon_new(const struct balloon_attr *a, struct balloon **out)
{
	struct balloon *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->a = *a;
	b->dev = (struct virtio_dev){.ops = &ops, .nqueues = QUEUES, .vq = b->vq};
	*out = b;
	return 0;
}

void balloon_free(struct balloon *b) { free(b); }
