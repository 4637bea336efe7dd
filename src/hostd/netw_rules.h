// SPDX-License-Identifier: Apache-2.0
// What the pod network needs of the host's firewall and routing: forwarding, one masquerading rule per cluster, and the
// removal of what CNI's portmap leaves behind.
#ifndef BH_HOSTD_NETW_RULES_H
#define BH_HOSTD_NETW_RULES_H

#include "base/err.h"

/* bridge: the cluster's bridge, also the name of its nft table. cluster_cidr: pods of all hosts, who see each other's
 * addresses. Can be repeated. */
int netw_rules_apply(const char *bridge, const char *pod_cidr, const char *cluster_cidr, struct err *e);
int netw_rules_remove(const char *bridge, struct err *e);      // absent is fine

/* Let the kernel route IPv4; says so in the log when it did not before. */
int netw_rules_forwarding(struct err *e);

/* Lines for iptables-restore that take portmap's base chains away, given the output of `iptables -t nat -S`; heap.
 * NULL when they are in use or not there. Pure. */
char *netw_rules_portmap_cleanup(const char *rules);

#endif
