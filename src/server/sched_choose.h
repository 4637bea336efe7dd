// SPDX-License-Identifier: Apache-2.0
// The node for a pod: all nodes are asked whether it fits, those where it does are scored.
#ifndef BH_SERVER_SCHED_CHOOSE_H
#define BH_SERVER_SCHED_CHOOSE_H

#include <jansson.h>

#include "base/buf.h"
#include "server/sched_cache.h"
#include "server/sched_fit.h"
#include "server/sched_volumes.h"
#include "server/server.h"

/* The best node, or NULL and in summary why each one is not ("0/3 nodes are available: 1 Insufficient cpu, ..."). */
struct sched_node *sched_choose(struct server *srv, const struct sched_cache *cache, const json_t *pod, const struct sched_need *need,
				const struct sched_volumes *volumes, struct buf *summary);

#endif
