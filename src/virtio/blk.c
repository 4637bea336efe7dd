// SPDX-License-Identifier: Apache-2.0
// virtio-blk; see blk.h.
#include "blk.h"

#include <bulkhead/disk.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/evloop.h"
#include "base/log.h"
#include "base/spin.h"
#include "virtio/iovspan.h"

#define SECTOR 512u
#define REQUESTS_MAX 256      // in flight at once, all queues together
#define RANGES_MAX 16         // of one discard or write-zeroes request
#define RANGE_SECTORS_MAX (1u << 21)
#define ROUND 256             // requests of a queue before the event loop gets its turn
#define SIGNAL_BATCH 8        // the driver hears of so many completions at once, or of a long one: it works on them while we go on
#define SIGNAL_LONG (64u << 10)
#define LOOK_NS 50000         // for a guest's next request, before sleeping
#define HOLD_MS 1000          // the host's disk is full
#define HOLDS_MAX 300         // tries of a request
#define HELD_MAX (REQUESTS_MAX / 2)   // the others are for reads, and for discards, which make room
#define HEAD_LEN sizeof(struct virtio_blk_outhdr)
#define SEGMENTS_MAX (VIRTQ_CHAIN_MAX - 2)

struct request {
	struct blk *b;
	unsigned queue;
	struct virtq_chain chain;
	uint8_t *status;                // the last byte of the chain, in guest memory
	uint32_t read_len;              // bytes of data written to the guest when all goes well
	struct bh_disk_io io;
	struct virtio_blk_discard_write_zeroes range[RANGES_MAX];   // in host byte order
	unsigned nranges, next_range;
	unsigned holds;                 // how often the disk had no room for it
	struct request *next;           // of the free ones, or of those that wait for room
};

struct blk {
	struct virtio_dev dev;          // first
	struct virtqueue vq[BLK_QUEUES_MAX];
	struct blk_attr a;
	struct spin spin;
	char serial[BLK_SERIAL_MAX];    // padded with zeros
	struct bh_disk_info info;
	struct bh_disk_queue *dq;       // NULL until a driver comes
	struct evwatch *dq_watch;
	struct request *pool;           // REQUESTS_MAX; pages appear as they are used
	struct request *free;           // used before
	struct request *held;           // the host's disk has no room for them
	unsigned nheld;
	struct evwatch *again;          // timer, while there are any
	unsigned fresh;                 // pool entries never used
	unsigned inflight;
	uint32_t waiting;               // queues, by bit, that found the pool empty
	uint64_t read_bytes, write_bytes, ops;   // relaxed atomics
};

static struct blk *blk_of(struct virtio_dev *d) { return (struct blk *)d; }

static void add(uint64_t *counter, uint64_t n) { __atomic_fetch_add(counter, n, __ATOMIC_RELAXED); }

// ---- requests

static struct request *request_get(struct blk *b)
{
	struct request *r = b->free;
	if (r)
		b->free = r->next;
	else if (b->fresh < REQUESTS_MAX)
		r = &b->pool[b->fresh++];
	return r;
}

static void request_put(struct blk *b, struct request *r)
{
	r->next = b->free;
	b->free = r;
}

static void complete(struct request *r, uint8_t status)
{
	struct blk *b = r->b;
	*r->status = status;
	virtqueue_push(&b->vq[r->queue], r->chain.head, status == VIRTIO_BLK_S_OK ? r->read_len + 1 : 1);
	add(&b->ops, 1);
	if (r->io.len >= SIGNAL_LONG || virtqueue_unsignalled(&b->vq[r->queue]) >= SIGNAL_BATCH)
		virtqueue_flush(&b->vq[r->queue]);
	request_put(b, r);
}

static void range_submit(struct request *r);
static void flush_all(struct blk *b);
static void serve_waiting(struct blk *b);
static void on_again(struct evloop *l, struct evwatch *w, uint32_t events, void *user);

/* Keep it until there may be room. False: it has waited long enough. */
static bool hold(struct request *r)
{
	struct blk *b = r->b;
	uint64_t delay = b->a.hold_ms ? b->a.hold_ms : HOLD_MS;
	if (r->holds++ >= HOLDS_MAX || b->nheld >= HELD_MAX || (!b->again && !(b->again = evloop_timer(b->a.loop, delay, 0, on_again, b))))
		return false;
	if (!b->held) {
		evloop_timer_set(b->again, delay, 0);
		log_limited(LOG_LEVEL_WARN, "blk", "the host has no room for what the guest writes, which waits serial=%.20s", b->serial);
	}
	r->next = b->held;
	b->held = r;
	b->nheld++;
	return true;
}

