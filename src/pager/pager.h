// SPDX-License-Identifier: Apache-2.0
// The pager: from a guest page to where its data is, in a fixed number of steps. A library without I/O policy; pagerd is
// the program around it.
//
//	VM's page table (height two)   page frame database (one per host)      VAD
//	directory -> leaf entry ---->  record: VAD pointer, offset, owner ---> ops, backing, where in the backing
//	             4 bytes           32 bytes                                32 bytes
//
// Each arrow is one load: at most three cache lines from a guest page to its VAD, beside the VM's own, whatever the
// number of VADs and VMs and the size of the guest. Nothing is searched:
//  - a page that was never loaded has its VAD's PROTOTYPE record in its entry, which lies beside the VAD: two lines;
//  - an evicted page keeps its record; its VAD pointer leads to the VAD's compressed TWIN, its offset is the store's handle;
//  - a resident page has a record of its own.
// Splitting, merging and remapping VADs rewrite entries and records, never how a fault goes.
//
// CLAIMS. Who wants to load, evict or move a page claims it first: compare-and-swap of the entry from UNLOADED or
// RESIDENT to a busy state. Only the holder of a claim changes the entry, or the record of a resident or evicted page,
// and others wait or go away.
// LIFETIME of VADs: a VAD is freed when no entry leads to it any more, and an entry that is claimed is not rewritten until
// the claim is given back. So a claim keeps its VAD alive; no count and no lock is taken on the fault path.
//
// Locks: one mutex for each VM (map, unmap, split, merge, remap; never taken by faults) and one for the pool of VADs,
// inside it. Frame records come from per-processor stacks (bulkhead/prda.h), refilled 32 at a time from a lock-free pool.
//
// Cost: 4 bytes for each guest page, 32 for each resident or evicted one, 128 for each VAD (two faces, prototype).
#ifndef BH_PAGER_H
#define BH_PAGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct prda_region;
struct pager;      // one per host
struct pager_vm;   // one guest's memory
struct vad;        // a range of guest pages and where their data comes from

#define PAGER_PAGE 4096u
#define PAGER_CLUSTER_MAX 64u   // pages that one claim may hold

// ---- Backings -----------------------------------------------------------------------------------------------------

struct backing;

/* One kind of backing. Called with a claim held on the pages concerned, from any thread, several at once. */
struct vad_ops {
	const char *name;
	/* load may wait for a device or a peer: not for the thread that reads faults. */
	bool may_block;
	/* Pages, a power of two, that may be loaded at once around the one that faulted: 1 to PAGER_CLUSTER_MAX. */
	uint32_t cluster;
	/* Find the data of n pages at page (in the backing; compressed: the handle, n is 1). buf: n pages, for use or not.
	 * *data: the data, in buf or in the backing's own memory (which may be a file that shrinks: give it to the kernel,
	 * which says EFAULT; do not read it), or NULL: zeros. Returns 0; -EIO, -EBADMSG the data is not to be had, or is
	 * not what was stored; -errno. */
	int (*load)(struct backing *b, uint64_t page, uint32_t n, void *buf, const void **data);
	/* Are these the bytes that load would give? Lets eviction drop a page that was never written. NULL: no. */
	bool (*same)(struct backing *b, uint64_t page, const void *data);
	/* Compressed store only: the handle's page is in memory again, or gone. */
	void (*release)(struct backing *b, uint32_t handle);
	/* The last user let go. */
	void (*free)(struct backing *b);
};

/* First member of each kind's own struct. */
struct backing {
	const struct vad_ops *ops;
	_Atomic uint32_t users;
};
struct backing *backing_get(struct backing *b);
void backing_put(struct backing *b);             // NULL: nothing

/* All zeros. Static; get and put as you like. */
struct backing *backing_zero(void);
/* A memory image mapped here, shared by all that use it. fd: a readable file or memfd; duplicated. -EINVAL: empty, not
 * whole pages, not a file. single: one page at a time is loaded, not a cluster. */
