// SPDX-License-Identifier: Apache-2.0
// One request, waited for.
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/err.h"
#include "disk/queue.h"

#define OWN_MAX 8

bool queue_is_helper(const struct bh_disk_queue *q) { return q == q->disk->helper || q == q->disk->front; }

/* The calling thread's other queues. What it waits for may wait for requests in them (a flush that another one joined, a
 * block that is being written): they go on meanwhile. */
static unsigned own_poll(struct bh_disk *d, const struct bh_disk_queue *but, struct bh_disk_queue *own[OWN_MAX])
{
	unsigned n = 0;

	pthread_mutex_lock(&d->queues_lock);
	for (struct bh_disk_queue *q = d->queues; q && n < OWN_MAX; q = q->next)
		if (q != but && !queue_is_helper(q) && pthread_equal(q->owner, pthread_self()) && !q->nesting) own[n++] = q;
	pthread_mutex_unlock(&d->queues_lock);
	for (unsigned i = 0; i < n; i++) bh_disk_queue_poll(own[i]);   // nobody else closes them
	return n;
}

void queue_wait(struct bh_disk_queue *q)
{
	struct pollfd p[1 + OWN_MAX] = { { .fd = q->event_fd, .events = POLLIN } };
	struct bh_disk_queue *own[OWN_MAX];
	unsigned n = own_poll(q->disk, q, own);

	for (unsigned i = 0; i < n; i++) p[i + 1] = (struct pollfd){ .fd = own[i]->event_fd, .events = POLLIN };
	poll(p, n + 1, -1);
}

static void helper_take(struct bh_disk *d, pthread_mutex_t *lock)
{
	struct bh_disk_queue *own[OWN_MAX];

	while (pthread_mutex_trylock(lock)) {
		if (!own_poll(d, NULL, own)) {
			pthread_mutex_lock(lock);
			return;
		}
		usleep(50);
	}
}

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
	bool front = entry == root->entry;
	struct bh_disk_queue *q = front ? root->front : root->helper;
	pthread_mutex_t *lock = front ? &root->front_lock : &root->helper_lock;
	struct iof_req *r;

	helper_take(root, lock);
	r = queue_req_get(q);
	if (!r) {
		pthread_mutex_unlock(lock);
		return -ENOMEM;
	}
	*r = (struct iof_req){ .op = op, .flags = flags, .off = off, .len = len, .iov = &v, .iovcnt = data ? 1 : 0, .extent = ext,
			       .queue = q, .done = waiter_done, .user = &w };
	q->inflight++;
	q->nesting++;
	layer_call(entry[op], r);
	q->nesting--;
	while (bh_disk_queue_poll(q), !w.done) queue_wait(q);
	pthread_mutex_unlock(lock);
	return w.result;
}

int bh_disk_rw(struct bh_disk *d, enum bh_disk_op op, uint64_t off, void *data, size_t len, uint32_t flags, struct err *e)
{
	struct bh_disk_io io = { .op = op, .off = off, .len = len };
	int rc = queue_check(d, &io);

	if (rc == 0 && op == BH_DISK_EXTENTS) rc = -EINVAL;
	if (rc == 0 && op > BH_DISK_WRITE && (len || op == BH_DISK_FLUSH)) rc = queue_rw(d, d->entry, (enum iof_op)op, off, NULL, len, flags, NULL);
	for (size_t at = 0, n; op <= BH_DISK_WRITE && at < len && rc == 0; at += n) {
		n = SPLIT_BYTES - (off + at) % SPLIT_BYTES;
		if (n > len - at) n = len - at;
		rc = queue_rw(d, d->entry, (enum iof_op)op, off + at, (char *)data + at, n, flags, NULL);
	}
	return rc < 0 ? err_sys(e, -rc, "disk '%s': %zu bytes at %llu", d->path, len, (unsigned long long)off) : 0;
}
