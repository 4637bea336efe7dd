// SPDX-License-Identifier: Apache-2.0
// What pods that have a node already mean for one that needs a node: affinity, anti-affinity (theirs as well) and spread
// over domains of nodes. Counted once for a pod, then asked for each node.
#ifndef BH_SERVER_SCHED_TOGETHER_H
#define BH_SERVER_SCHED_TOGETHER_H

#include <jansson.h>
#include <stdbool.h>

#include "server/sched_cache.h"

struct sched_together;

/* Valid while the cache does not change; pod is borrowed. NULL in *t: nothing to heed. 0 or -ENOMEM. */
int sched_together_new(const struct sched_cache *c, const json_t *pod, struct sched_together **t);
void sched_together_free(struct sched_together *t);   // NULL is fine

/* False: why is given a reason, in upstream's words. t NULL: true. */
bool sched_together_fits(const struct sched_together *t, const struct sched_node *n, char *why);

/* 0..100, more is better, among the nodes that fit. t NULL: 0. */
double sched_together_score(const struct sched_together *t, const struct sched_node *n);

#endif
