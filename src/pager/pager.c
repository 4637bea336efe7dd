// SPDX-License-Identifier: Apache-2.0
// The host's pager and the VMs in it: making and freeing.
#include "pager.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pager_internal.h"

#define GROW 1024u   // frame records taken from the untouched part of the database at once

static uint32_t frames_grow(void *user, uint32_t *first)
{
	struct pager *p = user;
	uint32_t at = atomic_load(&p->next_frame), n;
	do {
		if (at >= p->max_frames)
			return 0;
		n = p->max_frames - at < GROW ? p->max_frames - at : GROW;
	} while (!atomic_compare_exchange_weak(&p->next_frame, &at, at + n));
	*first = at;
	return n;
}

static size_t database_size(const struct pager *p)
{
	return p->first_place * sizeof(struct frame) + p->max_vads * sizeof(struct vad_place);
}

static size_t lines_size(const struct pager *p) { return ((size_t)p->max_vms + 1) * VM_LINE; }

void pager_free(struct pager *p)
{
	if (!p)
		return;
	pager_release(p->frame, database_size(p));
	pager_release(p->vm_line, lines_size(p));
	tables_free(p->tables);
	pool_fini(&p->frames);
	prda_free(p->counts);
	backing_put(p->store);
	pthread_mutex_destroy(&p->lock);
	free(p->vm);
	free(p);
}

static int parts_new(struct pager *p, struct err *e)
{
	p->vm = pager_alloc(((size_t)p->max_vms + 1) * sizeof(struct pager_vm *));
	p->vm_line = pager_reserve(lines_size(p), false);
	p->frame = pager_reserve(database_size(p), true);
	if (!p->vm || !p->vm_line || !p->frame)
		return err_set(e, ENOMEM, "no address space for %u page frame records and %u VADs", p->max_frames, p->max_vads);
	int rc = tables_new(&p->tables, e);
	if (!rc && pager_fails())
		rc = err_set(e, ENOMEM, "no memory for counters");
	if (!rc)
		rc = prda_alloc_(p->region, ((size_t)p->max_vms + 1) * sizeof(struct vm_counts), _Alignof(struct vm_counts),
		&(const struct prda_about){ 0 }, (void **)&p->counts.alias_, e);
	return rc ? rc : pool_init(&p->frames, p->region, e);
}

int pager_new(const struct pager_options *o, struct pager **out, struct err *e)
{
	if (o->frames < 2 || !o->vads || o->frames + (uint64_t)o->vads * PLACE_FRAMES > FRAME_MASK - PLACE_FRAMES || !o->vms
			|| o->vms > PAGER_VMS_MAX)
		return err_set(e, EINVAL, "a pager has at least 2 frames and one VAD, frames and four times its VADs are less than 2^29-5,"
			" and 1 to %u VMs", PAGER_VMS_MAX);
	struct pager *p = pager_alloc(sizeof(*p));
	if (!p)
		return err_set(e, ENOMEM, "no memory for the pager");
	p->max_frames = o->frames;
	p->first_place = (o->frames + PLACE_FRAMES - 1) / PLACE_FRAMES * PLACE_FRAMES;
	p->max_vads = o->vads;
	p->max_vms = o->vms;
	p->next_frame = 1;
	p->region = o->region ? o->region : prda_process_region();
	pthread_mutex_init(&p->lock, NULL);
	int rc = parts_new(p, e);
	if (rc) {
		pager_free(p);
		return rc;
	}
	p->frames.base = (unsigned char *)p->frame;
	p->frames.stride = sizeof(struct frame);
	p->frames.link_at = offsetof(struct frame, link);
	p->frames.step = 1;
	p->frames.grow = frames_grow;
	p->frames.user = p;
	p->store = o->store ? backing_get(o->store) : NULL;
	*out = p;
	return 0;
}

void pager_set_time(struct pager *p, uint16_t now)
{
	atomic_store_explicit(&p->now, now, memory_order_relaxed);
}

void pager_usage(struct pager *p, struct pager_usage *u)
{
	pthread_mutex_lock(&p->lock);
	*u = (struct pager_usage){ .frames_used = pool_used(&p->frames), .frames = p->max_frames - 1, .vads = p->used_vads,
		.vms = p->used_vms };
	pthread_mutex_unlock(&p->lock);
	u->table_bytes = tables_bytes(p->tables);
}

// ---- VMs ----

static size_t leaves(const struct pager_vm *vm)
{
	return ((uint64_t)vm->pages + LEAF_ENTRIES - 1) >> LEAF_BITS;
}

