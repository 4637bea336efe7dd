// SPDX-License-Identifier: Apache-2.0
// Which of several servers runs the scheduler and the controllers: the holder of the Lease
// kube-system/bulkhead-controllers. Times are compared on one's own clock only.
#ifndef BH_SERVER_LEADER_H
#define BH_SERVER_LEADER_H

#include "base/err.h"
#include "server/server.h"

struct leader;

struct leader_ops {
	int (*start)(void *user, struct err *e);   // we lead now; on failure the Lease is left to another
	void (*stop)(void *user);                  // no longer; returns when nothing runs any more
};

/* A store of our own needs no Lease: start is called before leader_start returns, and its failure is returned. */
int leader_start(struct server *srv, const struct leader_ops *ops, void *user, struct leader **l, struct err *e);
void leader_stop(struct leader *l);   // stops what runs, gives the Lease back; NULL is fine

#endif
