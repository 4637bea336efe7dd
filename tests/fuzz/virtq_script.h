// SPDX-License-Identifier: Apache-2.0
// Fuzz input as a script for a hostile driver. Each step begins with a byte: bit 7: a chain is offered, else memory is
// written; bits 4-6: the queue that is kicked afterwards; bits 0-3: descriptors of the chain, less one.
//   memory: 2 bytes: where, in units of 16 bytes; 1 byte: length; then the bytes
//   chain:  for each descriptor 2 bytes: where; 2 bytes: length; 1 byte: flags (bit 0 is set by us between descriptors)
#ifndef BULKHEAD_VIRTQ_SCRIPT_H
#define BULKHEAD_VIRTQ_SCRIPT_H

#include "virtio/virtio_dev.h"
#include "virtio/virtq_fake.h"

struct script { const uint8_t *in; size_t len; };

// The next n bytes, little-endian; 0 where the input has ended.
static inline uint32_t script_take(struct script *s, int n)
{
	uint32_t v = 0;
	for (int i = 0; i < n && s->len; i++, s->in++, s->len--)
		v |= (uint32_t)*s->in << 8 * i;
	return v;
}

static inline void script_memory(struct script *s, struct fake_ram *ram)
{
	uint64_t at = script_take(s, 2) * 16 % (FAKE_RAM - 256);
	size_t n = script_take(s, 1);
	n = n < s->len ? n : s->len;
	memcpy(ram->base + at, s->in, n);
	s->in += n;
	s->len -= n;
}

static inline void script_chain(struct script *s, struct fake_ring *r, unsigned n)
{
	uint16_t head = r->free % FAKE_SIZE;
	for (unsigned i = 0; i <= n; i++) {
		gpa_t at = FAKE_GPA + script_take(s, 2) * 16;
		uint32_t len = script_take(s, 2);
		uint16_t flags = (uint16_t)script_take(s, 1);
		fake_desc(r, at, len, i < n ? flags | VRING_DESC_F_NEXT : flags & ~VRING_DESC_F_NEXT);
	}
	fake_offer(r, head);
}

static inline void script_run(struct fake_ram *ram, struct fake_ring *const *ring, struct virtio_dev *d, const uint8_t *in,
			      size_t len, void (*after)(void *user), void *user)
{
	struct script s = {in, len};
	while (s.len) {
		unsigned what = script_take(&s, 1), q = (what >> 4 & 7) % d->nqueues;
		if (what & 0x80)
			script_chain(&s, ring[q], what & 0xf);
		else
			script_memory(&s, ram);
		d->ops->queue_kick(d, q);
		after(user);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

#endif
