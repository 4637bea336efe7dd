// SPDX-License-Identifier: Apache-2.0
// virtio-net (virtio 1.2, 5.1) on a TAP: one pair of queues, checksum and segmentation offloads when the TAP carries the
// header for them.
#ifndef BULKHEAD_NET_H
#define BULKHEAD_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/virtio_dev.h"

struct evloop;
struct net;

struct net_attr {
	struct evloop *loop;     // of the device's thread; borrowed
	int tap_fd;              // borrowed; made non-blocking
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
