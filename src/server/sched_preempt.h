// SPDX-License-Identifier: Apache-2.0
// Which pods would have to go so that one of higher priority fits? Nothing is deleted here.
#ifndef BH_SERVER_SCHED_PREEMPT_H
#define BH_SERVER_SCHED_PREEMPT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "server/sched_cache.h"

struct sched_victims {
	struct sched_node *node;
	struct sched_pod **pods;      // the cache's; the array is owned
	size_t count;                 // 0: those that are being deleted make room enough
	int violations;               // of disruption budgets
};

/* budgets: array of PodDisruptionBudgets. The node where the least is lost: fewest violations of budgets, then the lowest
 * highest priority, the lowest sum of priorities, the fewest pods, the youngest. 1: *v is set; 0: it would not help anywhere;
 * -ENOMEM. The cache is as before when it returns. */
int sched_preempt(struct sched_cache *c, const json_t *pod, const struct sched_need *need, const json_t *budgets, struct sched_victims *v);
void sched_victims_fini(struct sched_victims *v);

#endif
