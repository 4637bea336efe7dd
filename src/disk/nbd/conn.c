// SPDX-License-Identifier: Apache-2.0
// Transmission phase of one connection. Many requests are taken with one recv and many replies given with one sendmsg,
// but not so many that client and server only ever wait for one another.
// The data of a write stay where recv put them until the disk has them; only requests longer than a chunk get memory
// of their own. Nothing is allocated once the connection has seen its usual load.
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "disk/nbd/proto.h"
#include "disk/nbd/server.h"

#define CHUNK (512u << 10)
#define CHUNK_LOW (CHUNK / 4)           // less room than this: another chunk
#define INFLIGHT_MAX 256
#define BYTES_MAX (64u << 20)           // of large buffers in flight
#define SMALL (64u << 10)               // buffers up to this are kept
#define SEND_IOV 512
#define EXTENTS_MAX 512                 // of one block status reply
#define REPLY_BATCH 8                   // replies that go out together while more requests are at hand
#define SPIN_NS 30000
#define SPIN_BATCH 2                    // more requests at once: the client is not waiting for each
#define SPIN_MISSES_MAX 8               // then one wait in 256 is preceded by a look

struct chunk { struct chunk *next; unsigned refs; unsigned char data[CHUNK]; };

struct req {
	struct req *next;
	struct conn *conn;
	struct bh_disk_io io;
	struct iovec iov;
	uint64_t cookie;
	uint16_t type, flags;
	uint32_t length;
	uint32_t error;                 // of the protocol
	struct chunk *chunk;            // holds the data of a write
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

struct conn {
	struct nbd_session s;
	struct bh_disk_queue *q;
	struct chunk *cur, *spare;      // spare: list
	size_t at, end;                 // unparsed bytes of cur
	struct req *receiving;          // a large write
	struct req *free;
	struct req *out, **out_tail;    // replies to send
	size_t sent;                    // of the first one
	unsigned inflight;
	uint64_t bytes;
	bool drained;                   // the socket was empty a moment ago
	unsigned nout;                  // replies to send
	unsigned batch;                 // requests taken since the socket was empty
	unsigned spin_misses;           // in a row
	unsigned spin_pause;            // waits to make without looking again first
	bool leaving;                   // DISC or an error: nothing more is read
	int error;
};

static void status_step(struct req *r);
static bool send_replies(struct conn *c);

/* ---- requests ---- */

static struct req *req_get(struct conn *c)
{
	struct req *r = c->free;

