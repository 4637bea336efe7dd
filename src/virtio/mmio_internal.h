// SPDX-License-Identifier: Apache-2.0
// What the MMIO transport's files share: mmio.c (registers, queues) and mmio_state.c (saving and restoring).
#ifndef BULKHEAD_MMIO_INTERNAL_H
#define BULKHEAD_MMIO_INTERNAL_H

#include <linux/virtio_mmio.h>
#include <pthread.h>

#include "virtio/mmio.h"

struct evwatch;

#define CONFIG_MAX VIRTIO_MMIO_CONFIG_MAX
_Static_assert(CONFIG_MAX == VIRTIO_MMIO_SIZE - VIRTIO_MMIO_CONFIG, "the configuration space fills the window");

struct mmio_queue {
	struct virtio_mmio *m;
	unsigned index;
	uint32_t num;
	bool ready;                   // as the driver wrote it
	uint64_t desc, avail, used;
	int kick;                     // owned
	struct evwatch *watch;        // of kick, while the queue runs
	bool paused;                  // it is to run after virtio_mmio_resume, from `next`
	uint16_t next;
	bool fresh;                   // started, but the device has not heard of it yet
};

struct virtio_mmio {
	struct virtio_mmio_attr a;
	pthread_mutex_t lock;
	uint32_t device_sel, driver_sel, queue_sel;
	uint64_t driver_features;
	uint32_t *status, *isr;       // atomics, in the window
	uint8_t *window;              // what the driver reads: a.window, or one that nobody but us does
	uint8_t own_window[VIRTIO_MMIO_SIZE] __attribute__((aligned(8)));
	pthread_mutex_t config_lock;
	uint32_t generation;
	uint8_t config[CONFIG_MAX];
	size_t config_len;
	struct mmio_queue queue[VIRTIO_MMIO_QUEUES_MAX];
};

void mmio_config_read(struct virtio_mmio *m);      // from the device
void mmio_show_selected(struct virtio_mmio *m);    // what the selectors have selected
uint64_t mmio_offered(const struct virtio_mmio *m);

#endif
