// SPDX-License-Identifier: Apache-2.0
// The control path: which VADs a VM has. A VM's VADs are an array sorted by first page, which only this file searches.
// Entries and records are rewritten to lead to other VADs; each change claims its page first, so that faults and
// evictions going on beside it see the old VAD or the new one, and no VAD is freed while a claim leads to it.
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "pager_internal.h"

/* Index of the first VAD that ends behind page. */
static uint32_t vad_at(const struct vm_control *c, uint64_t page)
{
	uint32_t low = 0, high = c->vads;
	while (low < high) {
		uint32_t mid = (low + high) / 2;
		if ((uint64_t)c->vad[mid]->first + c->vad[mid]->pages <= page)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool inside(const struct vad *v, uint64_t page) { return v->first <= page && page < (uint64_t)v->first + v->pages; }

/* Room for so many more VADs, so that what follows cannot fail. */
static int reserve(struct vm_control *c, uint32_t more, struct err *e)
{
	if (c->vads + more <= c->room)
		return 0;
	uint32_t room = (c->vads + more) * 2;
	struct vad **v = pager_fails() ? NULL : reallocarray(c->vad, room, sizeof(struct vad *));
	if (!v)
		return err_set(e, ENOMEM, "no memory for a VM's list of %u VADs", room);
	c->vad = v;
	c->room = room;
	return 0;
}

static void insert(struct vm_control *c, uint32_t at, struct vad *v)
{
	memmove(c->vad + at + 1, c->vad + at, (c->vads - at) * sizeof(struct vad *));
	c->vad[at] = v;
	c->vads++;
}

static void cut(struct vm_control *c, uint32_t at)
{
	c->vads--;
	memmove(c->vad + at, c->vad + at + 1, (c->vads - at) * sizeof(struct vad *));
}

/* Take a page that is neither being loaded nor evicted; waits until it is not. Returns the entry as it was; an entry
 * without a VAD is not taken. */
static uint32_t take_page(struct pager_vm *vm, uint64_t page)
{
	pager_entry *where = walk_entry(vm, page, NULL);
	for (;;) {
		uint32_t entry = atomic_load_explicit(where, memory_order_acquire);
		if (STATE_OF(entry) == PAGER_NONE)
			return entry;
		if (STATE_OF(entry) > PAGER_RESIDENT)
			sched_yield();
		else if (atomic_compare_exchange_weak_explicit(where, &entry, ENTRY(PAGER_MOVING, FRAME_OF(entry)),
				memory_order_acq_rel, memory_order_relaxed))
			return entry;
	}
}

static void put_page(struct pager_vm *vm, uint64_t page, uint32_t entry)
{
	atomic_store_explicit(walk_entry(vm, page, NULL), entry, memory_order_release);
}

/* Let the pages of a range that lead to old (or its twin) lead to new. */
static void retarget(struct pager_vm *vm, uint64_t first, uint64_t pages, struct vad *old, struct vad *new)
{
	for (uint64_t page = first; page < first + pages; page++) {
		uint32_t entry = take_page(vm, page);
		struct frame *f = walk_frame(vm, entry, NULL);
		if (STATE_OF(entry) == PAGER_NONE)
			continue;
		if (f->flags & FRAME_PROTOTYPE)
			entry = f->vad == old ? ENTRY(PAGER_UNLOADED, vad_prototype(vm, new)) : entry;
		else if (vad_home(f->vad) == old)
			f->vad = f->vad == old ? new : vad_twin(new);
		put_page(vm, page, entry);
	}
}

/* Take a range away from whatever VADs its pages lead to. */
static void clear(struct pager_vm *vm, uint64_t first, uint64_t pages)
{
	struct pager *p = vm->pager;
	for (uint64_t page = first; page < first + pages; page++) {
		uint32_t entry = take_page(vm, page);
		struct frame *f = walk_frame(vm, entry, NULL);
		if (STATE_OF(entry) == PAGER_NONE)
			continue;
		uint64_t frame = FRAME_OF(entry);
		bool own = !(f->flags & FRAME_PROTOTYPE), evicted = f->flags & FRAME_EVICTED;
		put_page(vm, page, ENTRY(PAGER_NONE, 0));
		if (!own)
			continue;
		prda_add(evicted ? vm->control->evicted : vm->control->resident, -1);
		if (evicted && !vm->control->leave)
			f->vad->ops->release(f->vad->backing, f->offset);
		pool_give(&p->frames, &frame, 1);
	}
}

static int check_range(const struct pager_vm *vm, uint64_t first, uint64_t pages, struct err *e)
{
	if (!pages || first >= vm->pages || pages > vm->pages - first)
		return err_set(e, EINVAL, "pages %lu and the %lu after it are not all within the VM's %u", (unsigned long)first,
			(unsigned long)pages, vm->pages);
	return 0;
}

// ---- Under the VM's lock ----

static int split_locked(struct pager_vm *vm, uint64_t page, struct err *e)
{
	struct vm_control *c = vm->control;
	uint32_t at = vad_at(c, page);
	if (at == c->vads || !inside(c->vad[at], page))
		return err_set(e, ENOENT, "page %lu is not mapped", (unsigned long)page);
	struct vad *low = c->vad[at], *high = NULL;
	if (low->first == page)
		return 0;
	uint32_t head = (uint32_t)page - low->first, tail = low->pages - head;
	int rc = reserve(c, 1, e);
	if (!rc)
		rc = vad_new(vm, (uint32_t)page, tail, low->backing, low->backing_page + head, &high, e);
	if (rc)
		return rc;
	retarget(vm, page, tail, low, high);
	insert(c, at + 1, high);
	atomic_store_explicit(&low->pages, head, memory_order_relaxed);
	vad_twin(low)->pages = head;
	return 0;
}

static int merge_locked(struct pager_vm *vm, uint64_t page, struct err *e)
{
	struct vm_control *c = vm->control;
	uint32_t at = vad_at(c, page);
	struct vad *low = at && at < c->vads ? c->vad[at - 1] : NULL, *high = low ? c->vad[at] : NULL;
	if (!low || high->first != page || (uint64_t)low->first + low->pages != page || low->backing != high->backing
			|| low->backing_page + low->pages != high->backing_page)
		return err_set(e, EINVAL, "no two VADs meet at page %lu whose pages follow each other in one backing",
			(unsigned long)page);
	retarget(vm, page, high->pages, high, low);
	atomic_store_explicit(&low->pages, low->pages + high->pages, memory_order_relaxed);
	vad_twin(low)->pages = low->pages;
	cut(c, at);
	vad_free(vm->pager, high);
	return 0;
}

/* Make VADs begin and end where a range does, as far as it is mapped there. */
static int isolate(struct pager_vm *vm, uint64_t first, uint64_t pages, struct err *e)
{
	const uint64_t edge[] = { first, first + pages };
	for (int i = 0; i < 2; i++) {
		struct vm_control *c = vm->control;
		uint32_t at = vad_at(c, edge[i]);
		int rc = at < c->vads && inside(c->vad[at], edge[i]) ? split_locked(vm, edge[i], e) : 0;
		if (rc)
			return rc;
	}
	return 0;
}

static int map_locked(struct pager_vm *vm, uint64_t first, uint64_t pages, struct backing *b, uint64_t backing_page,
	struct err *e)
{
	struct vm_control *c = vm->control;
	uint32_t at = vad_at(c, first);
	struct vad *v = NULL;
	if (at < c->vads && c->vad[at]->first < first + pages)
		return err_set(e, EEXIST, "pages %lu and the %lu after it are mapped already, in part or all",
			(unsigned long)first, (unsigned long)pages);
	int rc = reserve(c, 1, e);
	if (!rc)
		rc = vad_new(vm, (uint32_t)first, (uint32_t)pages, b, backing_page, &v, e);
	if (rc)
		return rc;
	insert(c, at, v);
	for (uint64_t page = first; page < first + pages; page++)
		put_page(vm, page, ENTRY(PAGER_UNLOADED, vad_prototype(vm, v)));
	return 0;
}

/* Of the leaf tables that a range that is gone lies in, those that nothing is mapped in any more. */
static void give_back_tables(struct pager_vm *vm, uint64_t first, uint64_t pages)
{
	struct vm_control *c = vm->control;
	for (uint64_t i = first >> LEAF_BITS; i <= (first + pages - 1) >> LEAF_BITS; i++) {
		uint32_t at = vad_at(c, i << LEAF_BITS);
		if (at == c->vads || c->vad[at]->first >= (i + 1) << LEAF_BITS)
			table_empty(vm->leaf[i], leaf_size(vm, i));
	}
}

static int unmap_locked(struct pager_vm *vm, uint64_t first, uint64_t pages, struct err *e)
{
	struct vm_control *c = vm->control;
	int rc = isolate(vm, first, pages, e);
	if (rc)
		return rc;
	uint32_t from = vad_at(c, first), to = from;
	clear(vm, first, pages);
	while (to < c->vads && c->vad[to]->first < first + pages)
		vad_free(vm->pager, c->vad[to++]);
	if (to < c->vads)
		memmove(c->vad + from, c->vad + to, (c->vads - to) * sizeof(struct vad *));
	c->vads -= to - from;
	give_back_tables(vm, first, pages);
	return 0;
}

static int remap_locked(struct pager_vm *vm, uint64_t first, uint64_t pages, struct backing *b, uint64_t backing_page,
	struct err *e)
{
	struct vm_control *c = vm->control;
	uint64_t next = first;
	for (uint32_t i = vad_at(c, first); i < c->vads && c->vad[i]->first <= next && next < first + pages; i++)
		next = (uint64_t)c->vad[i]->first + c->vad[i]->pages;
	if (next < first + pages)
		return err_set(e, ENOENT, "page %lu is not mapped", (unsigned long)next);
	struct vad *v = NULL;
	int rc = isolate(vm, first, pages, e);
	if (!rc)
		rc = vad_new(vm, (uint32_t)first, (uint32_t)pages, b, backing_page, &v, e);
	if (rc)
		return rc;
	uint32_t at = vad_at(c, first);
	while (at < c->vads && c->vad[at]->first < first + pages) {
		struct vad *old = c->vad[at];
		retarget(vm, old->first, old->pages, old, v);
		cut(c, at);
		vad_free(vm->pager, old);
	}
	insert(c, at, v);   // there is room: at least one was cut
	return 0;
}

// ---- Public ----

#define LOCKED(vm, call) ({ \
		pthread_mutex_lock(&(vm)->control->lock); \
		int rc_ = (call); \
		pthread_mutex_unlock(&(vm)->control->lock); \
		rc_; })

