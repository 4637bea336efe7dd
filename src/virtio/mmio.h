// SPDX-License-Identifier: Apache-2.0
// The MMIO transport (virtio 1.2, 4.2), version 2: the registers through which a driver sets up a device. Registers are
// read and written on vCPU threads; everything that touches the device or a ring happens on the device's own thread.
// What a driver may not do is ignored or makes the device ask for a reset; nothing it writes can reach outside.
#ifndef BULKHEAD_VIRTIO_MMIO_H
#define BULKHEAD_VIRTIO_MMIO_H

#include <stdint.h>

#include "virtio/virtio_dev.h"

struct evloop;
struct virtio_mmio;

#define VIRTIO_MMIO_SIZE 0x200          // bytes of the register window
#define VIRTIO_MMIO_QUEUES_MAX 16
#define VIRTIO_MMIO_RING_MAX 256        // entries of a ring, as offered

struct virtio_mmio_attr {
	struct evloop *loop;            // of the device's thread; borrowed
	struct virtio_dev *dev;         // borrowed
	const struct guest_mem *mem;    // borrowed; stays as it is
	int irq_fd;                     // eventfd, each write to it is one edge of the interrupt line; borrowed
	/* Run fn on the device's thread and wait for it. May be called by several threads at once. */
	void (*call)(void *user, void (*fn)(void *arg), void *arg);
	void *user;
};

/* On the device's thread, or before it runs. Returns 0 and *out, or -errno. */
int virtio_mmio_new(const struct virtio_mmio_attr *a, struct virtio_mmio **out);
void virtio_mmio_free(struct virtio_mmio *m);   // on the device's thread; no vCPU runs any more. Stops the queues

/* An eventfd that kicks queue n when written to; borrowed. */
int virtio_mmio_kick_fd(const struct virtio_mmio *m, unsigned n);

/* A register. off: below VIRTIO_MMIO_SIZE; len: 1, 2, 4 or 8. Any thread. What does not exist reads as 0. */
uint64_t virtio_mmio_read(struct virtio_mmio *m, unsigned off, unsigned len);
void virtio_mmio_write(struct virtio_mmio *m, unsigned off, unsigned len, uint64_t v);

#endif
