// SPDX-License-Identifier: Apache-2.0
// What the host is short of, and what is done about it: images that nobody uses are removed, then pods are evicted, those
// of the lowest class of service first. Thresholds may be changed in ROOT/pressure.json while hostd runs:
//   { "imageGCHighPercent": 85, "imageGCLowPercent": 80, "diskAvailablePercent": 10, "memoryAvailableMiB": 100,
//     "pidAvailablePercent": 5, "pidTransitionSeconds": 300 }
#ifndef BH_HOSTD_PRESSURE_H
#define BH_HOSTD_PRESSURE_H

#include <stdbool.h>

#include "base/err.h"
#include "host.h"

struct pressure_state {
	bool memory, disk, pids;
	unsigned pids_hold_s;      // so long after it was last so the node says it
};

void pressure_read(const char *root, struct pressure_state *s);   // now; any thread

struct pressure;
int pressure_start(const struct host *h, struct pressure **p, struct err *e);
void pressure_stop(struct pressure *p);   // NULL allowed

#endif
