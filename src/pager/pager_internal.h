// SPDX-License-Identifier: Apache-2.0
// What the files of the pager share: the layout of entries, records and VADs, and the walk.
#ifndef BH_PAGER_INTERNAL_H
#define BH_PAGER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/err.h"
#include "pager.h"
#include "pool.h"

// A leaf entry: 3 bits of state (enum pager_state), 29 bits of frame number. One leaf table: 2 MiB, 2 GiB of guest.
typedef _Atomic uint32_t pager_entry;
#define FRAME_BITS 29
#define FRAME_MASK ((1u << FRAME_BITS) - 1)
#define LEAF_BITS 19
#define LEAF_ENTRIES (1u << LEAF_BITS)
#define ENTRY(state, frame) ((uint32_t)(state) << FRAME_BITS | (frame))
#define STATE_OF(entry) ((enum pager_state)((entry) >> FRAME_BITS))
#define FRAME_OF(entry) ((entry) & FRAME_MASK)

enum { FRAME_PROTOTYPE = 1, FRAME_EVICTED = 2 };

// A record of the page frame database. vad, offset and flags are written by the holder of the claim (prototypes: before any
// entry leads to them, and never again); the links only while the record is free.
struct frame {
	struct vad *vad;
	uint32_t offset;             // evicted: the store's handle
	uint32_t page;               // guest page, for whoever comes from the database
	uint16_t vm;
	uint16_t flags;
	_Atomic uint16_t age;        // when it was loaded or marked
	uint16_t refs;               // pages that lead here: 1; prototypes: 0, they are not counted
	_Atomic uint32_t link[2];
};
_Static_assert(sizeof(struct frame) == 32, "two records in a cache line, none across two");

// A VAD. Its twin, the compressed face, is the next in memory: what differs is ops, backing and flags.
enum { VAD_TWIN = 1 };
struct vad {
	const struct vad_ops *ops;
	struct backing *backing;     // counted by the VAD, not by its twin
	uint64_t backing_page;
	uint32_t first;
	_Atomic uint32_t pages;      // shrinks and grows beside faults
	uint32_t prototype;          // frame number
	uint16_t vm;
	uint16_t flags;
	struct vad *next_free;
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct vad) == 64, "one cache line");

static inline struct vad *vad_twin(struct vad *v) { return v + 1; }
static inline struct vad *vad_home(struct vad *v) { return v->flags & VAD_TWIN ? v - 1 : v; }

// Each processor's share of a VM's counts. One variable holds those of all VMs: a region has few variables.
#define PAGER_VMS_MAX 16383u
struct vm_counts { uint64_t resident, evicted; };
PRDA_TYPE(vm_counts_prda, struct vm_counts);

struct pager {
	struct frame *frame;
	struct pool frames;
	_Atomic uint32_t next_frame; // never used from here on
	uint32_t max_frames;
	_Atomic uint16_t now;

	pthread_mutex_t lock;        // what follows; inside a VM's lock
	struct vad *vad;
	struct vad *free_vad;
	uint32_t next_vad, max_vads, used_vads;
	uint32_t max_vms, used_vms;
	struct pager_vm **vm;        // by id
	vm_counts_prda counts;       // an array, by id
	struct backing *store;
	struct prda_region *region;
};

// Control path's side of a VM.
struct vm_control {
	pthread_mutex_t lock;
	struct vad **vad;            // sorted by first page
	uint32_t vads, room;
	bool leave;                  // the store keeps its pages
	void *owner;
	prda_u64 resident, evicted;
};

// The VM's own cache line, with the directory's first three entries (6 GiB), is the one that a fault handler has at hand.
struct pager_vm {
	uint32_t pages;
	uint16_t id;
	struct frame *frame;         // the host's page frame database: pager's, kept here to save a line
	struct pager *pager;
	struct vm_control *control;
	struct vad *discarded;       // where pages that the guest gave back come from: zeros
	pager_entry *leaf[];
};

// ---- The walk: the same inlined code for faults, look-ups and the counted version ----

static inline void trace_step(struct pager_trace *t, const void *where)
{
	if (!t)
		return;
	uintptr_t line = (uintptr_t)where / 64;
	uint32_t i = 0;
	while (i < t->lines && t->line[i] != line)
		i++;
	t->steps++;
	if (i == t->lines && i < 8)
		t->line[t->lines++] = line;
}

/* Steps 1 and 2: directory, leaf. The page is below vm->pages. */
static inline pager_entry *walk_entry(const struct pager_vm *vm, uint64_t page, struct pager_trace *t)
{
	pager_entry *const *directory = &vm->leaf[page >> LEAF_BITS];
	trace_step(t, directory);
	return *directory + (page & (LEAF_ENTRIES - 1));
}

/* Step 3: record. */
static inline struct frame *walk_frame(const struct pager_vm *vm, uint32_t entry, struct pager_trace *t)
{
	struct frame *f = vm->frame + FRAME_OF(entry);
	trace_step(t, f);
	return f;
}

static inline struct vad *walk(const struct pager_vm *vm, uint64_t page, struct pager_trace *t)
{
	if (page >= vm->pages)
		return NULL;
	pager_entry *where = walk_entry(vm, page, t);
	trace_step(t, where);
	uint32_t entry = atomic_load_explicit(where, memory_order_acquire);
	if (STATE_OF(entry) == PAGER_NONE)
		return NULL;
	return walk_frame(vm, entry, t)->vad;
}

// ---- vad.c ----
/* A VAD and its twin with a prototype record; b is counted. -ENOMEM, -ENOSPC. */
int vad_new(struct pager_vm *vm, uint32_t first, uint32_t pages, struct backing *b, uint64_t backing_page, struct vad **v,
	struct err *e);
void vad_free(struct pager *p, struct vad *v);

// ---- Memory; the tests let each of these fail. ----
void *pager_alloc(size_t size);                                // zeroed, 64-byte aligned
void *pager_reserve(size_t size, bool huge);                   // zeroed address space, NULL: none
void pager_release(void *p, size_t size);
#ifdef PAGER_TEST_HOOKS
bool pager_fails(void);
#define PAGER_POINT(n) do { if (pager_point) pager_point(n); } while (0)
#else
static inline bool pager_fails(void) { return false; }
#define PAGER_POINT(n) do { } while (0)
#endif

#endif