static void on_done(struct bh_disk_io *io, int result)
{
	struct request *r = io->user;
	r->b->inflight--;
	if (!result && r->next_range < r->nranges)
		return range_submit(r);
	if ((result == -ENOSPC || result == -EDQUOT) && hold(r))
		return;
	if (result && result != -EOPNOTSUPP && result != -ENOTSUP)
		log_limited(LOG_LEVEL_WARN, "blk", "a request failed: %s serial=%.20s op=%d off=%llu len=%llu", strerror(-result),
			    r->b->serial, io->op, (unsigned long long)io->off, (unsigned long long)io->len);
	complete(r, !result ? VIRTIO_BLK_S_OK : result == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR);
}

static void submit(struct request *r)
{
	r->b->inflight++;
	r->io.done = on_done;
	r->io.user = r;
	bh_disk_submit(r->b->dq, &r->io);
}

static void on_again(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)w, (void)events;
	struct blk *b = user;
	struct request *r = b->held, *next;
	b->held = NULL;
	b->nheld = 0;
	for (; r; r = next) {
		next = r->next;
		submit(r);
	}
	if (b->dq)
		bh_disk_queue_poll(b->dq);
	flush_all(b);
	serve_waiting(b);
}

/* Nobody waits for room any more. */
static void release_held(struct blk *b)
{
	struct request *r = b->held, *next;
	b->held = NULL;
	b->nheld = 0;
	for (; r; r = next) {
		next = r->next;
		complete(r, VIRTIO_BLK_S_IOERR);
	}
}

// Whether the disk has len bytes at a sector. Both come from the guest.
static bool in_disk(const struct blk *b, uint64_t sector, uint64_t len)
{
	uint64_t sectors = b->info.size_bytes / SECTOR;
	return len % SECTOR == 0 && sector <= sectors && len / SECTOR <= sectors - sector;
}

// Each kind of request either is handed to the disk and returns -1, or returns the status it ends with.

static int begin_data(struct request *r, enum bh_disk_op op, uint64_t sector)
{
	struct blk *b = r->b;
	struct virtq_chain *c = &r->chain;
	bool read = op == BH_DISK_READ;
	uint64_t len = read ? c->in_len - 1 : c->out_len - HEAD_LEN;
	struct iovec *iov;
	int n = read ? iovspan_cut(c->iov + c->nout, c->nin, 0, len, &iov) : iovspan_cut(c->iov, c->nout, HEAD_LEN, len, &iov);
	if (!in_disk(b, sector, len) || (!read && b->a.read_only))
		return VIRTIO_BLK_S_IOERR;
	if (!len)
		return VIRTIO_BLK_S_OK;
	r->read_len = read ? (uint32_t)len : 0;
	add(read ? &b->read_bytes : &b->write_bytes, len);
	r->io = (struct bh_disk_io){.op = op, .off = sector * SECTOR, .len = len, .iov = iov, .iovcnt = n};
	submit(r);
	return -1;
}

static void range_submit(struct request *r)
{
	const struct virtio_blk_discard_write_zeroes *g = &r->range[r->next_range++];
	r->io.off = g->sector * SECTOR;
	r->io.len = (uint64_t)g->num_sectors * SECTOR;
	r->io.flags = r->io.op == BH_DISK_WRITE_ZEROES && !(g->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) ?
		      BH_DISK_NO_UNMAP : 0;
	submit(r);
}

static int begin_ranges(struct request *r, enum bh_disk_op op)
{
	struct blk *b = r->b;
	struct virtq_chain *c = &r->chain;
	size_t len = c->out_len - HEAD_LEN, one = sizeof(r->range[0]);
	if (b->a.read_only)
		return VIRTIO_BLK_S_IOERR;
	if (!len || len % one || len / one > RANGES_MAX)
		return VIRTIO_BLK_S_UNSUPP;
	iovspan_read(c->iov, c->nout, HEAD_LEN, r->range, len);
	r->nranges = (unsigned)(len / one);
	uint32_t flags = op == BH_DISK_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	for (unsigned i = 0; i < r->nranges; i++) {
		struct virtio_blk_discard_write_zeroes *g = &r->range[i];
		g->sector = le64toh(g->sector);
		g->num_sectors = le32toh(g->num_sectors);
		g->flags = le32toh(g->flags);
		if (g->flags & ~flags)
			return VIRTIO_BLK_S_UNSUPP;
		if (!in_disk(b, g->sector, (uint64_t)g->num_sectors * SECTOR))
			return VIRTIO_BLK_S_IOERR;
	}
	r->io = (struct bh_disk_io){.op = op};
	range_submit(r);
	return -1;
}

static int begin_flush(struct request *r)
{
	r->io = (struct bh_disk_io){.op = BH_DISK_FLUSH};
	submit(r);
	return -1;
}

