// SPDX-License-Identifier: Apache-2.0
// Choosing a pod to evict; pods.c holds the list's lock.
#ifndef BH_HOSTD_PODS_EVICT_H
#define BH_HOSTD_PODS_EVICT_H

#include <stdbool.h>
#include <stdint.h>

struct pod;

enum evict_for { EVICT_MEMORY, EVICT_DISK, EVICT_PIDS };   // what the host is short of

/* Of those that count, in this order. */
struct evict_rank {
	bool modest;              // it takes no more of the disk than it asked for
	int class_;               // memory: 0 BestEffort, 1 Burstable, 2 Guaranteed
	long long priority;
	uint64_t takes;           // memory, threads of the host: all; disk: beyond what it asked for
};

bool pods_evict_before(const struct evict_rank *a, const struct evict_rank *b);   // a goes before b
struct pod *pods_evict_choose(struct pod *head, enum evict_for what);             // NULL: none, or one is going already
void pods_evict_mark(struct pod *p, enum evict_for what);

#endif
