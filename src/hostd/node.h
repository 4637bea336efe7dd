// SPDX-License-Identifier: Apache-2.0
// This host as a Kubernetes Node: registration, status, lease. One thread.
#ifndef BH_HOSTD_NODE_H
#define BH_HOSTD_NODE_H

#include "base/err.h"
#include "host.h"

struct node;

int node_start(const struct host *h, struct node **n, struct err *e);
void node_stop(struct node *n);

#endif
