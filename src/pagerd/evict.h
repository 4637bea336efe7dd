// SPDX-License-Identifier: Apache-2.0
// Taking pages from guests: into the compressed store, or away when they can be had again.
#ifndef BH_PAGERD_EVICT_H
#define BH_PAGERD_EVICT_H

#include "guest.h"

/* Evict so many pages of a guest, those first that were loaded longest ago. Returns how many went. */
uint64_t evict_pages(struct guests *g, struct guest *guest, uint64_t pages);
/* The guest does not need what is in this page any more. */
int evict_discard(struct guests *g, struct guest *guest, uint32_t page);

struct reclaim;
/* A thread that keeps each guest below its limit and all together below max_pages (0: no limit). */
int reclaim_start(struct guests *g, uint64_t max_pages, struct reclaim **r, struct err *e);
void reclaim_stop(struct reclaim *r);

#endif
