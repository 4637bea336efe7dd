// SPDX-License-Identifier: Apache-2.0
// virtio-vsock (virtio 1.2, 5.10): stream connections between host processes and the guest.
// The host's side is a listening Unix socket: a client connects and writes "CONNECT <port>\n"; when the guest accepts on
// that port the client reads "OK <local port>\n", and from then on raw bytes flow both ways. When the guest refuses,
// the client's socket is closed. Connections that the guest begins are refused: the host offers no services.
#ifndef BULKHEAD_VSOCK_H
#define BULKHEAD_VSOCK_H

#include "virtio/virtio_dev.h"

struct evloop;
struct vsock;

#define VSOCK_CONNS_MAX 1024             // more clients wait in the listening socket's queue
#define VSOCK_BUF_BYTES (256u << 10)     // of a connection: sent by the guest, not read by the client yet

struct vsock_attr {
	struct evloop *loop;     // of the device's thread; borrowed
	int listen_fd;           // listening SOCK_STREAM socket; borrowed
	uint32_t guest_cid;      // 3 and up
	unsigned nqueues;        // 2: receive and transmit; 3: the event queue, too (for a restored guest)
};

struct vsock_stats {
	uint64_t rx_bytes;        // payload from the guest
	uint64_t tx_bytes;        // payload to the guest
	uint64_t first_rx_ns;     // CLOCK_MONOTONIC of the guest's first packet; 0: none yet
	uint64_t conns;           // open now
};

/* Returns 0 and *v, or -errno. */
int vsock_new(const struct vsock_attr *a, struct vsock **v);
void vsock_free(struct vsock *v);                                  // its queues are stopped
struct virtio_dev *vsock_dev(struct vsock *v);
void vsock_stats(const struct vsock *v, struct vsock_stats *s);    // any thread

#endif
