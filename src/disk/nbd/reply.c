// SPDX-License-Identifier: Apache-2.0
// Replies: made when the disk has answered, sent as many at once as there are.
#include "disk/nbd/conn.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "disk/nbd/proto.h"

#define SEND_IOV 512

uint32_t nbd_errno(int rc)
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

static void chunk_head(struct nbd_req *r, uint16_t type, uint32_t len)
{
	struct nbd_chunk h = { htobe32(NBD_STRUCTURED_MAGIC), htobe16(NBD_REPLY_FLAG_DONE), htobe16(type), r->cookie, htobe32(len) };

	memcpy(r->head, &h, sizeof(h));
	r->head_len = sizeof(h);
}

static void put32(struct nbd_req *r, uint32_t v)
{
	v = htobe32(v);
	memcpy(r->head + r->head_len, &v, 4);
	r->head_len += 4;
}

void nbd_answer(struct nbd_req *r)
{
	struct nbd_conn *c = r->conn;
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

static int gather(const struct nbd_conn *c, struct iovec *v)
{
	size_t skip = c->sent;
	int n = 0;

	for (const struct nbd_req *r = c->out; r && n + 2 <= SEND_IOV; r = r->next) {
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

static void sent(struct nbd_conn *c, size_t n)
{
	struct nbd_req *r;

	c->sent += n;
	while ((r = c->out) && c->sent >= r->head_len + r->body_len) {
		c->sent -= r->head_len + r->body_len;
		c->out = r->next;
		if (!c->out) c->out_tail = &c->out;
		c->nout--;
		nbd_req_put(r);
	}
}

/* True if everything is out. */
bool nbd_send_replies(struct nbd_conn *c)
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
