// SPDX-License-Identifier: Apache-2.0
// Queues: requests in flight, the mailbox by which other threads reach a queue's thread, pools of requests and
// buffers, and the pause that lets the chain be changed under load.
//
// The event descriptor is written only when the thread may be asleep: by whoever puts the first entry into an empty
// mailbox, and by the ring while it is armed, which it is only between a poll that left entries in the kernel and the
// next poll. A busy queue makes no system call besides io_uring_enter.
#include "disk/queue.h"

#include <bulkhead/prda.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "disk/counters.h"
#include "disk/work.h"

#define SLAB_REQS 64
#define SPLIT_BYTES (1u << 20)   // longer requests are cut before they enter a chain with filters

/* Slabs of requests go from queue to queue through a list per processor: a queue that opens where one was closed finds
 * its memory warm and asks nobody. They are never given back to the system. */
struct iof_slab { struct prda_node node; struct iof_slab *next; struct iof_req req[SLAB_REQS]; };

PRDA_DEFINE(prda_list, disk_spare_slabs);

static void list_init(struct req_list *l) { l->head = NULL; l->tail = &l->head; }

static void list_add(struct req_list *l, struct iof_req *r)
{
	r->next = NULL;
	*l->tail = r;
	l->tail = &r->next;
}

static struct iof_req *list_take(struct req_list *l)
{
	struct iof_req *r = l->head;

	if (r && !(l->head = r->next)) l->tail = &l->head;
	return r;
}

/* ---- pools ---- */

static int slab_add(struct bh_disk_queue *q)
{
	struct iof_slab *s = (struct iof_slab *)prda_pop(disk_spare_slabs);

	if (!s) s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED) return -ENOMEM;
	s->next = q->slabs;
	q->slabs = s;
	for (unsigned i = 0; i < SLAB_REQS; i++) queue_req_put(q, &s->req[i]);
	return 0;
}

struct iof_req *queue_req_get(struct bh_disk_queue *q)
{
	struct iof_req *r = q->free;

	if (!r) {
		if (slab_add(q) < 0) return NULL;
		r = q->free;
	}
	q->free = r->next;
	return r;
}

void queue_req_put(struct bh_disk_queue *q, struct iof_req *r)
{
	r->next = q->free;
	q->free = r;
}

static int buf_class(size_t len)
{
	int c = 0;

	while (((size_t)4096 << c) < len) c++;
	return c;
}

void *queue_buf_get(struct bh_disk_queue *q, size_t len)
{
	int c = buf_class(len);
	void *b;

	if (c < QUEUE_BUF_CLASSES && (b = q->buf[c])) {
		memcpy(&q->buf[c], b, sizeof(void *));
		q->nbuf[c]--;
		return b;
	}
	return aligned_alloc(4096, (size_t)4096 << c);
}

void queue_buf_put(struct bh_disk_queue *q, void *b, size_t len)
{
	int c = buf_class(len);

	if (c >= QUEUE_BUF_CLASSES || q->nbuf[c] == QUEUE_BUF_KEEP) {
		free(b);
		return;
	}
	memcpy(b, &q->buf[c], sizeof(void *));
	q->buf[c] = b;
	q->nbuf[c]++;
}

void *queue_slot(const struct bh_disk_queue *q, unsigned slot) { return q->slot[slot]; }

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

	while ((r = list_take(&q->waiting))) {
		if (q->paused) list_add(&q->held, r);
		else enter(q, r);
	}
}

static int check(const struct bh_disk *d, const struct bh_disk_io *io)
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
	int rc = check(q->disk, io);
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
		list_add(&q->waiting, r);
		return;
	}
	q->nesting++;
	if (q->paused) list_add(&q->held, r);
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
	struct iof_slab *s;

	for (int c = 0; c < QUEUE_BUF_CLASSES; c++)
		while (q->buf[c]) {
			void *b = q->buf[c];

			memcpy(&q->buf[c], b, sizeof(void *));
			free(b);
		}
	while ((s = q->slabs)) {
		q->slabs = s->next;
		prda_push(disk_spare_slabs, &s->node);
	}
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
	list_init(&q->waiting);
	list_init(&q->held);
	q->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->event_fd < 0) rc = err_sys(e, errno, "cannot make an event descriptor");
	for (unsigned i = 0; i < depth && !rc; i += SLAB_REQS)
		if (slab_add(q) < 0) rc = err_set(e, ENOMEM, "no memory for a disk queue");
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

#define OWN_MAX 8

/* The calling thread's other queues. What it waits for may wait for requests in them (a flush that another one joined, a
 * block that is being written): they go on meanwhile. */
static unsigned own_poll(struct bh_disk *d, const struct bh_disk_queue *but, struct bh_disk_queue *own[OWN_MAX])
{
	unsigned n = 0;

	pthread_mutex_lock(&d->queues_lock);
	for (struct bh_disk_queue *q = d->queues; q && n < OWN_MAX; q = q->next)
		if (q != but && q != d->helper && pthread_equal(q->owner, pthread_self()) && !q->nesting) own[n++] = q;
	pthread_mutex_unlock(&d->queues_lock);
	for (unsigned i = 0; i < n; i++) bh_disk_queue_poll(own[i]);   // nobody else closes them
	return n;
}

static void queue_wait(struct bh_disk_queue *q)
{
	struct pollfd p[1 + OWN_MAX] = { { .fd = q->event_fd, .events = POLLIN } };
	struct bh_disk_queue *own[OWN_MAX];
	unsigned n = own_poll(q->disk, q, own);

	for (unsigned i = 0; i < n; i++) p[i + 1] = (struct pollfd){ .fd = own[i]->event_fd, .events = POLLIN };
	poll(p, n + 1, -1);
}

