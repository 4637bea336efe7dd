// SPDX-License-Identifier: Apache-2.0
// The pause that lets the chain be changed under load, and the layers' places in each queue. Under disk.admin.
#include <errno.h>
#include <unistd.h>

#include "base/err.h"
#include "disk/queue.h"

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
	while ((h = req_list_take(&q->held))) req_list_add(&q->waiting, h);
	atomic_store(&q->acked, 1);
}

/* Polls the calling thread's own queues, all of them: what another's waits for may be a request of any. */
static bool all_acked(struct bh_disk *d)
{
	bool all = true;

	for (struct bh_disk_queue *q = d->queues; q; q = q->next) {
		if (queue_is_helper(q) || atomic_load(&q->acked)) continue;
		if (pthread_equal(q->owner, pthread_self())) bh_disk_queue_poll(q);
		all = all && atomic_load(&q->acked);
	}
	return all;
}

/* The helpers are left out: filters use one to drain; whoever rewires the chain holds their locks. */
static void tell_all(struct bh_disk *d, void (*step)(struct iof_layer *, struct iof_req *))
{
	for (struct bh_disk_queue *q = d->queues; q; q = q->next) {
		if (queue_is_helper(q)) continue;
		atomic_store(&q->acked, 0);
		q->control = (struct iof_req){ .queue = q, .step = step };
		queue_post(&q->control);
	}
	while (!all_acked(d)) usleep(50);
}

void queue_pause(struct bh_disk *d) { tell_all(d, pause_step); }
void queue_resume(struct bh_disk *d) { tell_all(d, resume_step); }

void queue_helpers_lock(struct bh_disk *d)
{
	pthread_mutex_lock(&d->front_lock);
	pthread_mutex_lock(&d->helper_lock);
}

void queue_helpers_unlock(struct bh_disk *d)
{
	pthread_mutex_unlock(&d->helper_lock);
	pthread_mutex_unlock(&d->front_lock);
}

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
