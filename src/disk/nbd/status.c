// SPDX-License-Identifier: Apache-2.0
// Block status: one chunk for each context, made one after the other in r->small.
#include "disk/nbd/conn.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "disk/nbd/proto.h"

#define EXTENTS_MAX 512                 // of one reply
#define STATUS_HEAD (sizeof(struct nbd_chunk) + 4)

void nbd_status_begin(struct nbd_req *r)
{
	r->covered = 0;
	r->nstatus = 0;
	r->body_len += STATUS_HEAD;
}

/* Returns false when the reply is full. */
static bool status_add(struct nbd_req *r, uint64_t len, uint32_t flags)
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

static void status_end(struct nbd_req *r)
{
	const struct nbd_conn *c = r->conn;
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
void nbd_status_step(struct nbd_req *r)
{
	struct nbd_conn *c = r->conn;
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
			if (r->context < c->s.ncontexts) nbd_status_begin(r);
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
			r->error = nbd_errno(rc);
			break;
		}
		full = !status_add(r, run, changed);
	}
	r->body = r->small;
	nbd_answer(r);
}
