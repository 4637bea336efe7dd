// SPDX-License-Identifier: Apache-2.0
// Queues: requests in flight, and the mailbox by which other threads reach a queue's thread.
//
// The event descriptor is written only when the thread may be asleep: by whoever puts the first entry into an empty
// mailbox, and by the ring while it is armed, which it is only between a poll that left entries in the kernel and the
// next poll. A busy queue makes no system call besides io_uring_enter.
#include "disk/queue.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "disk/counters.h"
#include "disk/work.h"

/* ---- mailbox ---- */

static void wake(struct bh_disk_queue *q)
{
	uint64_t one = 1;

	while (write(q->event_fd, &one, sizeof(one)) < 0 && errno == EINTR) continue;
}

void queue_post(struct iof_req *r)
{
	struct bh_disk_queue *q = r->queue;
	struct iof_req *old;

	atomic_fetch_add_explicit(&q->posting, 1, memory_order_relaxed);   // r may be done, and its queue closed, before we have waked
	old = atomic_load_explicit(&q->mailbox, memory_order_relaxed);
	do r->next = old;
	while (!atomic_compare_exchange_weak_explicit(&q->mailbox, &old, r, memory_order_acq_rel, memory_order_relaxed));
	if (!old) wake(q);
	atomic_fetch_sub_explicit(&q->posting, 1, memory_order_release);
}

static void wake_clear(struct bh_disk_queue *q)
{
	uint64_t n;

	while (read(q->event_fd, &n, sizeof(n)) < 0 && errno == EINTR) continue;
}

static bool mailbox_run(struct bh_disk_queue *q)
{
	struct iof_req *r = atomic_exchange_explicit(&q->mailbox, NULL, memory_order_acq_rel), *list = NULL, *next;

	if (!r) return false;
	for (; r; r = next) {   // oldest first
		next = r->next;
		r->next = list;
		list = r;
	}
	for (r = list; r; r = next) {
		next = r->next;
		r->step(r->layer, r);
	}
	return true;
}

/* ---- requests of the user ---- */

static void user_done(struct iof_req *r, int result)
{
	struct bh_disk_queue *q = r->queue;
	struct bh_disk_io *io = r->user;

	queue_req_put(q, r);
	q->inflight--;
	q->completed++;
	counters_done(io, result);
	io->done(io, result);
}

static void split_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;

	queue_req_put(c->queue, c);
	if (result < 0 && r->result == 0) r->result = result;
	if (--r->progress == 0) r->done(r, r->result);
}

static void split_enter(struct bh_disk *d, struct iof_req *r)
{
	uint64_t end = r->off + r->len, at, next;

	r->result = 0;
	r->progress = 1;
	for (at = r->off; at < end; at = next) {
		struct iof_req *c = queue_req_get(r->queue);

		if (!c) {
			r->result = -ENOMEM;
			break;
		}
		next = at - at % SPLIT_BYTES + SPLIT_BYTES;
		if (next > end) next = end;
		*c = *r;
		iof_part(c, r, at, next - at);
		c->done = split_done;
		c->user = r;
		r->progress++;
		chain_enter(d, c);
	}
	if (--r->progress == 0) r->done(r, r->result);
}

static void enter(struct bh_disk_queue *q, struct iof_req *r)
{
	struct bh_disk *d = q->disk;

	q->inflight++;
	if (r->len > SPLIT_BYTES && r->op <= IOF_WRITE && d->top != &d->data) split_enter(d, r);
	else chain_enter(d, r);
}

static void run_waiting(struct bh_disk_queue *q)
{
	struct iof_req *r;

	while ((r = req_list_take(&q->waiting))) {
		if (q->paused) req_list_add(&q->held, r);
		else enter(q, r);
	}
}

int queue_check(const struct bh_disk *d, const struct bh_disk_io *io)
{
	if (io->op >= BH_DISK_OPS) return -EINVAL;
	if (d->read_only && io->op != BH_DISK_READ && io->op != BH_DISK_FLUSH && io->op != BH_DISK_EXTENTS) return -EROFS;
	if (io->op == BH_DISK_FLUSH) return 0;
	if (io->off > d->size || io->len > d->size - io->off) return -EINVAL;
	return 0;
}

static void fail(struct bh_disk_io *io, int rc)
{
	counters_done(io, rc);
	io->done(io, rc);
}

void bh_disk_submit(struct bh_disk_queue *q, struct bh_disk_io *io)
{
	int rc = queue_check(q->disk, io);
	struct iof_req *r;

	if (rc < 0) {
		fail(io, rc);
		return;
	}
	if (io->op != BH_DISK_FLUSH && io->len == 0) {
		fail(io, 0);
		return;
	}
	r = queue_req_get(q);
	if (!r) {
		fail(io, -ENOMEM);
		return;
	}
	*r = (struct iof_req){ .op = (enum iof_op)io->op, .flags = io->flags, .off = io->off, .len = io->len, .iov = io->iov,
			       .iovcnt = io->iovcnt, .extent = io->extent, .queue = q, .done = user_done, .user = io };
	if (io->op == BH_DISK_FLUSH) r->off = r->len = 0;
	q->quiet = 0;
	if (q->nesting) {   // inside done: keep the stack flat
		req_list_add(&q->waiting, r);
		return;
	}
	q->nesting++;
	if (q->paused) req_list_add(&q->held, r);
	else enter(q, r);
	run_waiting(q);
	q->nesting--;
}

