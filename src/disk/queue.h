// SPDX-License-Identifier: Apache-2.0
// Inside of a queue, for queue.c and engine.c only.
#ifndef BH_DISK_QUEUE_H
#define BH_DISK_QUEUE_H

#include <liburing.h>

#include "disk/disk_internal.h"

#define QUEUE_BUF_CLASSES 10     // 4 KiB .. 2 MiB
#define QUEUE_BUF_KEEP 64        // of each class

struct req_list { struct iof_req *head, **tail; };

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

bool engine_reap(struct bh_disk_queue *q);      // completes what the ring has finished; whether there was any
void engine_submit(struct bh_disk_queue *q);    // shows new entries to the kernel

#endif
