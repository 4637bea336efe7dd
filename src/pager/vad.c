// SPDX-License-Identifier: Apache-2.0
// VADs: places in memory that is never unmapped while the pager lives; see struct vad_place.
#include <errno.h>

#include "pager_internal.h"

static struct vad_place *place_take(struct pager *p)
{
	uint32_t n = 0;
	pthread_mutex_lock(&p->lock);
	if (p->free_place) {
		n = p->free_place;
		p->free_place = atomic_load_explicit(&p->frame[n].link[0], memory_order_relaxed);
	} else if (p->next_vad < p->max_vads) {
		n = p->first_place + p->next_vad++ * PLACE_FRAMES;
	}
	p->used_vads += n != 0;
	pthread_mutex_unlock(&p->lock);
	return n ? (struct vad_place *)(void *)(p->frame + n) : NULL;
}

int vad_new(struct pager_vm *vm, uint32_t first, uint32_t pages, struct backing *b, uint64_t backing_page, struct vad **v,
	struct err *e)
{
	struct pager *p = vm->pager;
	struct vad_place *at = pager_fails() ? NULL : place_take(p);
	if (!at)
		return err_set(e, ENOSPC, "the pager has its %u VADs already", p->max_vads);
	at->vad = (struct vad){ .ops = b->ops, .backing = backing_get(b), .backing_page = backing_page, .first = first,
		.pages = pages };
	at->twin = (struct vad){ .ops = p->store ? p->store->ops : NULL, .backing = p->store, .backing_page = backing_page,
		.first = first, .pages = pages };
	at->prototype.vad = &at->vad;
	at->prototype.vm = vm->id;
	at->prototype.flags = FRAME_PROTOTYPE;
	at->prototype.refs = 0;
	*v = &at->vad;
	return 0;
}

void vad_free(struct pager *p, struct vad *v)
{
	struct frame *prototype = (struct frame *)(void *)v - 1;
	backing_put(v->backing);
	pthread_mutex_lock(&p->lock);
	atomic_store_explicit(&prototype->link[0], p->free_place, memory_order_relaxed);
	p->free_place = (uint32_t)(prototype - p->frame);
	p->used_vads--;
	pthread_mutex_unlock(&p->lock);
}

void pager_vad_info(const struct vad *v, struct pager_vad_info *i)
{
	*i = (struct pager_vad_info){ .first = v->first, .pages = v->pages, .backing_page = v->backing_page,
		.backing = v->backing, .compressed = vad_is_twin(v) };
}
