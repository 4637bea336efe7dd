// SPDX-License-Identifier: Apache-2.0
// virtio-rng; see rng.h.
#include "rng.h"

#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <sys/random.h>

#define ROUND 32               // requests before the event loop turns
#define BYTES_MAX (64u << 10)  // of one request; a device may give less than was asked for

struct rng {
	struct virtio_dev dev;         // first
	struct virtqueue vq[1];
	struct virtq_chain chain;      // scratch
};

// Bytes put into the chain's buffers.
static uint32_t fill(const struct virtq_chain *c)
{
	uint32_t done = 0;
	for (int i = c->nout; i < c->nout + c->nin && done < BYTES_MAX; i++) {
		size_t len = c->iov[i].iov_len < BYTES_MAX - done ? c->iov[i].iov_len : BYTES_MAX - done;
		ssize_t n = getrandom(c->iov[i].iov_base, len, 0);
		if (n < 0)
			break;
		done += (uint32_t)n;
		if ((size_t)n < len)
			break;
	}
	return done;
}

static int serve_one(struct rng *r)
{
	struct virtqueue *q = &r->vq[0];
	int got = virtqueue_pop(q, &r->chain);
	if (got <= 0)
		return got;
	if (r->chain.nout || !r->chain.in_len)
		return virtqueue_break(q, "a buffer for random bytes is not for writing");
	virtqueue_push(q, r->chain.head, fill(&r->chain));
	return 1;
}

static void queue_kick(struct virtio_dev *d, unsigned n)
{
	struct rng *r = (struct rng *)d;
	struct virtqueue *q = &r->vq[n];
	virtqueue_kicks_off(q);
	for (int i = 0;; i++) {
		if (i == ROUND) {
			virtqueue_again(q);
			break;
		}
		int got = serve_one(r);
		if (got < 0 || (!got && !virtqueue_kicks_on(q)))
			break;
	}
	virtqueue_flush(q);
}

static uint64_t features(const struct virtio_dev *d) { (void)d; return VIRTQ_FEATURES; }
static size_t config(const struct virtio_dev *d, void *out, size_t len) { (void)d, (void)out, (void)len; return 0; }
static void queue_stop(struct virtio_dev *d, unsigned n) { (void)d, (void)n; }   // no request outlives its call
static void reset(struct virtio_dev *d) { (void)d; }

static const struct virtio_dev_ops ops = {
	.name = "rng", .id = VIRTIO_ID_RNG, .features = features, .config = config, .queue_start = queue_kick,
	.queue_kick = queue_kick, .queue_stop = queue_stop, .reset = reset,
};

struct rng *rng_new(void)
{
	struct rng *r = calloc(1, sizeof(*r));
	if (r)
		r->dev = (struct virtio_dev){.ops = &ops, .nqueues = 1, .vq = r->vq};
	return r;
}

void rng_free(struct rng *r) { free(r); }
struct virtio_dev *rng_dev(struct rng *r) { return &r->dev; }
