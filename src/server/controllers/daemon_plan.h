// SPDX-License-Identifier: Apache-2.0
// Where a DaemonSet makes and deletes pods; without side effects.
#ifndef BH_SERVER_CONTROLLERS_DAEMON_PLAN_H
#define BH_SERVER_CONTROLLERS_DAEMON_PLAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/controllers/syncer.h"

#define DAEMON_DROP_MAX 8    // pods deleted on one node in one step

struct daemon_node {
	const char *name;
	bool start, stay;            // a pod may be started; a running one may stay
	// Its pods.
	int count, deleting;         // count: those not being deleted
	bool ready, available, updated;
	const struct pod_info *oldest, *outdated, *fresh;   // of those that run; fresh: of the latest revision
	// The plan.
	bool create;
	const struct pod_info *drop[DAEMON_DROP_MAX];
	int drop_count;
};

/* Count a pod; of a node that is not known a row is added (there must be room). */
void daemon_add_pod(struct daemon_node *nodes, size_t *n, const struct child *c, const char *hash, long long min_ready, uint64_t now,
		    uint64_t *next);
void daemon_plan(struct daemon_node *nodes, size_t n, bool on_delete, long long unavailable, long long surge);
void daemon_put_count(json_t *status, const char *key, long long n);   // 0: leave it out

#endif
