// SPDX-License-Identifier: Apache-2.0
// What exactly one server of a cluster does: the scheduler and the controllers, each group a thread.
#ifndef BH_SERVER_DUTIES_H
#define BH_SERVER_DUTIES_H

#include "server/leader.h"

struct duties;

struct duties *duties_new(struct server *srv);   // NULL: no memory
void duties_free(struct duties *d);              // stopped before; NULL is fine
extern const struct leader_ops duties_ops;       // user: struct duties

#endif
