// SPDX-License-Identifier: Apache-2.0
// What the tests of pagerd share: processes that stand for guests, a pagerd, and what hostd would say to it. A failing step fails
// the test. The storms are in storm_test.c, single questions in pagerd_test.c.
#ifndef BH_PAGERD_TEST_WORLD_H
#define BH_PAGERD_TEST_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "pager/pager.h"
#include "proto/pager_msg.h"

enum { PAGES = 4096, HALF = PAGES / 2 };
#define BYTES ((uint64_t)PAGES * PAGER_PAGE)

/* What word of a page the template holds. */
static inline uint64_t image_word(uint64_t page, uint64_t word) { return (page * 0x9e3779b97f4a7c15ull) ^ (word << 32) ^ 77; }

// ---- Guests: forked before the test has threads ----

struct process { pid_t pid; int sock, uffd; uint64_t address; };

typedef int guest_fn(int sock, int side, int memfd);   // what a guest does; its exit status
extern volatile uint64_t *guest_memory;                // in the guest's process

guest_fn asked_guest;                                  // reads "r page", answers with word 5 of it; "w page" writes page + 1 there
void guest_go(struct process *p);
int guest_end(struct process *p);                      // its status
uint64_t guest_ask(struct process *p, char what, uint64_t page);

// ---- pagerd, and what hostd would do ----

struct world {
	char dir[64], control[96], store[96], metrics[96];
	pid_t pagerd;
	int sock;
	int memfd, image;
	struct process guest[2];
	uint32_t guests;
	uint8_t id[16];                                // of the VM
	const struct world_sizes *sizes;
};

struct world_sizes { uint32_t store_mib, memory_mib, frames_mib; };   // what pagerd is told; 0: 64, no limit, 64

union any { struct pager_msg head; struct pager_stats stats; struct pager_done done; struct pager_host host; struct pager_error error; };

/* The program is at $PAGERD. The first half of a guest's memory is zeros, the second comes from an image. */
struct world open_world(uint32_t guests, guest_fn *fn, const char *codec);
struct world open_world_of(uint32_t guests, guest_fn *fn, const char *codec, const struct world_sizes *sizes);
/* Another VM of one guest, served by the same pagerd; before any guest is told to go. It has memory of its own. */
struct world join_world(const struct world *w, uint8_t number, guest_fn *fn, int side);
void leave_world(struct world *w);                     // detached, and its memory is gone; its guest has ended
void close_world(struct world *w);
void pagerd_spawn(struct world *w, const char *codec);
void pagerd_start(struct world *w, const char *codec);
void pagerd_end(struct world *w, int sig);
/* Whether tests can run here; if not, says so as TAP does. */
bool pagerd_testable(void);

int call(struct world *w, void *msg, size_t len, const int *fds, size_t nfds, union any *reply);   // 0, or the code of the error answered
struct pager_attach attach_msg(const struct world *w);
int attach_as(struct world *w, struct pager_attach *a);
void attach(struct world *w);
uint64_t range(struct world *w, uint32_t type, uint64_t offset, uint64_t length);                  // pages
uint64_t counted(struct world *w, const char *name);   // what another process reads of pagerd's counters
struct pager_stats stats(struct world *w);
/* A guest goes on as soon as its page is there; pagerd's books are closed a moment later. */
void wait_for(struct world *w, uint64_t resident, uint64_t evicted);
void detached(struct world *w);                        // and nothing of it is left

#endif
