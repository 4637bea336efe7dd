// SPDX-License-Identifier: Apache-2.0
// Decisions on numbers of replicas, without side effects.
#ifndef BH_SERVER_CONTROLLERS_REPLICAS_H
#define BH_SERVER_CONTROLLERS_REPLICAS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pod_info;

/* Order pods so that those to be deleted first come first. */
void replicas_choose(const struct pod_info **pods, size_t n);

/* A count or "25%" of total. */
long long replicas_resolve(const json_t *count_or_percent, long long total, bool round_up, long long fallback);

/* maxSurge and maxUnavailable of a rolling update; never both 0. */
struct rolling { long long surge, unavailable; };
struct rolling replicas_rolling(const json_t *strategy, long long replicas);

/* A set of replicas of a Deployment: the new one or one of the old. */
struct replica_set {
	long long spec, available;     // asked for; available now
	long long want;                // out: what to ask for
	uint64_t created_ns;
	long long max_before;          // what the sum of all sets was allowed to be when spec was last set; 0: unknown
};

/* One step of a rolling update. fresh: the new set; old: the others, oldest first. Sets want of all. */
void replicas_roll(long long replicas, struct rolling r, struct replica_set *fresh, struct replica_set *old, size_t n);

/* The Deployment has been scaled amid a rollout, or is paused: share the difference in proportion. sets: all of them. */
void replicas_spread(long long replicas, long long surge, struct replica_set *sets, size_t n);

#endif