int bh_disk_queue_poll(struct bh_disk_queue *q)
{
	bool again, idle = true;

	if (q->nesting) return 0;   // from inside done: the outer poll goes on
	q->nesting++;
	q->completed = 0;
	atomic_store_explicit(&q->owner, pthread_self(), memory_order_relaxed);
	if (q->armed || atomic_load_explicit(&q->mailbox, memory_order_relaxed)) {
		if (q->armed) io_uring_cq_eventfd_toggle(&q->ring, false);
		q->armed = false;
		wake_clear(q);
	}
	do {
		again = mailbox_run(q);
		run_waiting(q);
		engine_submit(q);
		again |= engine_reap(q);
		run_waiting(q);
		again |= q->unsubmitted > 0;
		if (again) {
			idle = false;
		} else if (idle && q->quiet++) {   // called for a late signal of something already handled: or it would call again and again
			idle = false;
			wake_clear(q);
			again = true;
		}
		if (!again && q->in_ring && !q->armed) {
			io_uring_cq_eventfd_toggle(&q->ring, true);
			q->armed = true;
			atomic_thread_fence(memory_order_seq_cst);   // the kernel writes an entry, then looks whether to signal; we the other way round
			again = io_uring_cq_ready(&q->ring) > 0;
		}
	} while (again);
	q->nesting--;
	if (q->pause_asked && q->inflight == 0) {   // here, where no filter's function is on the stack any more
		q->pause_asked = false;
		atomic_store(&q->acked, 1);
	}
	return (int)q->completed;
}

int bh_disk_queue_fd(const struct bh_disk_queue *q) { return q->event_fd; }

/* ---- open and close ---- */

static void slots_close(struct bh_disk_queue *q)
{
	for (unsigned i = 0; i < q->disk->slots; i++) {
		struct iof_layer *l = q->disk->slot_layer[i];

		if (l && l->filter->queue_close && q->slot[i]) l->filter->queue_close(l, q->slot[i]);
	}
}

static void queue_free(struct bh_disk_queue *q)
{
	queue_pool_free(q);
	if (q->has_ring) io_uring_queue_exit(&q->ring);
	if (q->event_fd >= 0) close(q->event_fd);
	free(q);
}

/* Without a ring (old kernel, seccomp, limits) the workers read and write. */
static void ring_open(struct bh_disk_queue *q, unsigned depth)
{
	struct io_uring_params p = { .flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CLAMP };
	unsigned entries = depth < 8 ? 8 : depth > 1024 ? 1024 : depth;

	if (q->disk->threads_only) return;
	if (io_uring_queue_init_params(entries, &q->ring, &p) < 0) {
		memset(&p, 0, sizeof(p));
		if (io_uring_queue_init_params(entries, &q->ring, &p) < 0) return;
	}
	if (!(p.features & IORING_FEAT_NODROP) || !(p.features & IORING_FEAT_SUBMIT_STABLE) ||
	    io_uring_register_eventfd(&q->ring, q->event_fd) < 0) {
		io_uring_queue_exit(&q->ring);
		return;
	}
	io_uring_cq_eventfd_toggle(&q->ring, false);
	q->has_ring = true;
}

int bh_disk_queue_open(struct bh_disk *d, unsigned depth, struct bh_disk_queue **out, struct err *e)
{
	struct bh_disk_queue *q = calloc(1, sizeof(*q));
	int rc = 0;

	if (!q) return err_set(e, ENOMEM, "no memory for a disk queue");
	q->disk = d;
	q->owner = pthread_self();
	req_list_init(&q->waiting);
	req_list_init(&q->held);
	q->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->event_fd < 0) rc = err_sys(e, errno, "cannot make an event descriptor");
	if (!rc && queue_pool_fill(q, depth)) rc = err_set(e, ENOMEM, "no memory for a disk queue");
	if (rc) {
		queue_free(q);
		return rc;
	}
	ring_open(q, depth);
	pthread_mutex_lock(&d->admin);
	for (unsigned i = 0; i < d->slots && !rc; i++) {
		struct iof_layer *l = d->slot_layer[i];

		if (l && l->filter->queue_open) rc = l->filter->queue_open(l, &q->slot[i], e);
	}
	if (!rc) {
		pthread_mutex_lock(&d->queues_lock);
		q->next = d->queues;
		d->queues = q;
		pthread_mutex_unlock(&d->queues_lock);
	} else {
		slots_close(q);
	}
	pthread_mutex_unlock(&d->admin);
	if (rc) queue_free(q);
	else *out = q;
	return rc;
}

void bh_disk_queue_close(struct bh_disk_queue *q)
{
	struct bh_disk_queue **p;

	if (!q) return;
	while (bh_disk_queue_poll(q), q->inflight || q->held.head) queue_wait(q);
	for (;;) {   // whoever pauses needs our answer while it holds admin
		if (pthread_mutex_trylock(&q->disk->admin) == 0) break;
		bh_disk_queue_poll(q);
		usleep(200);
	}
	bh_disk_queue_poll(q);
	pthread_mutex_lock(&q->disk->queues_lock);
	for (p = &q->disk->queues; *p != q; p = &(*p)->next) continue;
	*p = q->next;
	pthread_mutex_unlock(&q->disk->queues_lock);
	slots_close(q);
	pthread_mutex_unlock(&q->disk->admin);
	while (atomic_load_explicit(&q->posting, memory_order_acquire)) usleep(50);   // the waking of what is long done
	queue_free(q);
}
