// SPDX-License-Identifier: Apache-2.0
// Taking pages from guests: into the compressed store, or away when they can be had again.
#ifndef BH_PAGERD_EVICT_H
#define BH_PAGERD_EVICT_H

#include "guest.h"

/* Evict so many pages of a guest, those first that were loaded longest ago. Returns how many went. */
uint64_t evict_pages(struct guests *g, struct guest *guest, uint64_t pages);
/* The same of the guest that is furthest above what it has reserved; never what it has reserved. */
uint64_t evict_fattest(struct guests *g, uint64_t pages);
/* The guest does not need what is in this page any more. */
int evict_discard(struct guests *g, struct guest *guest, uint32_t page);

/* Pages that the guest, or its engine, has punched out of the memfd by itself (balloon, free page reporting) are counted as
 * gone; they read zeros when touched next. Returns how many there were. */
uint64_t evict_reconcile(struct guest *guest);

struct pressure;
struct reclaim;
/* A thread that keeps each guest below its limit and all together below what p says, notices what guests gave back, and lets go of
 * guests whose processes are gone. p: borrowed. */
int reclaim_start(struct guests *g, struct pressure *p, struct reclaim **r, struct err *e);
void reclaim_stop(struct reclaim *r);

#endif
