// SPDX-License-Identifier: Apache-2.0
// This host as a Kubernetes Node: registration, status, lease. One thread.
#ifndef BH_HOSTD_NODE_H
#define BH_HOSTD_NODE_H

#include "base/err.h"
#include "host.h"

struct node;

/* Have the Node object, not Ready yet, before the host has what it needs to run pods. Waits until it has a range of pod
 * addresses, half a minute at most. */
int node_register(const struct host *h, char pod_cidr[64], struct err *e);

int node_start(const struct host *h, struct node **n, struct err *e);
void node_poke(struct node *n);    // something of it has changed: report now
void node_stop(struct node *n);

#endif
