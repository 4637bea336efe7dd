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

// A record of the page frame database: one for each frame, and behind those one for each VAD, its prototype. vad, offset and flags are written by the holder of the claim (prototypes: before any
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

// A VAD, or its twin, the compressed face, which differs in ops and backing.
struct vad {
	const struct vad_ops *ops;
	struct backing *backing;     // counted by the VAD, not by its twin
	uint64_t backing_page;
	uint32_t first;
	_Atomic uint32_t pages;      // shrinks and grows beside faults
};
_Static_assert(sizeof(struct vad) == 32, "half a cache line");

// How VADs lie in memory, at the end of the page frame database: a page that was never loaded finds its prototype and
// its VAD in one cache line, an evicted one its twin in the next.
struct vad_place {
	struct frame prototype;      // its number is the place's; link[0] leads to the next free place
	struct vad vad;
	struct frame unused;
	struct vad twin;
} __attribute__((aligned(128)));
_Static_assert(sizeof(struct vad_place) == 128, "two cache lines");
#define PLACE_FRAMES ((uint32_t)(sizeof(struct vad_place) / sizeof(struct frame)))

static inline bool vad_is_twin(const struct vad *v) { return (uintptr_t)v & 64; }
static inline struct vad *vad_twin(struct vad *v) { return (struct vad *)((uintptr_t)v | 64); }
static inline struct vad *vad_home(struct vad *v) { return (struct vad *)((uintptr_t)v & ~(uintptr_t)64); }

// Each processor's share of a VM's counts. One variable holds those of all VMs: a region has few variables.
#define PAGER_VMS_MAX 16383u
struct vm_counts { uint64_t resident, evicted; };
PRDA_TYPE(vm_counts_prda, struct vm_counts);

struct pager {
	struct frame *frame;         // max_frames, and from first_place on the VADs' places
	struct pool frames;
	_Atomic uint32_t next_frame; // never used from here on
	uint32_t max_frames, first_place;
	_Atomic uint16_t now;

	pthread_mutex_t lock;        // what follows; inside a VM's lock
	uint32_t free_place;         // 0: none
	uint32_t next_vad, max_vads, used_vads;
	uint32_t max_vms, used_vms;
	struct pager_vm **vm;        // by id
	unsigned char *vm_line;      // a cache line for each VM, by id; the bigger ones have their own memory
	struct tables *tables;
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
#define VM_LINE 64u
#define VM_LINE_LEAVES 3u
struct pager_vm {
	uint32_t pages;
	uint16_t id;
	struct frame *frame;         // the host's page frame database: pager's, kept here to save a line
	struct pager *pager;
	struct vm_control *control;
	struct vad *discarded;       // where pages that the guest gave back come from: zeros
	pager_entry *leaf[];
};
_Static_assert(sizeof(struct pager_vm) + VM_LINE_LEAVES * sizeof(pager_entry *) == VM_LINE, "one cache line");

static inline uint32_t vad_prototype(const struct pager_vm *vm, const struct vad *v)
{
	return (uint32_t)((const struct frame *)(const void *)v - 1 - vm->frame);
}

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

/* Of the i-th leaf table, in bytes. */
static inline size_t leaf_size(const struct pager_vm *vm, size_t i)
{
	uint64_t rest = vm->pages - ((uint64_t)i << LEAF_BITS);
	return (rest < LEAF_ENTRIES ? rest : LEAF_ENTRIES) * sizeof(pager_entry);
}

// ---- vad.c ----
/* A VAD and its twin with a prototype record; b is counted. -ENOMEM, -ENOSPC. */
int vad_new(struct pager_vm *vm, uint32_t first, uint32_t pages, struct backing *b, uint64_t backing_page, struct vad **v,
	struct err *e);
void vad_free(struct pager *p, struct vad *v);

// ---- table.c: leaf tables. Those of small guests share huge pages. ----
int tables_new(struct tables **t, struct err *e);
void tables_free(struct tables *t);
void *table_new(struct tables *t, size_t size);                // zeroed; size: up to 2 MiB; NULL: no memory. Any thread
void table_free(struct tables *t, void *table, size_t size);   // NULL: nothing
/* All of its entries are PAGER_NONE: give its memory back, if others do not share it. It stays usable, also by walks at this moment, which
 * read PAGER_NONE before and after. */
void table_empty(void *table, size_t size);
uint64_t tables_bytes(struct tables *t);                       // address space that they take

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
