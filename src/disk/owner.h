// SPDX-License-Identifier: Apache-2.0
// Who holds each block of a clone: the clone itself, one of its ancestors, or nobody (it reads as zeroes). One byte a
// block, in chunks that exist only where a chunk is not uniform, so that 64 TiB cost nothing until written and a look-up
// is two loads however deep the chain. A chunk covers what one sector of the map file covers.
//
// Writers (any thread) only ever turn blocks into OWNER_SELF, after owner_reserve. Readers need no lock.
#ifndef BH_DISK_OWNER_H
#define BH_DISK_OWNER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define OWNER_SELF 0u
#define OWNER_DEEPEST 250u       // codes 1..OWNER_DEEPEST: ancestors
#define OWNER_ZERO 255u

#define OWNER_CHUNK 4032u        // blocks: 504 bytes of bits

struct owner {
	uint64_t blocks, chunks;
	_Atomic uintptr_t *chunk;   // 0: all OWNER_ZERO; odd: all code (value >> 1); else pointer to OWNER_CHUNK codes
};

struct owner *owner_new(uint64_t blocks);            // all OWNER_ZERO; NULL: no memory
void owner_free(struct owner *o);                    // NULL allowed
int owner_resize(struct owner *o, uint64_t blocks);  // nobody else may use it meanwhile; new blocks are OWNER_ZERO
int owner_reserve(struct owner *o, uint64_t first, uint64_t n);              // room for different codes; 0 or -ENOMEM
void owner_set(struct owner *o, uint64_t first, uint64_t n, uint8_t code);   // reserved before
int owner_fill(struct owner *o, uint64_t first, uint64_t n, uint8_t code);   // before first use: whole chunks stay compact
int owner_shift(struct owner *o);                    // every ancestor one deeper: SELF -> 1, 1 -> 2...
void owner_compact(struct owner *o, uint64_t chunk); // before first use

static inline uint8_t owner_code(uintptr_t v, unsigned i)
{
	if (v == 0) return OWNER_ZERO;
	if (v & 1) return (uint8_t)(v >> 1);
	return __atomic_load_n((uint8_t *)v + i, __ATOMIC_ACQUIRE);
}

static inline uint8_t owner_get(const struct owner *o, uint64_t block)
{
	return owner_code(atomic_load_explicit(&o->chunk[block / OWNER_CHUNK], memory_order_acquire), block % OWNER_CHUNK);
}

uint64_t owner_run(const struct owner *o, uint64_t first, uint64_t n);       // leading blocks of the same code, 1..n
bool owner_all(const struct owner *o, uint64_t first, uint64_t n, uint8_t code);

#endif
