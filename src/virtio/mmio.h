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
#define VIRTIO_MMIO_CONFIG_MAX 0x100    // of these: the configuration space
#define VIRTIO_MMIO_MAGIC 0x74726976u   // "virt"
#define VIRTIO_MMIO_QUEUES_MAX 16
#define VIRTIO_MMIO_RING_MAX 256        // entries of a ring, as offered

struct virtio_mmio_attr {
	struct evloop *loop;            // of the device's thread; borrowed
	struct virtio_dev *dev;         // borrowed
	const struct guest_mem *mem;    // borrowed; stays as it is
	int irq_fd;                     // eventfd, each write to it is one edge of the interrupt line; borrowed
	/* VIRTIO_MMIO_SIZE bytes, 8-aligned, that always hold what virtio_mmio_read would say; the driver can be shown them. Borrowed;
	 * NULL: nobody looks. */
	uint8_t *window;
	/* Run fn on the device's thread and wait for it. May be called by several threads at once. */
	void (*call)(void *user, void (*fn)(void *arg), void *arg);
	void *user;
};

// What a driver has made of the device, for a saved VM. Fixed layout: it is written to files as it is.
struct virtio_mmio_state {
	uint32_t device_id, nqueues;
	uint32_t device_sel, driver_sel, queue_sel, status, isr, generation;
	uint64_t driver_features, carry;
	uint32_t config_len, reserved;
	uint8_t config[VIRTIO_MMIO_CONFIG_MAX];
	struct {
		uint64_t desc, avail, used;
		uint32_t num;
		uint16_t next;                      // where available and used entries go on
		uint8_t ready, running;
	} queue[VIRTIO_MMIO_QUEUES_MAX];
};

/* On the device's thread, or before it runs. Returns 0 and *out, or -errno. */
int virtio_mmio_new(const struct virtio_mmio_attr *a, struct virtio_mmio **out);
void virtio_mmio_free(struct virtio_mmio *m);   // on the device's thread; no vCPU runs any more. Stops the queues

/* An eventfd that kicks queue n when written to; borrowed. */
int virtio_mmio_kick_fd(const struct virtio_mmio *m, unsigned n);

/* A write of this to the acknowledging register need not be given to virtio_mmio_write: that buffers were used is said again
 * with each interrupt anyway, and a driver looks at its rings to find out. */
#define VIRTIO_MMIO_ACK_RINGS 1u

/* A register. off: below VIRTIO_MMIO_SIZE; len: 1, 2, 4 or 8. Any thread. What does not exist reads as 0. */
uint64_t virtio_mmio_read(struct virtio_mmio *m, unsigned off, unsigned len);
void virtio_mmio_write(struct virtio_mmio *m, unsigned off, unsigned len, uint64_t v);

/* On the device's thread, while no vCPU runs: end every request in flight and stop the queues, until resume. Nothing touches
 * guest memory afterwards. */
void virtio_mmio_pause(struct virtio_mmio *m);
void virtio_mmio_resume(struct virtio_mmio *m);   // likewise; the device serves its queues when its event loop turns

void virtio_mmio_save(const struct virtio_mmio *m, struct virtio_mmio_state *s);   // paused
/* A device that no driver has seen becomes one that is paused in state s. Returns 0, or -errno and a sentence: the device is
 * another one than was saved, or s cannot be. */
int virtio_mmio_restore(struct virtio_mmio *m, const struct virtio_mmio_state *s, struct err *e);

#endif