int pager_map(struct pager_vm *vm, uint64_t first, uint64_t pages, struct backing *b, uint64_t backing_page, struct err *e)
{
	int rc = check_range(vm, first, pages, e);
	return rc ? rc : LOCKED(vm, map_locked(vm, first, pages, b, backing_page, e));
}

int pager_unmap(struct pager_vm *vm, uint64_t first, uint64_t pages, struct err *e)
{
	int rc = check_range(vm, first, pages, e);
	return rc ? rc : LOCKED(vm, unmap_locked(vm, first, pages, e));
}

int pager_remap(struct pager_vm *vm, uint64_t first, uint64_t pages, struct backing *b, uint64_t backing_page, struct err *e)
{
	int rc = check_range(vm, first, pages, e);
	return rc ? rc : LOCKED(vm, remap_locked(vm, first, pages, b, backing_page, e));
}

int pager_split(struct pager_vm *vm, uint64_t page, struct err *e)
{
	int rc = check_range(vm, page, 1, e);
	return rc ? rc : LOCKED(vm, split_locked(vm, page, e));
}

int pager_merge(struct pager_vm *vm, uint64_t page, struct err *e)
{
	int rc = check_range(vm, page, 1, e);
	return rc ? rc : LOCKED(vm, merge_locked(vm, page, e));
}

uint32_t pager_vads(struct pager_vm *vm)
{
	pthread_mutex_lock(&vm->control->lock);
	uint32_t n = vm->control->vads;
	pthread_mutex_unlock(&vm->control->lock);
	return n;
}
