// SPDX-License-Identifier: Apache-2.0
// A virtio device without its transport: what vhost_user.c (under QEMU) or an MMIO transport (under KVM) drives.
// All calls are made on the device's own thread, the one that runs its event loop.
#ifndef BULKHEAD_VIRTIO_DEV_H
#define BULKHEAD_VIRTIO_DEV_H

#include <stddef.h>
#include <stdint.h>

#include "virtio/virtqueue.h"

struct virtio_dev;

struct virtio_dev_ops {
	const char *name;
	uint32_t id;              // VIRTIO_ID_*
	/* What the device offers, ring features included, transport features not. */
	uint64_t (*features)(const struct virtio_dev *d);
	/* Write the first len bytes of the configuration space. Returns its whole size. */
	size_t (*config)(const struct virtio_dev *d, void *out, size_t len);
	/* The queue's ring is set up (d->vq[n].running), driver_features are final: serve what is waiting, too. */
	void (*queue_start)(struct virtio_dev *d, unsigned n);
	void (*queue_kick)(struct virtio_dev *d, unsigned n);
	/* Finish every request of the queue; afterwards nothing touches the ring. May block on I/O in flight. */
	void (*queue_stop)(struct virtio_dev *d, unsigned n);
	/* The driver is gone (guest reset, device unplugged): forget what belongs to it. All queues are stopped. */
	void (*reset)(struct virtio_dev *d);
	/* The driver wrote len bytes of the configuration space at off. NULL: there is nothing to write. */
	void (*config_write)(struct virtio_dev *d, size_t off, const void *data, size_t len);
	/* The driver comes from a saved VM, where it saw this configuration; queue_start follows for each of its queues.
	 * Tell it what is not as it was, take over what is. May be NULL. */
	void (*restored)(struct virtio_dev *d, const void *config, size_t len);
};

struct virtio_dev {               // first member of each device's struct
	const struct virtio_dev_ops *ops;
	unsigned nqueues;
	struct virtqueue *vq;     // nqueues of them; owned by the device, started and stopped by the transport
	uint64_t driver_features; // accepted by the driver
	uint64_t carry;           // the device's own, kept when the VM is saved and restored
	void (*config_changed)(void *user);   // set by the transport, called by the device; may be NULL
	void *config_user;
};

#endif
