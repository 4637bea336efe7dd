// SPDX-License-Identifier: Apache-2.0
// The guests that pagerd serves: descriptors, mappings, counts. Guests live in a table of slots; who works on one holds it
// by guest_get .. guest_put, and detaching waits for all of them.
#ifndef BH_PAGERD_GUEST_H
#define BH_PAGERD_GUEST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "pager/pager.h"
#include "pager/store.h"
#include "proto/pager_msg.h"

#define GUESTS_MAX 4096u
#define GUEST_SHARES 100u      // of a guest that names none

struct mapping {
	uint64_t address;            // in its process
	uint32_t first, pages;       // of the guest
	int uffd;                    // owned
};

struct guest {
	struct pager_vm *vm;
	struct store_key key;
	int memfd;                   // owned
	uint32_t maps;
	bool plain;                  // all its VADs are zeros
	struct mapping map[PAGER_MAPS_MAX];
	uint32_t images;             // VADs that are images shared with other guests
	struct { uint32_t first, pages; } image[PAGER_VADS_MAX];
	uint64_t handle;
	_Atomic uint64_t limit, reserve;     // pages
	_Atomic uint32_t shares;             // never 0
	uint32_t hand;               // where eviction goes on; under evict_lock
	pthread_mutex_t evict_lock;  // one eviction at a time
	_Atomic uint64_t sent_away;  // faults that met a claim; see resolve.c
	_Atomic uint64_t faults, zero, copied, restored, evictions, dropped, failed;
	_Atomic uint64_t latency[32];
};

struct guests {
	struct pager *pager;
	struct backing *store;
	int epoll;                   // readable userfaultfds, with guest_event's number; -1: none yet
	pthread_mutex_t lock;        // attaching and detaching
	uint32_t used;
	struct guest_slot { _Atomic uint64_t word; struct guest *guest; } slot[GUESTS_MAX];
};

/* fds: as received; what is kept is duplicated. Returns 0 or -errno, text in e. */
int guest_attach(struct guests *g, const struct pager_attach *a, const int *fds, size_t nfds, struct err *e);
int guest_detach(struct guests *g, const uint8_t vm[16], struct err *e);
void guests_close(struct guests *g);     // all; nothing in the store is released

/* A handle names a guest and one attachment of it. NULL: it is gone. */
struct guest *guest_get(struct guests *g, uint64_t handle);
void guest_put(struct guests *g, struct guest *guest);
struct guest *guest_find(struct guests *g, const uint8_t vm[16]);      // counted, too; NULL: none
struct guest *guest_at(struct guests *g, uint32_t slot);               // counted; for walking all of them

/* The number in epoll's data: handle and mapping. */
static inline uint64_t guest_event(uint64_t handle, uint32_t map) { return handle << 2 | map; }

/* The part of a range of pages that a mapping shows: its address and length, 0 when none. */
uint64_t mapping_range(const struct mapping *m, uint32_t page, uint32_t pages, uint64_t *address);
/* Pages of shared images that this guest has no copy of. Walks the page table of these images. */
uint64_t guest_shared(const struct guest *guest);
/* Wake whoever waits for these pages, in any mapping. */
void guest_wake(struct guest *guest, uint32_t page, uint32_t pages);

#endif
