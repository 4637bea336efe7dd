// SPDX-License-Identifier: Apache-2.0
// Inside of the PRDA library: how a region lies in memory and in its file.
//
//	addresses                                      file
//	base                  struct prda_shared       0
//	+ PRDA_ENTRIES        struct prda_entry[]      PRDA_ENTRIES
//	alias - 64 KiB        struct prda_local_       (private to the process)
//	alias = base + 1 MiB  alias range, PROT_NONE   (not in the file)
//	alias + stride        area of slot 0           1 MiB
//	alias + 2 stride      area of slot 1           1 MiB + stride ...
//
// Slots: cpus restart areas, cpus locked areas, one more for signal handlers that interrupt a locked operation.
// A private region has the same layout in anonymous memory.
//
// Invariants: an entry in state PRDA_LIVE describes bytes of the areas that nobody else has; there is no other record of
// what is free, so that a process killed in an allocation leaves nothing to repair. A lock word is 0, or (seat << 32 |
// thread id); a seat is a byte of the file that its process holds a lock on as long as it lives.
#ifndef BH_PRDA_REGION_H
#define BH_PRDA_REGION_H

#include <pthread.h>
#include <stdatomic.h>

#include "bulkhead/prda.h"

#define PRDA_MAGIC 0x31414452502d4842ull   // "BH-PRDA1"
#define PRDA_VERSION 2
#define PRDA_CPUS_MAX 8192
#define PRDA_DIRECTORY ((size_t)1 << 20)   // bytes in front of the alias range
#define PRDA_ENTRIES 4096                  // offset of the entries
#define PRDA_ENTRIES_MAX ((PRDA_DIRECTORY - PRDA_ENTRIES - PRDA_LOCAL_GAP_) / sizeof(struct prda_entry))
#define PRDA_AREA_HEAD 128                 // bytes at the start of each area: struct prda_area
#define PRDA_SEATS 1024
#define PRDA_SEAT_BASE ((off_t)1 << 40)    // file offset of the byte of seat 0; seat 0: the allocation lock
#define PRDA_SEAT_NONE 0xffffffffu         // owner that is never declared dead

struct prda_shared {
	uint64_t magic;
	uint32_t version, entry_bytes;
	uint64_t stride;
	uint32_t cpus, slots;
	uint32_t form, pid;
	uint64_t alias;                        // address of the alias range in every process, and PRDA_TAG_
	uint64_t start_ns;                     // CLOCK_REALTIME at creation
	_Atomic uint32_t entries;              // entries ever used, live or not
	_Atomic uint32_t locked_used;          // 1 once a locked slot was needed
	char name[32];
};

enum prda_entry_state { PRDA_FREE, PRDA_LIVE };

struct prda_entry {
	_Atomic uint32_t state;                // enum prda_entry_state; stored last
	_Atomic uint32_t generation;           // odd while the entry is being changed
	uint32_t kind, offset, size, reserved; // offset from the start of an area
	char name[PRDA_NAME_MAX], labels[PRDA_LABELS_MAX], help[PRDA_HELP_MAX + 8];
};
_Static_assert(sizeof(struct prda_entry) == 512, "part of the file format");

/* Start of each area. Its counters are changed by the operations themselves. */
struct prda_area {
	_Atomic uint64_t lock;                 // locked slots
	uint64_t restarts, locked, takeovers, delayed, yields;
};
_Static_assert(sizeof(struct prda_area) <= PRDA_AREA_HEAD, "fits");

struct prda_region {
	struct prda_shared *shared;
	uintptr_t alias;                       // address of the alias range
	uintptr_t tag;                         // PRDA_TAG_ or 0, part of all its aliases
	size_t bytes;                          // of the whole reservation, from shared
	uint32_t cpus, slots;                  // own copies: the shared ones can be written by others
	enum prda_form form;
	int fd;                                // -1: private
	uint32_t seat;
	char *path;                            // to remove, or NULL
	pthread_mutex_t alloc_lock;            // within this process; across processes: seat 0's byte
	struct prda_region *next;              // list of all regions of the process, for fork
};

/* Where a slot's area is in the file; of slot slots: the file's size. */
static inline size_t prda_file_at(uint32_t slot)
{
	return PRDA_DIRECTORY + (size_t)slot * PRDA_STRIDE;
}

static inline struct prda_area *prda_area(const struct prda_region *r, uint32_t slot)
{
	return prda_at_(r->alias, slot);
}

static inline struct prda_entry *prda_entry(const struct prda_region *r, uint32_t i)
{
	return (struct prda_entry *)((char *)r->shared + PRDA_ENTRIES) + i;
}

static inline struct prda_region *prda_region_of(uintptr_t a)
{
	return prda_local_(a)->region;
}

/* seat.c: who is alive. take: reopen the region's file and lock a byte of it. Sets r->fd and r->seat. */
int prda_seat_take(struct prda_region *r, int fd, struct err *e);
bool prda_seat_empty(const struct prda_region *r, uint32_t seat);
int prda_alloc_lock(struct prda_region *r, struct err *e);
void prda_alloc_unlock(struct prda_region *r);

/* Count in the head of this CPU's area, without counting its own restarts. member: of struct prda_area. */
#define prda_count(r, member) prda_count_at((r)->alias + offsetof(struct prda_area, member))
void prda_count_at(uintptr_t a);

#endif
