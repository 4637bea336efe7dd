// SPDX-License-Identifier: Apache-2.0
// The device side of a split virtqueue (virtio 1.2, 2.7), with indirect descriptors and event index.
// The ring lies in guest memory and may be changed by the guest at any moment: every shared field is read once, checked
// and then used; a chain has a step limit. A ring that breaks the rules stops the queue for good (virtqueue_broken)
// until it is initialised again. One thread uses a queue.
#ifndef BULKHEAD_VIRTQUEUE_H
#define BULKHEAD_VIRTQUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/guest_mem.h"

#define VIRTQ_SIZE_MAX 1024      // largest ring accepted
#define VIRTQ_CHAIN_MAX 130      // most buffers in one chain: 128 data segments, request head and status

#define VIRTQ_FEATURES ((1ull << VIRTIO_RING_F_INDIRECT_DESC) | (1ull << VIRTIO_RING_F_EVENT_IDX))

struct virtq_ring {              // where the driver says the ring is
	uint16_t size;           // power of two
	gpa_t desc, avail, used;
};

struct virtqueue;

struct virtq_host {              // the transport's side
	void (*interrupt)(void *user);                     // tell the driver that used buffers are there
	void (*again)(void *user);                         // kick the device as if the driver had, from the event loop
	void (*failed)(void *user, const char *why);       // the ring broke the rules; called once. May be NULL
	void *user;
};

struct virtqueue {               // filled by virtqueue_start; fields are private to virtqueue.c
	const struct guest_mem *mem;
	const void *desc;
	void *avail, *used;
	uint16_t size;
	uint16_t next_avail;     // first available entry not taken yet
	uint16_t next_used;      // where the next used element goes
	uint16_t signalled;      // next_used at the last virtqueue_flush
	bool event_idx, indirect;
	bool running;
	const char *broken;      // why the ring was stopped, NULL: it works
	struct virtq_host host;
};

struct virtq_chain {             // one request
	uint16_t head;           // names it in virtqueue_push
	int nout, nin;           // buffers to read, and behind them buffers to write
	size_t out_len, in_len;  // bytes of each
	struct iovec iov[VIRTQ_CHAIN_MAX];   // nout entries, then nin entries; pointers into guest memory
};

/* Begin to serve a ring. mem: borrowed, unchanged until virtqueue_stop. features: those the driver accepted.
 * next: index at which the driver's available entries and our used ones go on (0 for a fresh ring).
 * Returns 0, -EINVAL (size or alignment), -EFAULT (outside guest memory). */
int virtqueue_start(struct virtqueue *q, const struct guest_mem *mem, const struct virtq_ring *ring, uint64_t features,
		    uint16_t next, const struct virtq_host *host);

void virtqueue_stop(struct virtqueue *q);   // nothing touches the ring any more

/* Take the next chain. Returns 1 (c filled), 0 (none waiting, or the queue is not running), -EPROTO (broken). */
int virtqueue_pop(struct virtqueue *q, struct virtq_chain *c);
bool virtqueue_waiting(const struct virtqueue *q);   // whether virtqueue_pop would find one
void virtqueue_unpop(struct virtqueue *q);  // give the chain popped last back

/* Hand a chain back to the driver; written: bytes written to its buffers. Shown to the driver at once, but it is
 * interrupted only by virtqueue_flush. */
void virtqueue_push(struct virtqueue *q, uint16_t head, uint32_t written);
void virtqueue_flush(struct virtqueue *q);  // interrupt the driver if it wants to be
uint16_t virtqueue_unsignalled(const struct virtqueue *q);   // chains pushed since the last virtqueue_flush

void virtqueue_kicks_off(struct virtqueue *q);    // ask the driver not to kick (it may still)
/* Ask it to kick again. True: entries arrived meanwhile, for which no kick will come. */
bool virtqueue_kicks_on(struct virtqueue *q);

/* Ask for a kick when one more entry is added to those that are there now and stay there. Returns the index of that entry. */
uint16_t virtqueue_kick_at_next(struct virtqueue *q);

/* The device leaves work in the queue to let its event loop turn: have it kicked again. */
void virtqueue_again(struct virtqueue *q);

/* Stop the queue because the driver broke the rules of the device. why: static text. Returns -EPROTO. */
int virtqueue_break(struct virtqueue *q, const char *why);

#endif
