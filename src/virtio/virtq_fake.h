// SPDX-License-Identifier: Apache-2.0
// For unit tests and fuzz targets: a driver's side of a virtqueue in memory of this process, and an event loop to step.
#ifndef BULKHEAD_VIRTQ_FAKE_H
#define BULKHEAD_VIRTQ_FAKE_H

#include <linux/virtio_ring.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/virtqueue.h"

#define FAKE_RAM (1u << 18)
#define FAKE_GPA 0x100000ull        // guest address of the first byte
#define FAKE_SIZE 16                // entries of a ring
#define FAKE_RING_BYTES 4096        // each ring: descriptors, at 1024 available, at 2048 used

struct fake_ram {
	struct guest_mem mem;
	uint8_t *base;
	uint64_t next;              // first byte not handed out
};

static inline void fake_ram_init(struct fake_ram *f)
{
	f->base = calloc(1, FAKE_RAM);
	f->next = 0;
	f->mem = (struct guest_mem){.n = 1, .r = {{.gpa = FAKE_GPA, .len = FAKE_RAM, .host = f->base, .user = 0x7000000}}};
}

static inline void fake_ram_fini(struct fake_ram *f) { free(f->base); }

static inline gpa_t fake_alloc(struct fake_ram *f, uint64_t len)
{
	gpa_t at = FAKE_GPA + f->next;
	f->next += (len + 63) & ~63ull;
	return at;
}

static inline void *fake_at(struct fake_ram *f, gpa_t at) { return f->base + (at - FAKE_GPA); }

struct fake_ring {
	struct fake_ram *ram;
	struct virtq_ring at;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t free, seen;        // next descriptor to use; used entries seen
	unsigned interrupts, failures, again;
	const char *why;
};

static inline void fake_interrupt(void *user) { ((struct fake_ring *)user)->interrupts++; }
static inline void fake_again(void *user) { ((struct fake_ring *)user)->again++; }
static inline void fake_failed(void *user, const char *why)
{
	((struct fake_ring *)user)->failures++;
	((struct fake_ring *)user)->why = why;
}

static inline void fake_ring_init(struct fake_ring *r, struct fake_ram *ram)
{
	gpa_t at = fake_alloc(ram, FAKE_RING_BYTES);
	*r = (struct fake_ring){.ram = ram, .at = {.size = FAKE_SIZE, .desc = at, .avail = at + 1024, .used = at + 2048}};
	r->desc = fake_at(ram, r->at.desc);
	r->avail = fake_at(ram, r->at.avail);
	r->used = fake_at(ram, r->at.used);
}

static inline int fake_ring_start(struct fake_ring *r, struct virtqueue *q, uint64_t features)
{
	struct virtq_host host = {fake_interrupt, fake_again, fake_failed, r};
	return virtqueue_start(q, &r->ram->mem, &r->at, features, 0, &host);
}

/* Put a descriptor into the ring; chain it to the next one unless it is the last. Returns its index. */
static inline uint16_t fake_desc(struct fake_ring *r, gpa_t at, uint32_t len, uint16_t flags)
{
	uint16_t i = r->free++ % FAKE_SIZE;
	r->desc[i] = (struct vring_desc){.addr = at, .len = len, .flags = flags, .next = (uint16_t)(r->free % FAKE_SIZE)};
	return i;
}

static inline void fake_offer(struct fake_ring *r, uint16_t head)
{
	r->avail->ring[r->avail->idx % FAKE_SIZE] = head;
	r->avail->idx++;
}

/* Next chain handed back: its head, or -1. *len: bytes written. */
static inline int fake_take(struct fake_ring *r, uint32_t *len)
{
	if (r->seen == r->used->idx)
		return -1;
	struct vring_used_elem e = r->used->ring[r->seen++ % FAKE_SIZE];
	if (len)
		*len = e.len;
	return (int)e.id;
}

#endif
