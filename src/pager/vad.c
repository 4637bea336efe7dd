// SPDX-License-Identifier: Apache-2.0
// VADs: a pool of pairs (the VAD and its compressed twin), whose memory is never unmapped while the pager lives.
#include <errno.h>

#include "pager_internal.h"

static struct vad *pair_take(struct pager *p)
{
	pthread_mutex_lock(&p->lock);
	struct vad *v = p->free_vad;
	if (v)
		p->free_vad = v->next_free;
	else if (p->next_vad < p->max_vads)
		v = p->vad + 2 * (size_t)p->next_vad++;
	p->used_vads += v != NULL;
	pthread_mutex_unlock(&p->lock);
	return v;
}

static void pair_give(struct pager *p, struct vad *v)
{
	pthread_mutex_lock(&p->lock);
	v->next_free = p->free_vad;
	p->free_vad = v;
	p->used_vads--;
	pthread_mutex_unlock(&p->lock);
}

int vad_new(struct pager_vm *vm, uint32_t first, uint32_t pages, struct backing *b, uint64_t backing_page, struct vad **out,
	struct err *e)
{
	struct pager *p = vm->pager;
	uint64_t prototype;
	struct vad *v = pager_fails() ? NULL : pair_take(p);
	if (!v)
		return err_set(e, ENOSPC, "the pager has its %u VADs already", p->max_vads);
	if (!pool_take(&p->frames, &prototype, 1)) {
		pair_give(p, v);
		return err_set(e, ENOMEM, "no page frame record is free for a new VAD");
	}
	*v = (struct vad){ .ops = b->ops, .backing = backing_get(b), .backing_page = backing_page, .first = first,
		.pages = pages, .prototype = (uint32_t)prototype, .vm = vm->id };
	*vad_twin(v) = *v;
	vad_twin(v)->flags = VAD_TWIN;
	vad_twin(v)->backing = p->store;
	vad_twin(v)->ops = p->store ? p->store->ops : NULL;
	struct frame *f = p->frame + prototype;
	f->vad = v;
	f->vm = vm->id;
	f->flags = FRAME_PROTOTYPE;
	f->refs = 0;
	*out = v;
	return 0;
}

void vad_free(struct pager *p, struct vad *v)
{
	uint64_t prototype = v->prototype;
	backing_put(v->backing);
	pool_give(&p->frames, &prototype, 1);
	pair_give(p, v);
}

void pager_vad_info(const struct vad *v, struct pager_vad_info *i)
{
	*i = (struct pager_vad_info){ .first = v->first, .pages = v->pages, .backing_page = v->backing_page,
		.backing = v->backing, .compressed = v->flags & VAD_TWIN };
}
