// SPDX-License-Identifier: Apache-2.0
// Taking requests. The data of a write stay where recv put them until the disk has them; only requests longer than the space
// they arrive in get memory of their own. Nothing is allocated once the connection has seen its usual load.
#include "disk/nbd/conn.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk/nbd/proto.h"

/* ---- requests ---- */

struct nbd_req *nbd_req_get(struct nbd_conn *c)
{
	struct nbd_req *r = c->free;

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

void nbd_req_put(struct nbd_req *r)
{
	struct nbd_conn *c = r->conn;

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

unsigned char *nbd_req_buf(struct nbd_req *r, uint32_t len)
{
	if (len <= NBD_SMALL) {
		if (!r->small) r->small = aligned_alloc(4096, NBD_SMALL);
		return r->small;
	}
	r->large = aligned_alloc(4096, ((size_t)len + 4095) / 4096 * 4096);
	if (r->large) r->conn->bytes += len;
	return r->large;
}

static void disk_done(struct bh_disk_io *io, int result)
{
	struct nbd_req *r = io->user;

	r->error = nbd_errno(result);
	if (r->status && !r->error) nbd_status_step(r);
	else nbd_answer(r);
}

/* ---- taking requests ---- */

void nbd_submit(struct nbd_req *r)
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
	if (r->status) nbd_status_step(r);
	else bh_disk_submit(r->conn->q, &r->io);
}

static void refuse(struct nbd_req *r, int rc)
{
	r->error = nbd_errno(rc);
	nbd_answer(r);
}

static bool carries_data(uint16_t type) { return type == NBD_CMD_READ || type == NBD_CMD_WRITE || type == NBD_CMD_CACHE; }

/* Sets up r from a request head. Returns 0, or -errno for the client (a write's data must still be read). */
static int accept_request(struct nbd_req *r, const struct nbd_request *q)
{
	const struct nbd_conn *c = r->conn;

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
		if (!nbd_req_buf(r, NBD_SMALL)) return -ENOMEM;
		r->status = true;
		r->context = 0;
		r->extent.len = 0;
		nbd_status_begin(r);
	}
	return 0;
}

bool nbd_take_space(struct nbd_conn *c)   // a chunk with room, unparsed bytes first
{
	struct nbd_space *k;
	size_t left = c->end - c->at;

	if (c->cur && NBD_SPACE - c->end >= NBD_SPACE_LOW) return true;
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

void nbd_protocol_error(struct nbd_conn *c)
{
	c->leaving = true;
	c->error = -EPROTO;
}

/* A write: its data lie in the chunk, or the rest of them is received into memory of its own. False: more is needed. */
static bool take_write(struct nbd_conn *c, struct nbd_req *r, int rc)
{
	const unsigned char *data = c->cur->data + c->at + sizeof(struct nbd_request);
	size_t have = c->end - c->at - sizeof(struct nbd_request);

	if (r->length > NBD_REQUEST_MAX) {   // whoever sends so much at once cannot be followed
		nbd_req_put(r);
		nbd_protocol_error(c);
		return false;
	}
	if (have >= r->length) {
		c->at += sizeof(struct nbd_request) + r->length;
		r->chunk = c->cur;
		c->cur->refs++;
		r->iov.iov_base = (void *)data;
		if (rc < 0) refuse(r, rc);
		else nbd_submit(r);
		return true;
	}
	if (r->length <= NBD_SPACE_LOW - sizeof(struct nbd_request)) {   // will fit
		nbd_req_put(r);
		return false;
	}
	if (rc < 0 || !nbd_req_buf(r, r->length)) {
		nbd_req_put(r);
		nbd_protocol_error(c);
		return false;
	}
	memcpy(r->large, data, have);
	r->filled = (uint32_t)have;
	r->iov.iov_base = r->large;
	c->receiving = r;
	c->at = c->end = 0;
	if (c->cur->refs) c->at = c->end = NBD_SPACE;   // others still use it: the next take_chunk changes it
	return false;
}

static void take_other(struct nbd_conn *c, struct nbd_req *r, int rc)
{
	c->at += sizeof(struct nbd_request);
	if (rc == 0 && (r->type == NBD_CMD_READ || r->type == NBD_CMD_CACHE)) {
		r->iov.iov_base = nbd_req_buf(r, r->length);
		if (!r->iov.iov_base) rc = -ENOMEM;
	}
	if (rc < 0) refuse(r, rc);
	else nbd_submit(r);
}

void nbd_parse(struct nbd_conn *c)
{
	while (!c->leaving && !c->receiving && c->end - c->at >= sizeof(struct nbd_request) && c->inflight < NBD_INFLIGHT_MAX &&
	       c->bytes < NBD_BYTES_MAX) {
		struct nbd_request q;
		struct nbd_req *r;
		int rc;

		memcpy(&q, c->cur->data + c->at, sizeof(q));
		if (be32toh(q.magic) != NBD_REQUEST_MAGIC) {
			nbd_protocol_error(c);
			return;
		}
		if (be16toh(q.type) == NBD_CMD_DISC) {
			c->leaving = true;
			return;
		}
		r = nbd_req_get(c);
		if (!r) {
			nbd_protocol_error(c);
			return;
		}
		c->batch++;
		rc = accept_request(r, &q);
		if (r->type != NBD_CMD_WRITE) take_other(c, r, rc);
		else if (!take_write(c, r, rc)) return;
		if (c->nout >= NBD_REPLY_BATCH) nbd_send_replies(c);   // the client works on these while the next are made
	}
}