	if (r) {
		c->free = r->next;
	} else {
		r = calloc(1, sizeof(*r));
		if (!r) return NULL;
		r->conn = c;
	}
	r->error = 0;
	r->chunk = NULL;
	r->large = NULL;
	r->status = false;
	r->body_len = 0;
	r->head_len = 0;
	c->inflight++;
	return r;
}

static void req_put(struct req *r)
{
	struct conn *c = r->conn;

	if (r->chunk && --r->chunk->refs == 0 && r->chunk != c->cur) {
		r->chunk->next = c->spare;
		c->spare = r->chunk;
	}
	if (r->large) {
		c->bytes -= r->length;
		free(r->large);
	}
	c->inflight--;
	r->next = c->free;
	c->free = r;
}

static unsigned char *req_buf(struct req *r, uint32_t len)
{
	if (len <= SMALL) {
		if (!r->small) r->small = aligned_alloc(4096, SMALL);
		return r->small;
	}
	r->large = aligned_alloc(4096, ((size_t)len + 4095) / 4096 * 4096);
	if (r->large) r->conn->bytes += len;
	return r->large;
}

static uint32_t nbd_error(int rc)
{
	switch (-rc) {
	case 0: return 0;
	case EPERM: case EROFS: return 1;
	case ENOMEM: return 12;
	case EINVAL: return 22;
	case ENOSPC: case EDQUOT: case EFBIG: return 28;
	case EOVERFLOW: return 75;
	case EOPNOTSUPP: return 95;
	case ESHUTDOWN: return 108;
	default: return 5;
	}
}

/* ---- replies ---- */

static void chunk_head(struct req *r, uint16_t type, uint32_t len)
{
	struct nbd_chunk h = { htobe32(NBD_STRUCTURED_MAGIC), htobe16(NBD_REPLY_FLAG_DONE), htobe16(type), r->cookie, htobe32(len) };

	memcpy(r->head, &h, sizeof(h));
	r->head_len = sizeof(h);
}

static void put32(struct req *r, uint32_t v)
{
	v = htobe32(v);
	memcpy(r->head + r->head_len, &v, 4);
	r->head_len += 4;
}

static void answer(struct req *r)
{
	struct conn *c = r->conn;
	bool read = r->type == NBD_CMD_READ, status = r->type == NBD_CMD_BLOCK_STATUS;

	if (r->error) r->body_len = 0;
	if (r->status && !r->error) {
		;   // the body has the heads
	} else if (c->s.structured && r->error && (read || status)) {
		chunk_head(r, NBD_REPLY_ERROR, 6);
		put32(r, r->error);
		memset(r->head + r->head_len, 0, 2);   // no text
		r->head_len += 2;
	} else if (c->s.structured && read) {
		uint64_t off = htobe64(r->io.off);

		chunk_head(r, NBD_REPLY_OFFSET_DATA, 8 + r->length);
		memcpy(r->head + r->head_len, &off, 8);
		r->head_len += 8;
	} else {
		struct nbd_simple h = { htobe32(NBD_SIMPLE_MAGIC), htobe32(r->error), r->cookie };

		memcpy(r->head, &h, sizeof(h));
		r->head_len = sizeof(h);
	}
	if (read && !r->error) {
		r->body = r->iov.iov_base;
		r->body_len = r->length;
	}
	r->next = NULL;
	*c->out_tail = r;
	c->out_tail = &r->next;
	c->nout++;
}

static void disk_done(struct bh_disk_io *io, int result)
{
	struct req *r = io->user;

	r->error = nbd_error(result);
	if (r->status && !r->error) status_step(r);
	else answer(r);
}

/* ---- block status: one chunk per context, made one after the other in r->small ---- */

#define STATUS_HEAD (sizeof(struct nbd_chunk) + 4)

static void status_begin(struct req *r)
{
	r->covered = 0;
	r->nstatus = 0;
	r->body_len += STATUS_HEAD;
}

/* Returns false when the reply is full. */
static bool status_add(struct req *r, uint64_t len, uint32_t flags)
{
	uint32_t pair[2];
	unsigned most = r->flags & NBD_CMD_FLAG_REQ_ONE ? 1 : EXTENTS_MAX;

	if (r->nstatus) {
		memcpy(pair, r->small + r->body_len - 8, 8);
		if (be32toh(pair[1]) == flags) {
			pair[0] = htobe32(be32toh(pair[0]) + (uint32_t)len);
			memcpy(r->small + r->body_len - 8, pair, 8);
			r->covered += len;
			return true;
		}
	}
	if (r->nstatus == most) return false;
	pair[0] = htobe32((uint32_t)len);
	pair[1] = htobe32(flags);
	memcpy(r->small + r->body_len, pair, 8);
	r->body_len += 8;
	r->nstatus++;
	r->covered += len;
	return true;
}

static void status_end(struct req *r)
{
	const struct conn *c = r->conn;
	bool last = r->context + 1 == c->s.ncontexts;
	uint32_t len = 4 + r->nstatus * 8, id = htobe32(c->s.context[r->context].id);
	struct nbd_chunk h = { htobe32(NBD_STRUCTURED_MAGIC), htobe16(last ? NBD_REPLY_FLAG_DONE : 0), htobe16(NBD_REPLY_BLOCK_STATUS),
			       r->cookie, htobe32(len) };
	unsigned char *start = r->small + r->body_len - len + 4 - STATUS_HEAD;

	memcpy(start, &h, sizeof(h));
	memcpy(start + sizeof(h), &id, 4);
	r->context++;
}

/* Ask for what comes next, or answer. */
static void status_step(struct req *r)
{
	struct conn *c = r->conn;
	bool full = false;

	if (r->extent.len) {   // an answer of the disk has come
		uint32_t hole = r->extent.type == BH_DISK_HOLE ? NBD_STATE_HOLE | NBD_STATE_ZERO : 0;

		full = !status_add(r, r->extent.len, c->s.context[r->context].depth ? (uint32_t)r->extent.depth : hole);
		r->extent.len = 0;
	}
	while (r->context < c->s.ncontexts) {
		const char *point = c->s.context[r->context].point + strlen("bulkhead:changed:");
		uint64_t run;
		bool changed;
		int rc;

		if (full || r->covered == r->length) {
			status_end(r);
			full = false;
			if (r->context < c->s.ncontexts) status_begin(r);
			continue;
		}
		r->io.off = r->base + r->covered;
		r->io.len = r->length - r->covered;
		if (c->s.context[r->context].allocation || c->s.context[r->context].depth) {
			bh_disk_submit(c->q, &r->io);
			return;
		}
		rc = c->s.x->changed(c->s.x->disk, point, r->io.off, r->io.len, &run, &changed);
		if (rc < 0) {
			r->error = nbd_error(rc);
			break;
		}
		full = !status_add(r, run, changed);
	}
	r->body = r->small;
	answer(r);
}

/* ---- taking requests ---- */

static void submit(struct req *r)
{
	static const enum bh_disk_op op[] = {
		[NBD_CMD_READ] = BH_DISK_READ, [NBD_CMD_WRITE] = BH_DISK_WRITE, [NBD_CMD_FLUSH] = BH_DISK_FLUSH, [NBD_CMD_TRIM] = BH_DISK_DISCARD,
		[NBD_CMD_CACHE] = BH_DISK_READ, [NBD_CMD_WRITE_ZEROES] = BH_DISK_WRITE_ZEROES, [NBD_CMD_BLOCK_STATUS] = BH_DISK_EXTENTS,
	};

	r->io.op = op[r->type];
	r->io.flags = (r->flags & NBD_CMD_FLAG_FUA ? BH_DISK_FUA : 0) |
		      (r->type == NBD_CMD_WRITE_ZEROES && r->flags & NBD_CMD_FLAG_NO_HOLE ? BH_DISK_NO_UNMAP : 0);
	r->io.len = r->length;
	r->io.iov = &r->iov;
	r->io.iovcnt = 1;
	r->iov.iov_len = r->length;
	r->io.extent = &r->extent;
	r->io.done = disk_done;
	r->io.user = r;
	if (r->status) status_step(r);
	else bh_disk_submit(r->conn->q, &r->io);
}

static void refuse(struct req *r, int rc)
{
	r->error = nbd_error(rc);
	answer(r);
}

static bool carries_data(uint16_t type) { return type == NBD_CMD_READ || type == NBD_CMD_WRITE || type == NBD_CMD_CACHE; }

/* Sets up r from a request head. Returns 0, or -errno for the client (a write's data must still be read). */
static int accept_request(struct req *r, const struct nbd_request *q)
{
	const struct conn *c = r->conn;

	r->cookie = q->cookie;
	r->type = be16toh(q->type);
	r->flags = be16toh(q->flags);
	r->length = be32toh(q->length);
	r->base = r->io.off = be64toh(q->offset);
	if (r->flags & ~(NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_DF | NBD_CMD_FLAG_REQ_ONE)) return -EINVAL;
	if (r->type > NBD_CMD_BLOCK_STATUS || r->type == NBD_CMD_DISC) return -EINVAL;
	if (carries_data(r->type) && r->length > NBD_REQUEST_MAX) return r->type == NBD_CMD_READ ? -EOVERFLOW : -EINVAL;
	if (r->type == NBD_CMD_BLOCK_STATUS) {
		struct bh_disk_info i;

		bh_disk_info(c->s.x->disk, &i);
		if (!c->s.ncontexts || !r->length || r->base > i.size_bytes || r->length > i.size_bytes - r->base) return -EINVAL;
		if (!req_buf(r, SMALL)) return -ENOMEM;
		r->status = true;
		r->context = 0;
		r->extent.len = 0;
		status_begin(r);
	}
	return 0;
}

static bool take_chunk(struct conn *c)   // a chunk with room, unparsed bytes first
{
	struct chunk *k;
	size_t left = c->end - c->at;

	if (c->cur && CHUNK - c->end >= CHUNK_LOW) return true;
	if (c->cur && c->cur->refs == 0) {
		memmove(c->cur->data, c->cur->data + c->at, left);
	} else {
		k = c->spare;
		if (k) c->spare = k->next;
		else k = malloc(sizeof(*k));
		if (!k) return false;
		k->refs = 0;
		if (c->cur) memcpy(k->data, c->cur->data + c->at, left);
		c->cur = k;
	}
	c->at = 0;
	c->end = left;
	return true;
}

static void protocol_error(struct conn *c)
{
	c->leaving = true;
	c->error = -EPROTO;
}

/* A write: its data lie in the chunk, or the rest of them is received into memory of its own. False: more is needed. */
static bool take_write(struct conn *c, struct req *r, int rc)
{
	const unsigned char *data = c->cur->data + c->at + sizeof(struct nbd_request);
	size_t have = c->end - c->at - sizeof(struct nbd_request);

	if (r->length > NBD_REQUEST_MAX) {   // whoever sends so much at once cannot be followed
		req_put(r);
		protocol_error(c);
		return false;
	}
	if (have >= r->length) {
		c->at += sizeof(struct nbd_request) + r->length;
		r->chunk = c->cur;
		c->cur->refs++;
		r->iov.iov_base = (void *)data;
		if (rc < 0) refuse(r, rc);
		else submit(r);
		return true;
	}
	if (r->length <= CHUNK_LOW - sizeof(struct nbd_request)) {   // will fit
		req_put(r);
		return false;
	}
	if (rc < 0 || !req_buf(r, r->length)) {
		req_put(r);
		protocol_error(c);
		return false;
	}
	memcpy(r->large, data, have);
	r->filled = (uint32_t)have;
	r->iov.iov_base = r->large;
	c->receiving = r;
	c->at = c->end = 0;
	if (c->cur->refs) c->at = c->end = CHUNK;   // others still use it: the next take_chunk changes it
	return false;
}

static void take_other(struct conn *c, struct req *r, int rc)
{
	c->at += sizeof(struct nbd_request);
	if (rc == 0 && (r->type == NBD_CMD_READ || r->type == NBD_CMD_CACHE)) {
		r->iov.iov_base = req_buf(r, r->length);
		if (!r->iov.iov_base) rc = -ENOMEM;
	}
	if (rc < 0) refuse(r, rc);
	else submit(r);
}

static void parse(struct conn *c)
{
	while (!c->leaving && !c->receiving && c->end - c->at >= sizeof(struct nbd_request) && c->inflight < INFLIGHT_MAX &&
	       c->bytes < BYTES_MAX) {
		struct nbd_request q;
		struct req *r;
		int rc;

		memcpy(&q, c->cur->data + c->at, sizeof(q));
		if (be32toh(q.magic) != NBD_REQUEST_MAGIC) {
			protocol_error(c);
			return;
		}
		if (be16toh(q.type) == NBD_CMD_DISC) {
			c->leaving = true;
			return;
		}
		r = req_get(c);
		if (!r) {
			protocol_error(c);
			return;
		}
		c->batch++;
		rc = accept_request(r, &q);
		if (r->type != NBD_CMD_WRITE) take_other(c, r, rc);
		else if (!take_write(c, r, rc)) return;
		if (c->nout >= REPLY_BATCH) send_replies(c);   // the client works on these while the next are made
	}
}

/* ---- the socket ---- */

static void received(struct conn *c, ssize_t n)
{
	if (n > 0) return;
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
	c->leaving = true;   // the client has gone
	if (c->receiving) {
		struct req *r = c->receiving;

		c->receiving = NULL;
		req_put(r);
	}
}

static bool receive(struct conn *c)
{
	ssize_t n;

	if (c->leaving || c->inflight >= INFLIGHT_MAX || c->bytes >= BYTES_MAX) return false;
	if (c->receiving) {
		struct req *r = c->receiving;

		n = recv(c->s.fd, r->large + r->filled, r->length - r->filled, MSG_DONTWAIT);
		received(c, n);
		if (n <= 0) return false;
		c->drained = false;
		r->filled += (uint32_t)n;
		if (r->filled == r->length) {
			c->receiving = NULL;
			submit(r);
		}
		return true;
	}
	if (!take_chunk(c)) {
		protocol_error(c);
		return false;
	}
	n = recv(c->s.fd, c->cur->data + c->end, CHUNK - c->end, MSG_DONTWAIT);
	received(c, n);
	if (n <= 0) return false;
	c->drained = (size_t)n < CHUNK - c->end;
	c->end += (size_t)n;
	return true;
}

static int gather(const struct conn *c, struct iovec *v)
{
	size_t skip = c->sent;
	int n = 0;

	for (const struct req *r = c->out; r && n + 2 <= SEND_IOV; r = r->next) {
		const void *part[2] = { r->head, r->body };
		size_t len[2] = { r->head_len, r->body_len };

		for (int i = 0; i < 2; i++) {
			if (skip >= len[i]) {
				skip -= len[i];
				continue;
			}
			v[n].iov_base = (char *)part[i] + skip;
			v[n++].iov_len = len[i] - skip;
			skip = 0;
		}
	}
	return n;
}

static void sent(struct conn *c, size_t n)
{
	struct req *r;

	c->sent += n;
	while ((r = c->out) && c->sent >= r->head_len + r->body_len) {
		c->sent -= r->head_len + r->body_len;
		c->out = r->next;
		if (!c->out) c->out_tail = &c->out;
		c->nout--;
		req_put(r);
	}
}

/* True if everything is out. */
static bool send_replies(struct conn *c)
{
	struct iovec v[SEND_IOV];

	while (c->out) {
		struct msghdr m = { .msg_iov = v, .msg_iovlen = (size_t)gather(c, v) };
		ssize_t n = sendmsg(c->s.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR) continue;
		if (n < 0 && errno == EAGAIN) return false;
		if (n < 0) {   // nobody listens any more
			c->leaving = true;
			while (c->out) {
				c->sent = 0;
				sent(c, c->out->head_len + c->out->body_len);
			}
			return true;
		}
		sent(c, (size_t)n);
	}
	return true;
}

static bool may_receive(const struct conn *c) { return !c->leaving && c->inflight < INFLIGHT_MAX && c->bytes < BYTES_MAX; }

static void wait_for_work(struct conn *c, bool want_send)
{
	bool want_recv = may_receive(c);
	struct pollfd p[2] = {
		{ .fd = c->s.fd, .events = (short)((want_recv ? POLLIN : 0) | (want_send ? POLLOUT : 0)) },
		{ .fd = bh_disk_queue_fd(c->q), .events = POLLIN },
	};

	if (!want_recv && !want_send) p[0].fd = -1;
	poll(p, 2, -1);
	if (p[1].revents) bh_disk_queue_poll(c->q);
}

/* A client that sends one request at a time sends the next as soon as it has the answer: being there already saves both
 * sides' wake-up, which costs more than the request. Not for long, and less and less often where it does not help. */
static bool spin(struct conn *c)
{
	uint64_t end;

	if (c->inflight || c->batch == 0 || c->batch > SPIN_BATCH || !may_receive(c)) return false;
	if (c->spin_pause) {
		c->spin_pause--;
		return false;
	}
	end = clock_mono_ns() + SPIN_NS;
	do {
		if (receive(c)) {
			c->spin_misses = 0;
			return true;
		}
	} while (!c->leaving && clock_mono_ns() < end);
	if (c->spin_misses < SPIN_MISSES_MAX) c->spin_misses++;
	c->spin_pause = (1u << c->spin_misses) - 1;
	return c->leaving;
}

static void run(struct conn *c)
{
	bool some = false;

	for (;;) {
		bool all_out;

		if (!some) some = receive(c);
		if (c->cur) parse(c);
		if (c->inflight || c->batch >= REPLY_BATCH) bh_disk_queue_poll(c->q);
		all_out = send_replies(c);
		if (c->leaving && c->inflight == 0) return;
		if (some && !c->drained) {
			some = false;
			continue;
		}
		some = spin(c);
		c->batch = 0;
		if (!some) wait_for_work(c, !all_out);
	}
}

static void conn_free(struct conn *c)
{
	struct req *r;
	struct chunk *k;

	while ((r = c->free)) {
		c->free = r->next;
		free(r->small);
		free(r);
	}
	while ((k = c->spare)) {
		c->spare = k->next;
		free(k);
	}
	free(c->cur);
	free(c);
}

int nbd_connection(const struct nbd_export *x, int fd, struct err *e)
{
	struct timeval limit = { .tv_sec = 10 };
	struct conn *c = calloc(1, sizeof(*c));
	int rc;

	if (!c) {
		close(fd);
		return err_set(e, ENOMEM, "no memory for a connection");
	}
	c->s = (struct nbd_session){ .x = x, .fd = fd };
	c->out_tail = &c->out;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));   // of the handshake; later nothing blocks
	rc = nbd_handshake(&c->s);
	if (rc < 0 && rc != -ENODATA) err_sys(e, -rc, "handshake failed");
	if (rc == 0) rc = bh_disk_queue_open(x->disk, INFLIGHT_MAX, &c->q, e);
	else if (rc > 0 || rc == -ENODATA) rc = 1;
	if (rc == 0) {
		run(c);
		bh_disk_queue_close(c->q);
		if (c->error) rc = err_set(e, EPROTO, "the client broke the protocol");
	}
	close(fd);
	conn_free(c);
	return rc > 0 ? 0 : rc;
}
