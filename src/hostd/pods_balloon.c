// SPDX-License-Identifier: Apache-2.0
#include "pods_balloon.h"

#include <stdlib.h>

#include "balloon.h"
#include "base/clock.h"
#include "base/log.h"
#include "pod.h"
#include "pods_internal.h"

#define ROUND_NS (2 * NS_PER_S)   // guests that do not answer keep nobody from other means

struct asked { struct vm *vm; struct balloon_guest guest; };

static struct asked *collect(struct pods *ps, size_t *count)
{
	size_t n = 0, room = 1;
	pthread_mutex_lock(&ps->lock);
	for (struct pod *p = ps->head; p; p = p->next)
		room++;
	struct asked *all = calloc(room, sizeof(*all));
	for (struct pod *p = ps->head; p && all; p = p->next) {
		pthread_mutex_lock(&p->lock);
		if (p->vm && p->agent && p->obj && !p->finished && vm_alive(p->vm)) {
			struct vm_paging share = {0};
			uint64_t bytes = (uint64_t)pod_memory_mib(p) << 20;
			pod_weigh(p->obj, bytes, &share);
			all[n++] = (struct asked){vm_get(p->vm), {.memory_bytes = bytes, .reserve_bytes = share.reserve_bytes, .shares = share.shares}};
		}
		pthread_mutex_unlock(&p->lock);
	}
	pthread_mutex_unlock(&ps->lock);
	*count = n;
	return all;
}

/* Whether it does without something. */
static bool ask(struct vm *vm, struct balloon_guest *g, bool pressed)
{
	struct vmx_status st;
	struct err e = ERR_INIT;
	if (vm_status(vm, &st, NULL))
		return false;
	g->memory_bytes = (uint64_t)st.memory_mib << 20;
	g->ballooned_bytes = st.memory_balloon_bytes;      // the guest's word
	if (g->ballooned_bytes > g->memory_bytes / 4 * 3)
		g->ballooned_bytes = g->memory_bytes / 4 * 3;
	g->asked_bytes = vm_balloon_asked(vm);
	uint64_t next = balloon_next(g, pressed);
	if ((next != g->asked_bytes || (!next && g->ballooned_bytes)) && vm_balloon(vm, next, &e))
		log_limited(LOG_LEVEL_WARN, "pressure", "a guest's balloon: %s", e.text);
	return next || g->ballooned_bytes;
}

bool pods_balloon(struct pods *ps, bool pressed)
{
	size_t n;
	bool any = false;
	static size_t first;                       // of the pressure thread only; the next time others come first
	struct asked *all = collect(ps, &n);
	uint64_t end = clock_mono_ns() + ROUND_NS;
	size_t i = 0;
	for (; all && i < n && (!i || clock_mono_ns() < end); i++)
		any |= ask(all[(first + i) % n].vm, &all[(first + i) % n].guest, pressed);
	any |= i < n;
	first += i;
	for (i = 0; all && i < n; i++)
		vm_put(all[i].vm);
	free(all);
	return any;
}
