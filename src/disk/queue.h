// SPDX-License-Identifier: Apache-2.0
// Inside of a queue, for queue*.c and engine.c only.
#ifndef BH_DISK_QUEUE_H
#define BH_DISK_QUEUE_H

#include <liburing.h>

#include "disk/disk_internal.h"

#define QUEUE_BUF_CLASSES 10     // 4 KiB .. 2 MiB
#define QUEUE_BUF_KEEP 64        // of each class
#define SPLIT_BYTES (1u << 20)   // longer requests are cut before they enter a chain with filters

struct req_list { struct iof_req *head, **tail; };

static inline void req_list_init(struct req_list *l) { l->head = NULL; l->tail = &l->head; }

static inline void req_list_add(struct req_list *l, struct iof_req *r)
{
	r->next = NULL;
	*l->tail = r;
	l->tail = &r->next;
}

static inline struct iof_req *req_list_take(struct req_list *l)
{
	struct iof_req *r = l->head;

	if (r && !(l->head = r->next)) l->tail = &l->head;
	return r;
}

struct bh_disk_queue {
	struct bh_disk *disk;            // the root
	struct bh_disk_queue *next;      // in disk->queues
	struct io_uring ring;
	bool has_ring;
	bool armed;                      // the ring signals event_fd
	unsigned unsubmitted;            // entries that the kernel has not seen
	unsigned in_ring;                // seen or not, not completed
	unsigned since_slow;             // writes since one took long
	long preemptions;                // of the thread, at its last slow write
	unsigned slow_writes;            // writes to hand to the ring because the page cache is throttled
	int event_fd;
	_Atomic(struct iof_req *) mailbox;
	_Atomic unsigned posting;        // threads inside queue_post
	struct iof_req *free;            // requests
	struct iof_slab *slabs;
	unsigned inflight;               // requests of the user
	unsigned nesting;                // poll or submit is running
	unsigned completed;              // since poll began
	unsigned quiet;                  // polls that found nothing, since the last request came in
	struct req_list waiting;         // handed in from inside done
	struct req_list held;            // handed in while paused
	bool paused;
	bool pause_asked;                // and not acknowledged yet
	struct iof_req control;          // pause and resume messages
	_Atomic int acked;
	_Atomic pthread_t owner;           // the thread that used it last
	void *buf[QUEUE_BUF_CLASSES];    // free buffers
	unsigned nbuf[QUEUE_BUF_CLASSES];
	void *slot[DISK_SLOTS_MAX];
};

int queue_check(const struct bh_disk *d, const struct bh_disk_io *io);   // 0, or why it cannot be
bool queue_is_helper(const struct bh_disk_queue *q);
void queue_wait(struct bh_disk_queue *q);       // until there may be something; the thread's other queues go on meanwhile
int queue_pool_fill(struct bh_disk_queue *q, unsigned requests);   // 0 or -ENOMEM
void queue_pool_free(struct bh_disk_queue *q);

bool engine_reap(struct bh_disk_queue *q);      // completes what the ring has finished; whether there was any
void engine_submit(struct bh_disk_queue *q);    // shows new entries to the kernel

#endif