int backing_template_new(int fd, bool single, struct backing **b, struct err *e);
uint64_t backing_template_pages(const struct backing *b);
/* A file read page by page; may_block. The same checks. */
int backing_file_new(int fd, struct backing **b, struct err *e);
uint64_t backing_file_pages(const struct backing *b);
/* Pages of another host, over a connected stream socket (duplicated): sends {u64 page, u32 n, u32 0}, receives {i32 status,
 * u32 n, u64 page} and, for status 0, n pages; host byte order of x86. One request at a time; a broken or silent (5 s)
 * connection is closed and all loads fail with -EIO. */
int backing_remote_new(int fd, uint64_t pages, struct backing **b, struct err *e);
uint64_t backing_remote_pages(const struct backing *b);

// ---- The pager ----------------------------------------------------------------------------------------------------

struct pager_options {
	uint32_t frames;             // records: resident + evicted pages of all VMs; with four per VAD below 2^29
	uint32_t vads;
	uint32_t vms;                // at most 16383
	struct backing *store;       // where evicted pages go; counted; NULL: pager_evicted cannot be called
	struct prda_region *region;  // for per-processor data; borrowed, outlives the pager; NULL: the process's
};

/* Address space for all of it is taken at once, memory as it is used. Returns 0 and *p; -EINVAL, -ENOMEM. */
int pager_new(const struct pager_options *o, struct pager **p, struct err *e);
/* All VMs must be gone. */
void pager_free(struct pager *p);

/* A guest of so many pages, none of them mapped. owner: the caller's. Returns 0; -EINVAL, -ENOMEM, -ENOSPC (VMs). */
int pager_vm_new(struct pager *p, uint64_t pages, void *owner, struct pager_vm **vm, struct err *e);
/* No claim may be held and none be tried. Releases what the store holds. NULL: nothing. */
void pager_vm_free(struct pager_vm *vm);
/* The same, but what the store holds stays there, for the pager of the next process. */
void pager_vm_leave(struct pager_vm *vm);
uint64_t pager_vm_pages(const struct pager_vm *vm);
void *pager_vm_owner(const struct pager_vm *vm);

// ---- VADs: control path. May block; safe from any thread, also beside faults and evictions. ----------------------

/* Let pages first .. first+pages come from the backing, from its page backing_page on. Nothing may be mapped there.
 * Returns 0; -EINVAL past the guest's end; -EEXIST; -ENOMEM, -ENOSPC. */
int pager_map(struct pager_vm *vm, uint64_t first, uint64_t pages, struct backing *b, uint64_t backing_page, struct err *e);
/* Forget a range, wherever VADs begin and end in it. The kernel's copies of resident pages are the caller's to drop. */
int pager_unmap(struct pager_vm *vm, uint64_t first, uint64_t pages, struct err *e);
/* Change where the pages that are not loaded yet come from; resident and evicted ones keep their data. All of the range
 * must be mapped (-ENOENT). */
int pager_remap(struct pager_vm *vm, uint64_t first, uint64_t pages, struct backing *b, uint64_t backing_page, struct err *e);
/* Make a VAD begin at page. Nothing to do if one does already. -ENOENT: not mapped. */
int pager_split(struct pager_vm *vm, uint64_t page, struct err *e);
/* Join the VADs that meet at page. -EINVAL: their pages do not follow each other in the same backing. */
int pager_merge(struct pager_vm *vm, uint64_t page, struct err *e);
uint32_t pager_vads(struct pager_vm *vm);        // how many the VM has

// ---- The data path: no allocation but of frame records, no lock ---------------------------------------------------

struct pager_claim {
	struct pager_vm *vm;
	struct vad *vad;             // where the data is: the VAD, or its compressed twin; evicting: the VAD it came from
	struct backing *backing;     // of vad
	uint64_t backing_page;       // of the first page, or the store's handle
	uint32_t page, count;        // guest pages claimed
	uint32_t from;               // internal: the entry as it was
	uint32_t origin;             // internal
	uint64_t frame[PAGER_CLUSTER_MAX];
};

