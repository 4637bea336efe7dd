// SPDX-License-Identifier: Apache-2.0
// What vsock.c (queues and packets) and vsock_conn.c (connections) share.
#ifndef BULKHEAD_VSOCK_INTERNAL_H
#define BULKHEAD_VSOCK_INTERNAL_H

#include <linux/virtio_vsock.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/vsock.h"

struct evloop;
struct evwatch;

#define VSOCK_HOST_CID 2

enum conn_state {
	CONN_FREE,
	CONN_HELLO,       // the client has not said where to yet
	CONN_CONNECTING,  // the guest has not answered the request yet
	CONN_OPEN,
	CONN_CLOSING,     // the client is gone; the guest has to confirm
	CONN_DRAINING,    // the guest is gone; the client has bytes to read
};

// Packets that a connection owes the guest, one bit each, sent in this order.
#define OWE_REQUEST  (1u << 0)
#define OWE_CREDIT   (1u << 1)
#define OWE_ASK      (1u << 2)   // credit request
#define OWE_SHUTDOWN (1u << 3)
#define OWE_RST      (1u << 4)   // and the connection ends

struct conn {
	struct vsock *v;
	enum conn_state state;
	uint32_t use;                     // counts the uses of this slot; part of the local port
	uint32_t local_port, guest_port;
	int fd;                           // of the client; owned; -1: closed
	struct evwatch *watch;
	bool readable;                    // fd may have bytes (edge-triggered: until EAGAIN)
	bool hup;                         // client closed both directions
	unsigned owe;
	uint32_t shut_host, shut_guest;   // VIRTIO_VSOCK_SHUTDOWN_* that each side has declared
	uint32_t guest_alloc, guest_fwd;  // guest's credit
	uint32_t tx;                      // bytes sent to the guest
	bool asked;                       // a credit request is out
	uint32_t rx, fwd, fwd_told;       // bytes from the guest: received, passed to the client, told the guest
	uint8_t *buf;                     // ring of VSOCK_BUF_BYTES; NULL while empty
	uint32_t buf_start, buf_len;
	bool ready;                       // in the ready list
	struct conn *ready_next;
	uint64_t deadline_ns;             // CONN_CLOSING
};

// After a restore the guest's connections are those of another process. It is told so by an event; until it has seen that,
// nothing goes to it, because it would take a new connection for one of the old.
enum vsock_reset { RESET_NONE, RESET_OWED, RESET_TOLD };

#define RST_MAX 256

struct vsock_rst { uint32_t src_port, dst_port; uint16_t type; };

struct vsock {
	struct virtio_dev dev;            // first
	struct virtqueue vq[3];
	struct vsock_attr a;
	struct evwatch *listen_watch;     // NULL while all slots are taken
	struct evwatch *closing_timer;    // armed while connections are closing
	enum vsock_reset reset;
	struct evwatch *reset_timer;      // armed while RESET_TOLD: the guest has that long
	struct conn *ready_first, *ready_last;   // have something for the guest
	struct vsock_rst rst[RST_MAX];    // resets owed for packets without a connection, a ring
	unsigned rst_first, rst_count;
	unsigned live;                    // slots in use
	unsigned next_slot;
	uint64_t rx_bytes, tx_bytes, first_rx_ns, conns;   // relaxed atomics
	struct virtq_chain chain;         // scratch
	struct conn conn[VSOCK_CONNS_MAX];
};

void stat_add(uint64_t *counter, uint64_t n);

// vsock_conn.c
void conn_accept(struct evloop *l, struct evwatch *w, uint32_t events, void *v);
struct conn *conn_find(struct vsock *v, uint32_t local_port, uint32_t guest_port);
void conn_packet(struct conn *c, const struct virtio_vsock_hdr *h, struct iovec *payload, int n);
bool conn_wants_tx(const struct conn *c);              // has something for the guest
/* Fill in op, flags, len and up to room bytes of payload. False: nothing to send after all. c may end. */
bool conn_fill(struct conn *c, struct virtio_vsock_hdr *h, struct iovec *payload, int n, size_t room);
void conn_free(struct conn *c);
void conn_sweep(struct vsock *v);                      // resets closings that took too long

// vsock.c
void vsock_ready(struct conn *c);                      // put c into the ready list if it wants that
void vsock_unready(struct conn *c);
void vsock_send(struct vsock *v);                      // give the guest what is ready

#endif
