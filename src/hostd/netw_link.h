// SPDX-License-Identifier: Apache-2.0
// Links, by rtnetlink and ioctl: the TAP of a pod and its joint to eth0. Everything acts in the calling thread's network
// namespace.
#ifndef BH_HOSTD_NETW_LINK_H
#define BH_HOSTD_NETW_LINK_H

#include <stdbool.h>

#include "base/err.h"
#include "netw.h"

struct netw_nic {
	char mac[18];
	unsigned mtu;
	unsigned queues;  // wanted: 1 or more
	int tap_fd;       // owned by the caller
	int queue_fd[NETW_QUEUES_MAX - 1];   // the TAP's further queues, owned likewise
	unsigned queue_fds;
	bool vnet_hdr;
};

/* Make "tap0", join it to ifname so that every frame that arrives at one leaves by the other, and take ifname's
 * addresses away, so that the namespace itself stays silent. out->queues is read. Can be repeated once an earlier TAP is closed (-EBUSY
 * before). */
int netw_link_join(const char *ifname, struct netw_nic *out, struct err *e);

int netw_link_up(const char *ifname, struct err *e);
int netw_link_delete(const char *ifname, struct err *e);   // absent is fine

#endif
