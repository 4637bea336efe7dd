// SPDX-License-Identifier: Apache-2.0
// virtio-net (virtio 1.2, 5.1) on a TAP: checksum and segmentation offloads when the TAP carries the header for them; as many
// pairs of queues as the TAP has queues, of which the driver says how many it uses. One thread, that of the event loop, serves
// all of them.
#ifndef BULKHEAD_NET_H
#define BULKHEAD_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/virtio_dev.h"

struct evloop;
struct net;

#define NET_PAIRS_MAX 7
#define NET_QUEUES_MAX (2 * NET_PAIRS_MAX + 1)   // and the control queue

struct net_attr {
	struct evloop *loop;     // of the device's thread; borrowed
	int tap_fd[NET_PAIRS_MAX];   // borrowed; made non-blocking. More than one: of one TAP, made with IFF_MULTI_QUEUE
	unsigned ntaps;
	uint8_t mac[6];
	bool vnet_hdr;           // the TAP was made with IFF_VNET_HDR
};

struct net_stats { uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes; };   // rx: to the guest

/* Returns 0 and *n, or -errno (the descriptor is no TAP, or no such TAP). */
int net_new(const struct net_attr *a, struct net **n);
void net_free(struct net *n);                                 // its queues are stopped
struct virtio_dev *net_dev(struct net *n);
void net_stats(const struct net *n, struct net_stats *s);     // any thread

#endif