static int get_id(struct request *r)
{
	struct virtq_chain *c = &r->chain;
	size_t room = c->in_len - 1;
	r->read_len = (uint32_t)iovspan_write(c->iov + c->nout, c->nin, 0, r->b->serial,
					      room < BLK_SERIAL_MAX ? room : BLK_SERIAL_MAX);
	return VIRTIO_BLK_S_OK;
}

static int begin(struct request *r)
{
	struct virtio_blk_outhdr h;
	iovspan_read(r->chain.iov, r->chain.nout, 0, &h, HEAD_LEN);
	switch (le32toh(h.type)) {
	case VIRTIO_BLK_T_IN:
		return begin_data(r, BH_DISK_READ, le64toh(h.sector));
	case VIRTIO_BLK_T_OUT:
		return begin_data(r, BH_DISK_WRITE, le64toh(h.sector));
	case VIRTIO_BLK_T_FLUSH:
		return begin_flush(r);
	case VIRTIO_BLK_T_GET_ID:
		return get_id(r);
	case VIRTIO_BLK_T_DISCARD:
		return begin_ranges(r, BH_DISK_DISCARD);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return begin_ranges(r, BH_DISK_WRITE_ZEROES);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

// ---- queues

// Take one request from queue n. 1: taken, 0: none there, -errno: the queue is broken, -EAGAIN: no room for another.
static int take_one(struct blk *b, unsigned n)
{
	struct request *r = request_get(b);
	if (!r) {
		b->waiting |= 1u << n;
		return -EAGAIN;
	}
	int got = virtqueue_pop(&b->vq[n], &r->chain);
	if (got > 0 && (r->chain.out_len < HEAD_LEN || !r->chain.in_len))
		got = virtqueue_break(&b->vq[n], "a block request has no head or no room for its status");
	if (got <= 0) {
		request_put(b, r);
		return got;
	}
	const struct iovec *last = &r->chain.iov[r->chain.nout + r->chain.nin - 1];
	r->b = b;
	r->queue = n;
	r->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	r->read_len = 0;
	r->io.len = 0;
	r->nranges = r->next_range = r->holds = 0;
	int status = begin(r);
	if (status >= 0)
		complete(r, (uint8_t)status);
	return 1;
}

static bool any_waiting(void *blk)
{
	struct blk *b = blk;
	for (unsigned n = 0; n < b->dev.nqueues; n++) {
		if (virtqueue_waiting(&b->vq[n]))
			return true;
	}
	return false;
}

/* A guest that makes one request at a time makes the next soon after it heard of the last: see base/spin.h. Another queue's
 * requests end the looking: a kick for them has come. */
static bool next_is_there(struct blk *b, const struct virtqueue *q)
{
	return !b->inflight && spin_for(&b->spin, LOOK_NS, any_waiting, b) && virtqueue_waiting(q);
}

static void serve(struct blk *b, unsigned n)
{
	struct virtqueue *q = &b->vq[n];
	int got, taken = 0;
	virtqueue_kicks_off(q);
	do {
		while ((got = take_one(b, n)) > 0 && ++taken < ROUND)
			;
		bh_disk_queue_poll(b->dq);   // hands batched requests over, too, and completes those of any queue
		flush_all(b);
		if (got > 0 || (got == -EAGAIN && b->free))   // there was no room, and is now: nothing else may call for it
			return virtqueue_again(q);
	} while (!got && (next_is_there(b, q) || virtqueue_kicks_on(q)));
}

static void flush_all(struct blk *b)
{
	for (unsigned n = 0; n < b->dev.nqueues; n++)
		virtqueue_flush(&b->vq[n]);
}

static void serve_waiting(struct blk *b)
{
	uint32_t waiting = b->waiting;
	b->waiting = 0;
	for (unsigned n = 0; waiting; n++, waiting >>= 1) {
		if (waiting & 1)
			serve(b, n);
	}
}

static void on_disk(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)w, (void)events;
	struct blk *b = user;
	bh_disk_queue_poll(b->dq);
	flush_all(b);
	serve_waiting(b);
}

static void queue_kick(struct virtio_dev *d, unsigned n)
{
	struct blk *b = blk_of(d);
	if (!b->dq)
		return;
	serve(b, n);
	serve_waiting(b);
}

static int disk_queue_open(struct blk *b)
{
	struct err e = ERR_INIT;
	int rc = bh_disk_queue_open(b->a.disk, REQUESTS_MAX, &b->dq, &e);
	if (rc) {
		log_error("blk", "the disk's queue cannot be opened: %s serial=%.20s", e.text, b->serial);
		return rc;
	}
	b->dq_watch = evloop_add(b->a.loop, bh_disk_queue_fd(b->dq), EPOLLIN, on_disk, b);
	if (b->dq_watch)
		return 0;
	bh_disk_queue_close(b->dq);
	b->dq = NULL;
	return -ENOMEM;
}

static void queue_start(struct virtio_dev *d, unsigned n)
{
	struct blk *b = blk_of(d);
	if (!b->dq && disk_queue_open(b))
		virtqueue_break(&b->vq[n], "the disk cannot be used");
	else
		queue_kick(d, n);
}

static void queue_stop(struct virtio_dev *d, unsigned n)
{
	struct blk *b = blk_of(d);
	while (b->inflight && b->dq) {
		struct pollfd p = {.fd = bh_disk_queue_fd(b->dq), .events = POLLIN};
		if (!bh_disk_queue_poll(b->dq) && b->inflight)
			poll(&p, 1, -1);
	}
	release_held(b);
	flush_all(b);
	b->waiting &= ~(1u << n);
}

static void reset(struct virtio_dev *d) { (void)d; }

// ---- the device

static uint64_t features(const struct virtio_dev *d)
{
	const struct blk *b = (const struct blk *)d;
	uint64_t f = VIRTQ_FEATURES | 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |
		     1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_TOPOLOGY;
	if (b->dev.nqueues > 1)
		f |= 1ull << VIRTIO_BLK_F_MQ;
	if (b->a.read_only)
		return f | 1ull << VIRTIO_BLK_F_RO;
	if (b->info.can_discard)
		f |= 1ull << VIRTIO_BLK_F_DISCARD;
	return f | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
}

static size_t config(const struct virtio_dev *d, void *out, size_t len)
{
	const struct blk *b = (const struct blk *)d;
	uint32_t block = b->info.block_bytes;
	uint8_t exponent = 0;
	while (exponent < 3 && block > SECTOR << exponent)
		exponent++;
	struct virtio_blk_config c = {
		.capacity = htole64(b->info.size_bytes / SECTOR),
		.seg_max = htole32(SEGMENTS_MAX),
		.blk_size = htole32(SECTOR),
		.physical_block_exp = exponent,
		.min_io_size = htole16((uint16_t)(1u << exponent)),
		.num_queues = htole16((uint16_t)b->dev.nqueues),
		.max_discard_sectors = htole32(RANGE_SECTORS_MAX),
		.max_discard_seg = htole32(RANGES_MAX),
		.discard_sector_alignment = htole32(1u << exponent),
		.max_write_zeroes_sectors = htole32(RANGE_SECTORS_MAX),
		.max_write_zeroes_seg = htole32(RANGES_MAX),
		.write_zeroes_may_unmap = b->info.can_discard,
	};
	memcpy(out, &c, len < sizeof(c) ? len : sizeof(c));
	return sizeof(c);
}

static const struct virtio_dev_ops ops = {
	.name = "blk", .id = VIRTIO_ID_BLOCK, .features = features, .config = config, .queue_start = queue_start,
	.queue_kick = queue_kick, .queue_stop = queue_stop, .reset = reset,
};

struct virtio_dev *blk_dev(struct blk *b) { return &b->dev; }

void blk_stats(const struct blk *b, struct blk_stats *s)
{
	*s = (struct blk_stats){
		.read_bytes = __atomic_load_n(&b->read_bytes, __ATOMIC_RELAXED),
		.write_bytes = __atomic_load_n(&b->write_bytes, __ATOMIC_RELAXED),
		.ops = __atomic_load_n(&b->ops, __ATOMIC_RELAXED),
	};
}

bool blk_resized(struct blk *b)
{
	uint64_t before = b->info.size_bytes;
	bh_disk_info(b->a.disk, &b->info);
	if (b->info.size_bytes == before)
		return false;
	if (b->dev.config_changed)
		b->dev.config_changed(b->dev.config_user);
	return true;
}

int blk_new(const struct blk_attr *a, struct blk **out)
{
	if (!a->nqueues || a->nqueues > BLK_QUEUES_MAX || strlen(a->serial) > BLK_SERIAL_MAX)
		return -EINVAL;
	struct blk *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->pool = calloc(REQUESTS_MAX, sizeof(*b->pool));
	if (!b->pool) {
		free(b);
		return -ENOMEM;
	}
	b->a = *a;
	memcpy(b->serial, a->serial, strlen(a->serial));
	b->dev = (struct virtio_dev){.ops = &ops, .nqueues = a->nqueues, .vq = b->vq};
	bh_disk_info(a->disk, &b->info);
	b->a.read_only |= b->info.read_only;
	*out = b;
	return 0;
}

void blk_free(struct blk *b)
{
	if (!b)
		return;
	if (b->again)
		evloop_remove(b->again);
	if (b->dq_watch)
		evloop_remove(b->dq_watch);
	if (b->dq)
		bh_disk_queue_close(b->dq);
	free(b->pool);
	free(b);
}
