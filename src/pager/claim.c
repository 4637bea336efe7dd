// SPDX-License-Identifier: Apache-2.0
// The data path: claims. What happens to one page: see the states in pager.h.
//
//	UNLOADED --claim--> LOADING --loaded--> RESIDENT --evict_claim--> EVICTING --evicted, dropped, zeroed--> UNLOADED
//	    ^-----------------'  failed             ^--------- cancel --------'
#include <errno.h>

#include "pager_internal.h"

static bool swap(pager_entry *where, uint32_t from, uint32_t to)
{
	return atomic_compare_exchange_strong_explicit(where, &from, to, memory_order_acq_rel, memory_order_relaxed);
}

static void set(pager_entry *where, uint32_t to)
{
	atomic_store_explicit(where, to, memory_order_release);
}

struct vad *pager_lookup(const struct pager_vm *vm, uint64_t page)
{
	return walk(vm, page, NULL);
}

struct vad *pager_lookup_traced(const struct pager_vm *vm, uint64_t page, struct pager_trace *t)
{
	*t = (struct pager_trace){0};
	trace_step(t, vm);
	struct vad *v = walk(vm, page, t);
	if (v)
		trace_step(t, v);
	return v;
}

static int not_unloaded(uint32_t entry)
{
	switch (STATE_OF(entry)) {
	case PAGER_RESIDENT: return -EEXIST;
	case PAGER_NONE: return -EFAULT;
	case PAGER_MOVING: return -EAGAIN;
	default: return -EBUSY;
	}
}

/* Claim neighbours that are in the same state: of the same VAD, and never loaded. */
static void claim_around(struct pager_claim *c, uint32_t max)
{
	const struct vad *v = c->vad;
	uint32_t size = v->ops->cluster < max ? v->ops->cluster : max;
	uint32_t busy = ENTRY(PAGER_LOADING, FRAME_OF(c->from)), page = c->page;
	while (size & (size - 1))
		size &= size - 1;
	if (size <= 1)
		return;
	uint32_t low = page & ~(size - 1);
	low = low < v->first ? v->first : low;
	uint64_t high = (uint64_t)(page & ~(size - 1)) + size;
	high = high > (uint64_t)v->first + v->pages ? (uint64_t)v->first + v->pages : high;
	while (c->page > low && swap(walk_entry(c->vm, c->page - 1, NULL), c->from, busy))
		c->page--, c->count++;
	while (c->page + (uint64_t)c->count < high && swap(walk_entry(c->vm, c->page + c->count, NULL), c->from, busy))
		c->count++;
}

/* Give back what does not get a record; the page that faulted is kept if there is a single one. */
static int claim_records(struct pager_claim *c, uint32_t wanted)
{
	uint32_t got = pool_take(&c->vm->pager->frames, c->frame, c->count), page = c->page, count = c->count;
	if (got == count)
		return 0;
	uint32_t keep = wanted - page < got ? page : wanted;   // the first got pages, or just the wanted one
	uint32_t kept = got == 0 ? 0 : keep == page ? got : 1;
	for (uint32_t i = page; i < page + count; i++)
		if (i < keep || i >= keep + kept)
			set(walk_entry(c->vm, i, NULL), c->from);
	if (got > kept)
		pool_give(&c->vm->pager->frames, c->frame + kept, got - kept);
	c->page = keep;
	c->count = kept;
	return kept ? 0 : -ENOMEM;
}

int pager_claim(struct pager_vm *vm, uint64_t page, uint32_t max, struct pager_claim *c)
{
	if (page >= vm->pages)
		return -EFAULT;
	pager_entry *where = walk_entry(vm, page, NULL);
	uint32_t entry = atomic_load_explicit(where, memory_order_acquire);
	do {
		if (STATE_OF(entry) != PAGER_UNLOADED)
			return not_unloaded(entry);
	} while (!atomic_compare_exchange_weak_explicit(where, &entry, ENTRY(PAGER_LOADING, FRAME_OF(entry)),
		memory_order_acq_rel, memory_order_acquire));
	PAGER_POINT(1);
	const struct frame *f = walk_frame(vm, entry, NULL);
	c->vm = vm;
	c->from = entry;
	c->page = (uint32_t)page;
	c->count = 1;
	c->vad = f->vad;
	c->backing = c->vad->backing;
	if (f->flags & FRAME_EVICTED) {
		c->backing_page = f->offset;
		c->frame[0] = FRAME_OF(entry);
		return 0;
	}
	if (max > 1)
		claim_around(c, max < PAGER_CLUSTER_MAX ? max : PAGER_CLUSTER_MAX);
	c->backing_page = c->vad->backing_page - c->vad->first;   // pages given back by the guest: the VAD of zeros, where all are alike
	int rc = claim_records(c, (uint32_t)page);     // without any record, the claim is given back, and with it the VAD
	c->backing_page += c->page;
	return rc;
}

