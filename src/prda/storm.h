// SPDX-License-Identifier: Apache-2.0
// A storm for tests: threads that use every operation on the same few variables and keep account of what they did, while
// the weather moves them from CPU to CPU, sends them signals whose handler uses the variables as well, and stops them at
// the numbered points inside the operations (prda_hook).
#ifndef BH_PRDA_STORM_H
#define BH_PRDA_STORM_H

#include "bulkhead/prda.h"

enum { STORM_NODES = 256, STORM_TOKENS = 256, STORM_THREADS = 64, STORM_SLOTS = 64 };

struct storm_node {
	struct prda_node node;
	_Atomic uint32_t taken;   // by whom: 1 while outside of the list
};

/* What all threads of all processes did, added up. */
struct storm_sums {
	_Atomic uint64_t adds, compares, sections, marks, records_in, records_out, put, put_sum, got, got_sum, swapped_in, swapped_out;
	_Atomic uint64_t operations, moves, signals, faults;
	_Atomic uint32_t stop;
	_Atomic uint64_t begun[STORM_THREADS], ended[STORM_THREADS];   // adds by thread of one process, for kill tests
	struct storm_node node[STORM_NODES];
	_Atomic uint32_t token[STORM_TOKENS];    // 1 while outside of the cache
};

struct storm {
	struct prda_region *region;
	prda_u64 count, signalled, compare, section, mark, swap;
	prda_list list;
	prda_ring ring;
	prda_buffer buffer;
	prda_cache cache;
	struct storm_sums *sums;   // shared memory
	uint32_t seed;
};

/* Make the variables in r. Returns 0 or -errno. */
int storm_init(struct storm *s, struct prda_region *r);
void storm_fini(struct storm *s);

/* threads workers and one weather thread, until seconds are over or sums->stop is set. Runs in the calling process. */
void storm_run(struct storm *s, int threads, double seconds);

/* Look at every slot while nobody works. killed: threads that may have ended in the middle. Prints what is wrong as TAP
 * comments and returns how many things are. */
int storm_check(struct storm *s, int killed);

#endif
