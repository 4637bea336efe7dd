// SPDX-License-Identifier: Apache-2.0
// virtio-rng (virtio 1.2, 5.4): random bytes from the host's kernel.
#ifndef BULKHEAD_RNG_H
#define BULKHEAD_RNG_H

#include "virtio/virtio_dev.h"

struct rng;

struct rng *rng_new(void);                   // NULL: no memory
void rng_free(struct rng *r);                // its queue is stopped
struct virtio_dev *rng_dev(struct rng *r);

#endif