static void loaded_again(struct pager_claim *c)
{
	struct frame *f = c->vm->pager->frame + c->frame[0];
	uint32_t handle = f->offset;
	f->vad = vad_home(c->vad);
	f->flags = 0;
	atomic_store_explicit(&f->age, atomic_load_explicit(&c->vm->pager->now, memory_order_relaxed), memory_order_relaxed);
	set(walk_entry(c->vm, c->page, NULL), ENTRY(PAGER_RESIDENT, (uint32_t)c->frame[0]));
	prda_add(c->vm->control->resident, 1);
	prda_add(c->vm->control->evicted, -1);
	c->backing->ops->release(c->backing, handle);
}

void pager_loaded(struct pager_claim *c, uint32_t n)
{
	struct pager *p = c->vm->pager;
	PAGER_POINT(2);
	bool again = p->frame[FRAME_OF(c->from)].flags & FRAME_EVICTED;
	if (again && n) {
		loaded_again(c);
		return;
	}
	uint16_t now = atomic_load_explicit(&p->now, memory_order_relaxed);
	prda_add(c->vm->control->resident, n);
	for (uint32_t i = 0; i < n; i++) {
		struct frame *f = p->frame + c->frame[i];
		f->vad = c->vad;
		f->offset = 0;
		f->page = c->page + i;
		f->vm = c->vm->id;
		f->flags = 0;
		f->refs = 1;
		atomic_store_explicit(&f->age, now, memory_order_relaxed);
		set(walk_entry(c->vm, c->page + i, NULL), ENTRY(PAGER_RESIDENT, (uint32_t)c->frame[i]));
	}
	for (uint32_t i = n; i < c->count; i++)
		set(walk_entry(c->vm, c->page + i, NULL), c->from);
	if (!again && n < c->count)
		pool_give(&p->frames, c->frame + n, c->count - n);
}

// ---- Eviction ----

int pager_evict_claim(struct pager_vm *vm, uint64_t page, struct pager_claim *c)
{
	if (page >= vm->pages)
		return -ENOENT;
	pager_entry *where = walk_entry(vm, page, NULL);
	uint32_t entry = atomic_load_explicit(where, memory_order_acquire);
	if (STATE_OF(entry) != PAGER_RESIDENT)
		return STATE_OF(entry) <= PAGER_UNLOADED ? -ENOENT : STATE_OF(entry) == PAGER_MOVING ? -EAGAIN : -EBUSY;
	if (!swap(where, entry, ENTRY(PAGER_EVICTING, FRAME_OF(entry))))
		return -EAGAIN;
	PAGER_POINT(3);
	struct vad *v = walk_frame(vm, entry, NULL)->vad;
	c->vm = vm;
	c->from = entry;
	c->page = (uint32_t)page;
	c->count = 1;
	c->vad = v;
	c->backing = v->backing;
	c->backing_page = v->backing_page + c->page - v->first;
	c->frame[0] = FRAME_OF(entry);
	return 0;
}

void pager_evicted(struct pager_claim *c, uint32_t handle)
{
	struct frame *f = c->vm->pager->frame + c->frame[0];
	PAGER_POINT(4);
	f->vad = vad_twin(c->vad);
	f->offset = handle;
	f->flags = FRAME_EVICTED;
	prda_add(c->vm->control->resident, -1);
	prda_add(c->vm->control->evicted, 1);
	set(walk_entry(c->vm, c->page, NULL), ENTRY(PAGER_UNLOADED, (uint32_t)c->frame[0]));
}

/* Not in the guest any more, and to be found through the VAD's prototype. */
static void unload(struct pager_claim *c, const struct vad *v)
{
	prda_add(c->vm->control->resident, -1);
	set(walk_entry(c->vm, c->page, NULL), ENTRY(PAGER_UNLOADED, vad_prototype(c->vm, v)));
	pool_give(&c->vm->pager->frames, c->frame, 1);
}

