// SPDX-License-Identifier: Apache-2.0
// Inside of a connection in its transmission phase: conn.c has the socket and the loop, request.c takes requests, reply.c sends
// replies, status.c answers block status.
#ifndef BH_NBD_CONN_H
#define BH_NBD_CONN_H

#include <bulkhead/disk.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/spin.h"
#include "disk/nbd/server.h"

#define NBD_SPACE (512u << 10)
#define NBD_SPACE_LOW (NBD_SPACE / 4)   // less room than this: another one
#define NBD_INFLIGHT_MAX 256
#define NBD_BYTES_MAX (64u << 20)       // of large buffers in flight
#define NBD_SMALL (64u << 10)           // buffers up to this are kept
#define NBD_REPLY_BATCH 8               // replies that go out together while more requests are at hand

struct nbd_space { struct nbd_space *next; unsigned refs; unsigned char data[NBD_SPACE]; };

struct nbd_req {
	struct nbd_req *next;
	struct nbd_conn *conn;
	struct bh_disk_io io;
	struct iovec iov;
	uint64_t cookie;
	uint16_t type, flags;
	uint32_t length;
	uint32_t error;                 // of the protocol
	struct nbd_space *chunk;            // holds the data of a write
	unsigned char *small;           // kept with the request
	unsigned char *large;           // this time only
	uint32_t filled;                // of large, while a write is being received
	struct bh_disk_extent extent;
	bool status;                    // block status: the reply is made in small
	unsigned context;               // index of the one being answered
	unsigned nstatus;               // its extents so far
	uint64_t base, covered;
	unsigned char head[64];
	size_t head_len, body_len;
	const unsigned char *body;
};

struct nbd_conn {
	struct nbd_session s;
	struct bh_disk_queue *q;
	struct nbd_space *cur, *spare;      // spare: list
	size_t at, end;                 // unparsed bytes of cur
	struct nbd_req *receiving;          // a large write
	struct nbd_req *free;
	struct nbd_req *out, **out_tail;    // replies to send
	size_t sent;                    // of the first one
	unsigned inflight;
	uint64_t bytes;
	bool drained;                   // the socket was empty a moment ago
	unsigned nout;                  // replies to send
	unsigned batch;                 // requests taken since the socket was empty
	struct spin spin;
	bool leaving;                   // DISC or an error: nothing more is read
	int error;
};

/* request.c */
struct nbd_req *nbd_req_get(struct nbd_conn *c);                    // NULL: no memory
void nbd_req_put(struct nbd_req *r);
unsigned char *nbd_req_buf(struct nbd_req *r, uint32_t len);        // r->small or r->large. NULL: no memory
bool nbd_take_space(struct nbd_conn *c);                            // c->cur with room, unparsed bytes first. False: no memory
void nbd_parse(struct nbd_conn *c);                                 // hands what has been received to the disk
void nbd_submit(struct nbd_req *r);
void nbd_protocol_error(struct nbd_conn *c);

/* reply.c */
uint32_t nbd_errno(int rc);                                         // -errno as the protocol numbers it
void nbd_answer(struct nbd_req *r);                                 // queues the reply
bool nbd_send_replies(struct nbd_conn *c);                          // true: everything is out

/* status.c */
void nbd_status_begin(struct nbd_req *r);
void nbd_status_step(struct nbd_req *r);                            // asks the disk for what comes next, or answers

#endif