/* A VM's own line, or more where its directory needs it, with an id. NULL: there are as many as may be, or no memory. */
static struct pager_vm *line_new(struct pager *p, uint32_t pages, bool *full)
{
	size_t n = ((size_t)pages + LEAF_ENTRIES - 1) >> LEAF_BITS;
	struct pager_vm *vm = n > VM_LINE_LEAVES ? pager_alloc(sizeof(*vm) + n * sizeof(vm->leaf[0])) : NULL;
	uint16_t id = 0;
	*full = false;
	if (n > VM_LINE_LEAVES && !vm)
		return NULL;
	pthread_mutex_lock(&p->lock);
	if (p->used_vms < p->max_vms) {
		for (id = 1; p->vm[id]; id++)
			;
		vm = vm ? vm : memset(p->vm_line + (size_t)id * VM_LINE, 0, VM_LINE);
		*vm = (struct pager_vm){ .pages = pages, .id = id, .frame = p->frame, .pager = p };
		p->vm[id] = vm;
		p->used_vms++;
	}
	pthread_mutex_unlock(&p->lock);
	*full = !id;
	if (!id)
		free(vm);
	return id ? vm : NULL;
}

static void line_free(struct pager *p, struct pager_vm *vm)
{
	size_t n = leaves(vm);
	pthread_mutex_lock(&p->lock);
	p->vm[vm->id] = NULL;
	p->used_vms--;
	pthread_mutex_unlock(&p->lock);
	if (n > VM_LINE_LEAVES)
		free(vm);
}

void pager_vm_free(struct pager_vm *vm)
{
	if (!vm)
		return;
	struct pager *p = vm->pager;
	struct vm_control *c = vm->control;
	if (c && c->vads)
		pager_unmap(vm, 0, vm->pages, NULL);
	if (vm->discarded)
		vad_free(p, vm->discarded);
	for (size_t i = 0; i < leaves(vm); i++)
		table_free(p->tables, vm->leaf[i], leaf_size(vm, i));
	if (c) {
		pthread_mutex_destroy(&c->lock);
		free(c->vad);
		free(c);
	}
	line_free(p, vm);
}

void pager_vm_leave(struct pager_vm *vm)
{
	vm->control->leave = true;
	pager_vm_free(vm);
}

static int vm_parts(struct pager_vm *vm, struct err *e)
{
	struct vm_control *c = vm->control = pager_alloc(sizeof(*c));
	if (!c)
		return err_set(e, ENOMEM, "no memory for a VM's control data");
	pthread_mutex_init(&c->lock, NULL);
	/* The sums are 0: whoever had this id before gave back all pages. */
	vm_counts_prda counts = prda_from_number(vm_counts_prda, prda_number(vm->pager->counts)
		+ vm->id * sizeof(struct vm_counts));
	c->resident = prda_member(prda_u64, counts, resident);
	c->evicted = prda_member(prda_u64, counts, evicted);
	int rc = 0;
	for (size_t i = 0; !rc && i < leaves(vm); i++) {
		vm->leaf[i] = table_new(vm->pager->tables, leaf_size(vm, i));
		if (!vm->leaf[i])
			rc = err_set(e, ENOMEM, "no memory for the page table of a VM of %u pages", vm->pages);
	}
	return rc ? rc : vad_new(vm, 0, 0, backing_zero(), 0, &vm->discarded, e);
}

int pager_vm_new(struct pager *p, uint64_t pages, void *owner, struct pager_vm **out, struct err *e)
{
	if (!pages || pages > UINT32_MAX)
		return err_set(e, EINVAL, "a VM has 1 to 2^32-1 pages of memory, not %lu", (unsigned long)pages);
	bool full;
	struct pager_vm *vm = line_new(p, (uint32_t)pages, &full);
	if (!vm)
		return full ? err_set(e, ENOSPC, "the pager has its %u VMs already", p->max_vms) : err_set(e, ENOMEM, "no memory for a VM");
	int rc = vm_parts(vm, e);
	if (rc) {
		pager_vm_free(vm);
		return rc;
	}
	vm->control->owner = owner;
	*out = vm;
	return 0;
}

uint64_t pager_vm_pages(const struct pager_vm *vm) { return vm->pages; }
void *pager_vm_owner(const struct pager_vm *vm) { return vm->control->owner; }

void pager_vm_usage(const struct pager_vm *vm, struct pager_vm_usage *u)
{
	u->resident = prda_sum(vm->control->resident);
	u->evicted = prda_sum(vm->control->evicted);
}
