// SPDX-License-Identifier: Apache-2.0
// Does a pod fit a node, and how well? Filters and scores, each a row in a table. Pure functions on the cache.
#ifndef BH_SERVER_SCHED_FIT_H
#define BH_SERVER_SCHED_FIT_H

#include <jansson.h>
#include <stdbool.h>

#include "server/sched_cache.h"

#define SCHED_WHY_MAX 256

/* False: why (SCHED_WHY_MAX bytes) says what is in the way, in upstream's words; several reasons are separated by '\n'. */
bool sched_fits(const json_t *pod, const struct sched_need *need, const struct sched_node *n, char *why);

/* 0..100 per score, summed by weight: more is better. */
double sched_score(const json_t *pod, const struct sched_need *need, const struct sched_node *n);

/* Any term of a node selector ({nodeSelectorTerms}) against a node. */
bool sched_terms_met(const json_t *selector, const struct sched_node *n);

/* One term's or selector's requirements against a node. */
bool sched_node_selected(const json_t *pod, const struct sched_node *n);

/* No taint keeps the pod away. */
bool sched_node_tolerated(const json_t *pod, const struct sched_node *n);

#endif
