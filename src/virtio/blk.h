// SPDX-License-Identifier: Apache-2.0
// virtio-blk (virtio 1.2, 5.2) on a disk of the disk library: read, write, flush, discard, write zeroes, identity.
// What the host's disk has no room for waits, and is tried again each second for five minutes: a guest whose writes fail
// gives its file system up. Requests go to the disk as the guest wrote them: its buffers are not copied. One thread, that of the event loop, serves
// all queues.
#ifndef BULKHEAD_BLK_H
#define BULKHEAD_BLK_H

#include <stdbool.h>

#include "virtio/virtio_dev.h"

struct bh_disk;
struct blk;
struct evloop;

#define BLK_QUEUES_MAX 16
#define BLK_SERIAL_MAX 20

struct blk_attr {
	struct evloop *loop;      // of the device's thread; borrowed
	struct bh_disk *disk;     // borrowed, until blk_free
	const char *serial;       // at most BLK_SERIAL_MAX bytes; copied
	unsigned nqueues;         // 1 to BLK_QUEUES_MAX
	bool read_only;
	unsigned hold_ms;         // when the host's disk is full: try again after so long; 0: a second
};

struct blk_stats { uint64_t read_bytes, write_bytes, ops; };

/* Returns 0 and *b, or -errno. The disk's own queue is opened when the driver starts the first of ours. */
int blk_new(const struct blk_attr *a, struct blk **b);
void blk_free(struct blk *b);                                  // on the device's thread; its queues are stopped
struct virtio_dev *blk_dev(struct blk *b);
void blk_stats(const struct blk *b, struct blk_stats *s);      // any thread
/* On the device's thread: look whether the disk's size changed, and tell the driver. Returns whether it had. */
bool blk_resized(struct blk *b);

#endif
