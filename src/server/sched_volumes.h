// SPDX-License-Identifier: Apache-2.0
// Claims of a pod that is to be scheduled: which nodes their volumes allow, and the word to the provisioner once a node is
// chosen. A pod gets its node only when all its claims are bound.
#ifndef BH_SERVER_SCHED_VOLUMES_H
#define BH_SERVER_SCHED_VOLUMES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "server/sched_cache.h"
#include "server/server.h"

#define SCHED_CLAIMS_MAX 64

struct sched_volumes {
	struct sched_claim { json_t *claim, *volume; bool waits; } claims[SCHED_CLAIMS_MAX];   // volume NULL: not bound yet
	char source_node[SCHED_CLAIMS_MAX][256];    // of unbound copies: where they must be made; ""
	size_t count, unbound;
};

/* False: the pod cannot be placed now whatever the node; why (256 bytes) says it in upstream's words. fini in any case. */
bool sched_volumes_load(struct server *srv, const json_t *pod, struct sched_volumes *v, char why[256]);
void sched_volumes_fini(struct sched_volumes *v);
/* NULL, or why this node is not for the pod. */
const char *sched_volumes_misfit(struct server *srv, const struct sched_volumes *v, const struct sched_node *n);
/* Tell for each claim without a volume that it is wanted on this node. 0 or -errno. */
int sched_volumes_select(struct server *srv, const struct sched_volumes *v, const char *node);

#endif
