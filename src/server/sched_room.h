// SPDX-License-Identifier: Apache-2.0
// Room for a pod that fits nowhere: pods of lower priority are told to end (sched_preempt.h says which).
#ifndef BH_SERVER_SCHED_ROOM_H
#define BH_SERVER_SCHED_ROOM_H

#include <jansson.h>

#include "server/sched_cache.h"
#include "server/sched_fit.h"
#include "server/server.h"

/* The name of the node where there will be room (owned), or NULL. */
char *sched_make_room(struct server *srv, struct sched_cache *cache, const json_t *pod, const struct sched_need *need);

#endif
