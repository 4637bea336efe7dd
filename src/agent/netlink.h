// SPDX-License-Identifier: Apache-2.0
// The pod's network interfaces, by rtnetlink.
#ifndef BH_AGENT_NETLINK_H
#define BH_AGENT_NETLINK_H

#include "agent.pb-c.h"
#include "base/err.h"

/* Give the interface (found by its MAC address, else by its name, else the only Ethernet one) its MAC address, name
 * and MTU, bring it up, and add addresses and routes. Repeatable. */
int netlink_set_interface(const Bulkhead__Agent__Interface *i, struct err *e);

#endif