void pager_dropped(struct pager_claim *c) { unload(c, c->vad); }
void pager_zeroed(struct pager_claim *c) { unload(c, c->vm->discarded); }

void pager_evict_cancel(struct pager_claim *c)
{
	set(walk_entry(c->vm, c->page, NULL), c->from);
}

int pager_discard(struct pager_vm *vm, uint64_t page)
{
	struct pager_claim c;
	int rc = pager_evict_claim(vm, page, &c);
	if (!rc) {
		pager_zeroed(&c);
		return 0;
	}
	if (rc != -ENOENT || page >= vm->pages)
		return rc != -ENOENT ? rc : -EFAULT;
	pager_entry *where = walk_entry(vm, page, NULL);
	uint32_t entry = atomic_load_explicit(where, memory_order_acquire);
	if (STATE_OF(entry) != PAGER_UNLOADED)
		return STATE_OF(entry) == PAGER_NONE ? -EFAULT : -EBUSY;
	if (!swap(where, entry, ENTRY(PAGER_MOVING, FRAME_OF(entry))))
		return -EBUSY;
	struct frame *f = walk_frame(vm, entry, NULL);
	bool evicted = f->flags & FRAME_EVICTED;
	struct backing *b = f->vad->backing;
	uint32_t handle = f->offset;
	set(where, ENTRY(PAGER_UNLOADED, vad_prototype(vm, vm->discarded)));
	if (evicted) {
		uint64_t frame = FRAME_OF(entry);
		pool_give(&vm->pager->frames, &frame, 1);
		prda_add(vm->control->evicted, -1);
		b->ops->release(b, handle);
	}
	return 0;
}

// ---- Adoption, age ----

int pager_adopt_resident(struct pager_vm *vm, uint64_t page)
{
	struct pager_claim c;
	int rc = pager_claim(vm, page, 1, &c);
	if (!rc)
		pager_loaded(&c, 1);
	return rc;
}

int pager_adopt_evicted(struct pager_vm *vm, uint64_t page, uint32_t handle)
{
	struct pager_claim c;
	int rc = pager_claim(vm, page, 1, &c);
	if (rc)
		return rc;
	if (vm->pager->frame[FRAME_OF(c.from)].flags & FRAME_EVICTED) {
		pager_loaded(&c, 0);
		return -EEXIST;
	}
	prda_add(vm->control->resident, 1);   // which pager_evicted takes back
	struct frame *f = vm->pager->frame + c.frame[0];
	f->page = c.page;
	f->vm = vm->id;
	f->refs = 1;
	pager_evicted(&c, handle);
	return 0;
}

enum pager_state pager_state(const struct pager_vm *vm, uint64_t page)
{
	return page >= vm->pages ? PAGER_NONE : STATE_OF(atomic_load_explicit(walk_entry(vm, page, NULL), memory_order_acquire));
}

bool pager_untouched(const struct pager_vm *vm, uint64_t page)
{
	uint32_t entry = page >= vm->pages ? 0 : atomic_load_explicit(walk_entry(vm, page, NULL), memory_order_acquire);
	if (STATE_OF(entry) != PAGER_UNLOADED)
		return false;
	/* By number: the record is not ours to read without a claim. */
	return FRAME_OF(entry) >= vm->pager->first_place && FRAME_OF(entry) != vad_prototype(vm, vm->discarded);
}

int pager_age(const struct pager_vm *vm, uint64_t page, uint16_t now)
{
	uint32_t entry = page >= vm->pages ? 0 : atomic_load_explicit(walk_entry(vm, page, NULL), memory_order_acquire);
	if (STATE_OF(entry) != PAGER_RESIDENT)
		return -1;
	struct frame *f = walk_frame(vm, entry, NULL);
	return (uint16_t)(now - atomic_load_explicit(&f->age, memory_order_relaxed));
}

void pager_mark(struct pager_vm *vm, uint64_t page, uint16_t now)
{
	uint32_t entry = page >= vm->pages ? 0 : atomic_load_explicit(walk_entry(vm, page, NULL), memory_order_acquire);
	if (STATE_OF(entry) == PAGER_RESIDENT)
		atomic_store_explicit(&walk_frame(vm, entry, NULL)->age, now, memory_order_relaxed);
}
