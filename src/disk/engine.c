// SPDX-License-Identifier: Apache-2.0
// The last layer of every chain: the data file. What the page cache holds is read at once, the rest through the queue's
// ring; a file system that cannot say which is which (tmpfs) keeps everything in memory anyway. Writes into the page cache
// are made at once, because file systems that cannot write without blocking (ext4) make the kernel pass ring writes to a
// thread, at five times the cost; as soon as some take long (dirty pages are being throttled), the next ones go through
// the ring. What is rare and may block (flush, discard, extents) goes to the workers, and everything does without a ring.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "disk/queue.h"
#include "disk/work.h"

#define SLOW_WRITE_NS (2 * NS_PER_MS)
#define SLOW_NEAR 16                // two slow ones so near one another: dirty pages are being throttled
#define SLOW_WRITES 64              // then so many go through the ring
#define INLINE_MAX (256u << 10)
#define IOV_CHUNK 64
#define WRITE_PIECE (64u << 10)     // longer pieces become large folios, in which ext4 needs 5-25 us for each later 4 KiB

/* The part of the request's data behind r->progress, or its beginning, as at most IOV_CHUNK pieces. */
static int pieces(const struct iof_req *r, struct iovec *v, size_t *total)
{
	size_t skip = r->iov_skip + (size_t)r->progress, left = (size_t)(r->len - r->progress);
	int n = 0;

	if (r->op == IOF_WRITE && left > WRITE_PIECE) left = WRITE_PIECE;
	*total = 0;
	for (int i = 0; i < r->iovcnt && left && n < IOV_CHUNK; i++) {
		size_t len;

		if (skip >= r->iov[i].iov_len) {
			skip -= r->iov[i].iov_len;
			continue;
		}
		len = r->iov[i].iov_len - skip;
		if (len > left) len = left;
		v[n].iov_base = (char *)r->iov[i].iov_base + skip;
		v[n++].iov_len = len;
		left -= len;
		*total += len;
		skip = 0;
	}
	return n;
}