/* Claim a page that faulted, and up to max pages in all around it if its VAD allows that.
 * Returns 0: load c->count pages and call pager_loaded;
 * -EEXIST resident: wake the guest;  -EBUSY another is loading or evicting it and will wake the guest;
 * -EAGAIN a VAD is being changed: try again at once;
 * -EFAULT nothing is mapped there, or past the end;  -ENOMEM no frame record is free (evict, then try again). */
int pager_claim(struct pager_vm *vm, uint64_t page, uint32_t max, struct pager_claim *c);
/* The first n pages are in the guest's memory, the others are not (n 0: it failed); all claims given back. Before the
 * guest is woken, or after: either is right, see pagerd. */
void pager_loaded(struct pager_claim *c, uint32_t n);

/* Claim a resident page to evict it. Returns 0; -ENOENT not resident; -EBUSY another has it; -EAGAIN it changes just now. */
int pager_evict_claim(struct pager_vm *vm, uint64_t page, struct pager_claim *c);
void pager_evicted(struct pager_claim *c, uint32_t handle);    // its data is in the store, no longer in the guest
void pager_dropped(struct pager_claim *c);                     // no longer in the guest; load it again as the first time
void pager_evict_cancel(struct pager_claim *c);                // still in the guest
/* The guest gave the page back, or holds nothing but zeros there: it reads zeros from now on. After pager_evict_claim. */
void pager_zeroed(struct pager_claim *c);

/* The guest gave back a page in any state (balloon). Returns 0: zeros when touched next; -EBUSY, -EAGAIN
 * try again; -EFAULT. */
int pager_discard(struct pager_vm *vm, uint64_t page);

/* For adoption: a page that is in the guest's memory already, or in the store. Page must be unloaded. 0, -errno. */
int pager_adopt_resident(struct pager_vm *vm, uint64_t page);
int pager_adopt_evicted(struct pager_vm *vm, uint64_t page, uint32_t handle);

enum pager_state { PAGER_NONE, PAGER_UNLOADED, PAGER_RESIDENT, PAGER_LOADING, PAGER_EVICTING, PAGER_MOVING };
enum pager_state pager_state(const struct pager_vm *vm, uint64_t page);
/* Not loaded since it was mapped: only its VAD has it. A hint. */
bool pager_untouched(const struct pager_vm *vm, uint64_t page);
/* Seconds, or any unit of the caller's, since a resident page was loaded or last marked (modulo 65536); -1 not resident.
 * For eviction policy; a hint. */
int pager_age(const struct pager_vm *vm, uint64_t page, uint16_t now);
void pager_mark(struct pager_vm *vm, uint64_t page, uint16_t now);
void pager_set_time(struct pager *p, uint16_t now);   // what newly loaded pages are marked with

// ---- Looking, and proof of constant time --------------------------------------------------------------------------

struct pager_trace {
	uint32_t steps;                  // dependent loads
	uint32_t lines;                  // of these in cache lines not touched before, the VM's own included
	uintptr_t line[8];
};
/* The VAD that page's data comes from, or NULL. The same inline function as pager_claim walks with. Without a claim the
 * answer may be old when it arrives: for tests and figures. */
struct vad *pager_lookup(const struct pager_vm *vm, uint64_t page);
struct vad *pager_lookup_traced(const struct pager_vm *vm, uint64_t page, struct pager_trace *t);

struct pager_vad_info { uint64_t first, pages, backing_page; struct backing *backing; bool compressed; };
void pager_vad_info(const struct vad *v, struct pager_vad_info *i);

struct pager_usage {
	uint64_t frames_used;            // records, prototypes included
	uint64_t frames;                 // all there are
	uint64_t vads, vms;
	uint64_t table_bytes;            // page tables of all VMs; 0 when there is none
};
void pager_usage(struct pager *p, struct pager_usage *u);

struct pager_vm_usage { uint64_t resident, evicted; };
void pager_vm_usage(const struct pager_vm *vm, struct pager_vm_usage *u);   // counted per processor; summed here

#ifdef PAGER_TEST_HOOKS
extern _Atomic long pager_fail_at;       // fail the n-th allocation from now (1: the next); 0 or less: none
extern void (*pager_point)(int where);   // called at numbered places between claiming and using
#endif

#endif
