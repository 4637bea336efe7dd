// SPDX-License-Identifier: Apache-2.0
// The file of a saved VM: a head, then sections (kind, index, bytes). Host byte order, and only for the version it was
// written with: what a reader does not know or does not find is an error, never a guess. The guest's memory is another file.
#ifndef BULKHEAD_KVM_STATE_H
#define BULKHEAD_KVM_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define STATE_VERSION 2   // 1: other interrupt lines
#define STATE_BYTES_MAX (16u << 20)
#define STATE_SECTIONS_MAX 1024

enum state_kind {
	// of each processor, by its number
	STATE_MP = 1, STATE_REGS, STATE_SREGS, STATE_XSAVE, STATE_FPU, STATE_XCRS, STATE_DEBUG, STATE_LAPIC,
	STATE_MSRS, STATE_EVENTS, STATE_TSC_KHZ,
	// of the machine
	STATE_IRQCHIP = 32,   // index: as KVM numbers them
	STATE_CPUID, STATE_CLOCK, STATE_SERIAL, STATE_ACPI_EVENTS,
	STATE_DEVICE = 64,    // index: slot
};

struct state_shape { uint32_t vcpus, memory_mib; };   // what a VM must have to be restored from it

// ---- writing: begin, add each section, finish; then b holds the file. Each returns 0 or -ENOMEM.
int state_begin(struct buf *b, const struct state_shape *shape);
int state_add(struct buf *b, enum state_kind kind, uint32_t index, const void *data, size_t len);
void state_finish(struct buf *b);

// ---- reading
struct state {
	struct state_shape shape;
	unsigned n;
	struct state_section {
		uint32_t kind, index;
		const uint8_t *data;      // into the bytes given to state_parse
		size_t len;
		bool taken;
	} section[STATE_SECTIONS_MAX];
};

/* Check a file's bytes. data: borrowed while s is used. Returns 0, or -errno and a sentence. */
int state_parse(struct state *s, const void *data, size_t len, struct err *e);

/* The bytes of a section; NULL: there is none. Data is 8-byte aligned when the file's bytes are. */
const void *state_find(struct state *s, enum state_kind kind, uint32_t index, size_t *len);
/* Copy a section that must be there with exactly len bytes. 0 or -errno and a sentence that names it by what. */
int state_take(struct state *s, enum state_kind kind, uint32_t index, void *to, size_t len, const char *what, struct err *e);
/* Whether all that was saved has been taken: 0, or -EINVAL and a sentence about the first that was not. */
int state_all_taken(const struct state *s, struct err *e);

#endif