static void helper_take(struct bh_disk *d)
{
	struct bh_disk_queue *own[OWN_MAX];

	while (pthread_mutex_trylock(&d->helper_lock)) {
		if (!own_poll(d, NULL, own)) {
			pthread_mutex_lock(&d->helper_lock);
			return;
		}
		usleep(50);
	}
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

/* ---- pause: under disk.admin ---- */

static void pause_step(struct iof_layer *l, struct iof_req *r)
{
	struct bh_disk_queue *q = r->queue;

	(void)l;
	q->paused = q->pause_asked = true;
}

static void resume_step(struct iof_layer *l, struct iof_req *r)
{
	struct bh_disk_queue *q = r->queue;
	struct iof_req *h;

	(void)l;
	q->paused = false;
	while ((h = list_take(&q->held))) list_add(&q->waiting, h);
	atomic_store(&q->acked, 1);
}

/* Polls the calling thread's own queues, all of them: what another's waits for may be a request of any. */
static bool all_acked(struct bh_disk *d)
{
	bool all = true;

	for (struct bh_disk_queue *q = d->queues; q; q = q->next) {
		if (q == d->helper || atomic_load(&q->acked)) continue;
		if (pthread_equal(q->owner, pthread_self())) bh_disk_queue_poll(q);
		all = all && atomic_load(&q->acked);
	}
	return all;
}

/* The helper is left out: filters use it to drain; whoever rewires the chain holds helper_lock. */
static void tell_all(struct bh_disk *d, void (*step)(struct iof_layer *, struct iof_req *))
{
	for (struct bh_disk_queue *q = d->queues; q; q = q->next) {
		if (q == d->helper) continue;
		atomic_store(&q->acked, 0);
		q->control = (struct iof_req){ .queue = q, .step = step };
		queue_post(&q->control);
	}
	while (!all_acked(d)) usleep(50);
}

void queue_pause(struct bh_disk *d) { tell_all(d, pause_step); }
void queue_resume(struct bh_disk *d) { tell_all(d, resume_step); }

int queue_slots_grow(struct bh_disk *root, struct iof_layer *l, struct err *e)
{
	unsigned slot = 0;
	int rc = 0;

	while (slot < root->slots && root->slot_layer[slot]) slot++;
	if (slot == DISK_SLOTS_MAX) return err_set(e, E2BIG, "more than %d filters in one tree of disks", DISK_SLOTS_MAX);
	l->slot = slot;
	for (struct bh_disk_queue *q = root->queues; q && !rc; q = q->next) {
		q->slot[slot] = NULL;
		if (l->filter->queue_open) rc = l->filter->queue_open(l, &q->slot[slot], e);
	}
	root->slot_layer[slot] = l;
	if (slot == root->slots) root->slots++;
	if (rc) queue_slots_drop(root, l);
	return rc;
}

void queue_slots_drop(struct bh_disk *root, struct iof_layer *l)
{
	if (l->slot >= root->slots || root->slot_layer[l->slot] != l) return;
	for (struct bh_disk_queue *q = root->queues; q; q = q->next) {
		if (l->filter->queue_close && q->slot[l->slot]) l->filter->queue_close(l, q->slot[l->slot]);
		q->slot[l->slot] = NULL;
	}
	root->slot_layer[l->slot] = NULL;
}

/* ---- one request, waited for ---- */

struct waiter { bool done; int result; };

static void waiter_done(struct iof_req *r, int result)
{
	struct waiter *w = r->user;

	r->queue->inflight--;
	queue_req_put(r->queue, r);
	w->done = true;
	w->result = result;
}

int queue_rw(struct bh_disk *root, struct iof_layer *const *entry, enum iof_op op, uint64_t off, void *data, uint64_t len,
	     uint32_t flags, struct bh_disk_extent *ext)
{
	struct iovec v = { .iov_base = data, .iov_len = (size_t)len };
	struct waiter w = { .done = false };
	struct bh_disk_queue *q;
	struct iof_req *r;

	helper_take(root);
	q = root->helper;
	r = queue_req_get(q);
	if (!r) {
		pthread_mutex_unlock(&root->helper_lock);
		return -ENOMEM;
	}
	*r = (struct iof_req){ .op = op, .flags = flags, .off = off, .len = len, .iov = &v, .iovcnt = data ? 1 : 0, .extent = ext,
			       .queue = q, .done = waiter_done, .user = &w };
	q->inflight++;
	q->nesting++;
	layer_call(entry[op], r);
	q->nesting--;
	while (bh_disk_queue_poll(q), !w.done) queue_wait(q);
	pthread_mutex_unlock(&root->helper_lock);
	return w.result;
}

int bh_disk_rw(struct bh_disk *d, enum bh_disk_op op, uint64_t off, void *data, size_t len, uint32_t flags, struct err *e)
{
	struct bh_disk_io io = { .op = op, .off = off, .len = len };
	int rc = check(d, &io);

	if (rc == 0 && op == BH_DISK_EXTENTS) rc = -EINVAL;
	if (rc == 0 && op > BH_DISK_WRITE && (len || op == BH_DISK_FLUSH)) rc = queue_rw(d, d->entry, (enum iof_op)op, off, NULL, len, flags, NULL);
	for (size_t at = 0, n; op <= BH_DISK_WRITE && at < len && rc == 0; at += n) {
		n = SPLIT_BYTES - (off + at) % SPLIT_BYTES;
		if (n > len - at) n = len - at;
		rc = queue_rw(d, d->entry, (enum iof_op)op, off + at, (char *)data + at, n, flags, NULL);
	}
	return rc < 0 ? err_sys(e, -rc, "disk '%s': %zu bytes at %llu", d->path, len, (unsigned long long)off) : 0;
}
