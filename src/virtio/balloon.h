// SPDX-License-Identifier: Apache-2.0
// virtio-balloon (virtio 1.2, 5.5): memory that the guest does without, because it was asked to (inflation) or because it does
// not use it just now (free page reporting), is handed to the owner's discard.
#ifndef BULKHEAD_BALLOON_H
#define BULKHEAD_BALLOON_H

#include "virtio/virtio_dev.h"

struct balloon;

struct balloon_attr {
	/* The guest does not need what is at host, len bytes in whole pages: what it finds there later need not be what was. On the
	 * device's thread. */
	void (*discard)(void *user, void *host, size_t len);
	void *user;
};

int balloon_new(const struct balloon_attr *a, struct balloon **out);   // 0 or -ENOMEM
void balloon_free(struct balloon *b);                                  // its queues are stopped
struct virtio_dev *balloon_dev(struct balloon *b);

void balloon_set(struct balloon *b, uint64_t bytes);       // on the device's thread: the guest shall do without so much
uint64_t balloon_actual(const struct balloon *b);          // any thread: bytes that the guest says it does without
uint64_t balloon_reported(const struct balloon *b);        // any thread: bytes discarded after a report, ever

#endif