/* One system call's worth. Returns bytes or -errno; 0 for a read: end of the file. */
static ssize_t transfer(struct iof_layer *l, const struct iof_req *r)
{
	struct iovec v[IOV_CHUNK];
	size_t total;
	int n = pieces(r, v, &total);
	off_t off = (off_t)(r->off + r->progress);
	ssize_t got;

	do {
		if (n == 1 && r->op == IOF_WRITE) got = pwrite(l->disk->data_fd, v[0].iov_base, v[0].iov_len, off);
		else if (n == 1) got = pread(l->disk->data_fd, v[0].iov_base, v[0].iov_len, off);
		else if (r->op == IOF_WRITE) got = pwritev(l->disk->data_fd, v, n, off);
		else got = preadv(l->disk->data_fd, v, n, off);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

static int transfer_all(struct iof_layer *l, struct iof_req *r)
{
	while (r->progress < r->len) {
		ssize_t n = transfer(l, r);

		if (n < 0) return (int)n;
		if (n == 0 && r->op == IOF_WRITE) return -EIO;
		if (n == 0) {   // behind the end of the file: a raw disk's last sector, or never written
			iof_copy(r, r->progress, NULL, (size_t)(r->len - r->progress), true);
			return 0;
		}
		r->progress += (uint64_t)n;
	}
	return 0;
}

static void finish(struct iof_layer *l, struct iof_req *r)
{
	(void)l;
	r->done(r, r->result);
}

static void to_worker(struct iof_layer *l, struct iof_req *r, int (*fn)(struct iof_layer *, struct iof_req *))
{
	r->layer = l;
	r->work = fn;
	r->step = finish;
	work_push(r);
}

static int sync_work(struct iof_layer *l, struct iof_req *r)
{
	(void)r;
	return fdatasync(l->disk->data_fd) < 0 ? -errno : 0;
}

static int transfer_work(struct iof_layer *l, struct iof_req *r)
{
	int rc = transfer_all(l, r);

	return rc == 0 && r->op == IOF_WRITE && (r->flags & BH_DISK_FUA) ? sync_work(l, r) : rc;
}

/* ---- the ring ---- */

static void ring_add(struct iof_layer *l, struct iof_req *r)
{
	struct bh_disk_queue *q = r->queue;
	struct io_uring_sqe *s = io_uring_get_sqe(&q->ring);
	int fd = l->disk->data_fd;
	off_t off = (off_t)(r->off + r->progress);
	size_t left = (size_t)(r->len - r->progress);
	void *one;

	if (!s) {
		engine_submit(q);
		s = io_uring_get_sqe(&q->ring);
	}
	if (!s) {
		to_worker(l, r, transfer_work);
		return;
	}
	r->layer = l;
	one = iof_contiguous(r);
	if (one) {
		unsigned n = left > INT_MAX / 2 ? INT_MAX / 2 : (unsigned)left;

		if (r->op == IOF_WRITE) io_uring_prep_write(s, fd, (char *)one + r->progress, n, (uint64_t)off);
		else io_uring_prep_read(s, fd, (char *)one + r->progress, n, (uint64_t)off);
	} else if (r->iov_skip == 0 && r->progress == 0 && r->iovcnt <= IOV_MAX) {   // iov holds len bytes or more
		size_t sum = 0;
		int n = 0;

		while (n < r->iovcnt && sum < left) sum += r->iov[n++].iov_len;
		if (sum != left) n = 0;
		if (n == 0) io_uring_prep_nop(s);
		else if (r->op == IOF_WRITE) io_uring_prep_writev(s, fd, r->iov, (unsigned)n, (uint64_t)off);
		else io_uring_prep_readv(s, fd, r->iov, (unsigned)n, (uint64_t)off);
		if (n == 0) r->state = 1;   // see reap
	} else {
		io_uring_prep_nop(s);
		r->state = 1;
	}
	io_uring_sqe_set_data(s, r);
	q->unsubmitted++;
	q->in_ring++;
}

void engine_submit(struct bh_disk_queue *q)
{
	while (q->unsubmitted) {
		int n = io_uring_submit(&q->ring);

		if (n > 0) q->unsubmitted -= (unsigned)n < q->unsubmitted ? (unsigned)n : q->unsubmitted;
		else if (n == -EINTR) continue;
		else break;   // EAGAIN, EBUSY: completions must be taken first
	}
}

static void ring_done(struct iof_req *r, int res)
{
	struct iof_layer *l = r->layer;

	if (r->state == 1) {   // pieces that one entry cannot describe
		r->state = 0;
		to_worker(l, r, transfer_work);
		return;
	}
	if (res == -EINTR || res == -EAGAIN) {
		ring_add(l, r);
	} else if (res < 0) {
		r->done(r, res);
	} else if (res == 0) {
		r->result = transfer_all(l, r);   // end of the file: no more I/O
		r->done(r, r->result);
	} else {
		r->progress += (uint64_t)res;
		if (r->progress < r->len) ring_add(l, r);
		else if (r->op == IOF_WRITE && (r->flags & BH_DISK_FUA)) to_worker(l, r, sync_work);
		else r->done(r, 0);
	}
}

bool engine_reap(struct bh_disk_queue *q)
{
	struct io_uring_cqe *c;
	bool any = false;

	if (!q->has_ring) return false;
	while (q->in_ring && io_uring_peek_cqe(&q->ring, &c) == 0) {
		struct iof_req *r = io_uring_cqe_get_data(c);
		int res = c->res;

		io_uring_cqe_seen(&q->ring, c);
		q->in_ring--;
		any = true;
		ring_done(r, res);
	}
	return any;
}

/* ---- requests ---- */

/* What lies in memory, without waiting for a device. True: that was all. */
static bool read_cached(struct iof_layer *l, struct iof_req *r)
{
	void *one = iof_contiguous(r);
	struct iovec v = { .iov_base = one, .iov_len = (size_t)r->len };
	ssize_t n;

	if (!one || r->len > INLINE_MAX) return false;
	n = preadv2(l->disk->data_fd, &v, 1, (off_t)r->off, RWF_NOWAIT);
	if (n > 0) r->progress = (uint64_t)n;
	return r->progress == r->len;
}

static void data_read(struct iof_layer *l, struct iof_req *r)
{
	r->progress = 0;
	r->state = 0;
	if (!r->queue->has_ring) to_worker(l, r, transfer_work);
	else if (l->disk->in_memory && r->len <= INLINE_MAX) r->done(r, transfer_all(l, r));
	else if (read_cached(l, r)) r->done(r, 0);
	else if (iof_contiguous(r) || r->iov_skip == 0) ring_add(l, r);
	else to_worker(l, r, transfer_work);
}

/* Slow because dirty pages are throttled, or because others had the processor? Only the former is better done elsewhere. */
static void slow_write(struct bh_disk_queue *q)
{
	struct rusage u = { .ru_nivcsw = 0 };

	if (getrusage(RUSAGE_THREAD, &u) < 0 || u.ru_nivcsw != q->preemptions) {
		q->preemptions = u.ru_nivcsw;
		q->since_slow++;
		return;
	}
	if (q->since_slow < SLOW_NEAR) q->slow_writes = SLOW_WRITES;
	q->since_slow = 0;
}

static void data_write(struct iof_layer *l, struct iof_req *r)
{
	struct bh_disk_queue *q = r->queue;
	uint64_t began, took;
	int rc;

	r->progress = 0;
	r->state = 0;
	if (!q->has_ring || (r->flags & BH_DISK_FUA) || r->len > INLINE_MAX) {
		to_worker(l, r, transfer_work);
		return;
	}
	if (q->slow_writes) {
		q->slow_writes--;
		ring_add(l, r);
		return;
	}
	began = clock_mono_ns();
	rc = transfer_all(l, r);
	took = clock_mono_ns() - began;
	if (took <= SLOW_WRITE_NS) {
		q->since_slow++;
	} else {
		slow_write(q);
	}
	r->done(r, rc);
}

static void data_flush(struct iof_layer *l, struct iof_req *r)
{
	if (l->disk->read_only) r->done(r, 0);
	else to_worker(l, r, sync_work);
}

/* Zeroes by hand, where the file system has no call for it. */
static int zero_by_writing(struct iof_layer *l, struct iof_req *r)
{
	static const char zeroes[64 << 10];

	for (uint64_t done = 0; done < r->len;) {
		size_t n = r->len - done < sizeof(zeroes) ? (size_t)(r->len - done) : sizeof(zeroes);
		ssize_t got = pwrite(l->disk->data_fd, zeroes, n, (off_t)(r->off + done));

		if (got < 0 && errno == EINTR) continue;
		if (got <= 0) return got < 0 ? -errno : -EIO;
		done += (uint64_t)got;
	}
	return 0;
}

static int zero_work(struct iof_layer *l, struct iof_req *r)
{
	int mode = FALLOC_FL_KEEP_SIZE | (r->flags & BH_DISK_NO_UNMAP && r->op == IOF_WRITE_ZEROES ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE);
	int rc = 0;

	while (fallocate(l->disk->data_fd, mode, (off_t)r->off, (off_t)r->len) < 0) {
		if (errno == EINTR) continue;
		if (errno != EOPNOTSUPP && errno != EINVAL) return -errno;
		if (r->op == IOF_WRITE_ZEROES) rc = zero_by_writing(l, r);
		break;
	}
	return rc == 0 && (r->flags & BH_DISK_FUA) ? sync_work(l, r) : rc;
}

static void data_zero(struct iof_layer *l, struct iof_req *r)
{
	to_worker(l, r, zero_work);
}

static int extents_work(struct iof_layer *l, struct iof_req *r)
{
	off_t at = (off_t)r->off, next;
	int type;

	if (l->disk->is_block_device) {
		*r->extent = (struct bh_disk_extent){ .len = r->len, .type = BH_DISK_DATA };
		return 0;
	}
	next = lseek(l->disk->data_fd, at, SEEK_DATA);
	if (next < 0 && errno != ENXIO) return -errno;
	type = next == at ? BH_DISK_DATA : BH_DISK_HOLE;
	if (type == BH_DISK_DATA) next = lseek(l->disk->data_fd, at, SEEK_HOLE);
	*r->extent = (struct bh_disk_extent){ .len = r->len, .type = type };
	if (next > at && (uint64_t)(next - at) < r->len) r->extent->len = (uint64_t)(next - at);
	return 0;
}

static void data_extents(struct iof_layer *l, struct iof_req *r)
{
	to_worker(l, r, extents_work);
}

const struct iof_filter data_filter = {
	.abi = IOF_ABI_VERSION, .size = sizeof(struct iof_filter), .name = "data", .summary = "the data file", .order = IOF_CLASS_MEDIUM,
	.read = data_read, .write = data_write, .flush = data_flush, .discard = data_zero, .write_zeroes = data_zero,
	.extents = data_extents,
};
