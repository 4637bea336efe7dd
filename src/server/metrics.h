// SPDX-License-Identifier: Apache-2.0
// What nodes and pods use: asked of the nodes every 15 seconds while somebody wants to know, and not otherwise.
#ifndef BH_SERVER_METRICS_H
#define BH_SERVER_METRICS_H

#include <jansson.h>

#include "base/err.h"
#include "server/server.h"

struct metrics;
struct request;

int metrics_start(struct server *srv, struct metrics **m, struct err *e);
void metrics_stop(struct metrics *m);     // wakes whoever waits; NULL is fine
void metrics_free(struct metrics *m);     // when no request is left; NULL is fine

/* {"nodes": {name: {timestamp, window, usage, annotations}}, "pods": {"ns/name": {timestamp, window, containers, annotations}}} as it is known, new
 * reference; NULL: nothing recent. Asks for more of it. */
json_t *metrics_recent(struct metrics *m);

/* Suspend r until there is something recent, then resume(r) runs. */
void metrics_await(struct metrics *m, struct request *r, void (*resume)(struct request *r));

#endif
