// SPDX-License-Identifier: Apache-2.0
// Fixed newstyle negotiation. A small blocking conversation; the caller has set a receive timeout.
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "disk/nbd/proto.h"
#include "disk/nbd/server.h"

#define CONTEXT_ALLOCATION "base:allocation"
#define CONTEXT_DEPTH "bulkhead:depth"
#define CONTEXT_CHANGED "bulkhead:changed:"

struct option { uint32_t code; uint32_t len; unsigned char *data; };

/* A cursor over an option's bytes. */
struct cur { const unsigned char *p; size_t left; };

static int take32(struct cur *c, uint32_t *v)
{
	if (c->left < 4) return -EINVAL;
	memcpy(v, c->p, 4);
	*v = be32toh(*v);
	c->p += 4;
	c->left -= 4;
	return 0;
}

static int take_text(struct cur *c, char *out, size_t size)   // u32 length, bytes
{
	uint32_t n;

	if (take32(c, &n) < 0 || n > c->left || n >= size || memchr(c->p, 0, n)) return -EINVAL;
	memcpy(out, c->p, n);
	out[n] = 0;
	c->p += n;
	c->left -= n;
	return 0;
}

static int reply(struct nbd_session *s, uint32_t option, uint32_t type, const void *data, size_t len)
{
	struct { uint64_t magic; uint32_t option, type, len; } __attribute__((packed)) h = {
		htobe64(NBD_REP_MAGIC), htobe32(option), htobe32(type), htobe32((uint32_t)len) };
	int rc = fd_write_all(s->fd, &h, sizeof(h));

	return rc == 0 && len ? fd_write_all(s->fd, data, len) : rc;
}

static int refuse(struct nbd_session *s, uint32_t option, uint32_t type, const char *text)
{
	return reply(s, option, type, text, strlen(text));
}

static uint16_t flags_of(const struct nbd_session *s)
{
	struct bh_disk_info i;
	uint16_t f = NBD_TF_HAS_FLAGS | NBD_TF_FLUSH | NBD_TF_FUA | NBD_TF_MULTI_CONN | NBD_TF_CACHE;

	bh_disk_info(s->x->disk, &i);
	f |= i.read_only ? NBD_TF_READ_ONLY : NBD_TF_TRIM | NBD_TF_WRITE_ZEROES;
	return s->structured ? f | NBD_TF_DF : f;
}

static uint64_t size_of(const struct nbd_session *s)
{
	struct bh_disk_info i;

	bh_disk_info(s->x->disk, &i);
	return i.size_bytes;
}

static bool name_known(const struct nbd_session *s, const char *name) { return !*name || !strcmp(name, s->x->name); }

static int info_replies(struct nbd_session *s, uint32_t option)
{
	struct { uint16_t type; uint64_t size; uint16_t flags; } __attribute__((packed)) ex = {
		htobe16(NBD_INFO_EXPORT), htobe64(size_of(s)), htobe16(flags_of(s)) };
	struct { uint16_t type; uint32_t min, preferred, max; } __attribute__((packed)) bs = {
		htobe16(NBD_INFO_BLOCK_SIZE), htobe32(1), htobe32(4096), htobe32(NBD_REQUEST_MAX) };
	int rc = reply(s, option, NBD_REP_INFO, &ex, sizeof(ex));

	if (rc == 0) rc = reply(s, option, NBD_REP_INFO, &bs, sizeof(bs));
	return rc == 0 ? reply(s, option, NBD_REP_ACK, NULL, 0) : rc;
}

/* GO and INFO. *go: transmission begins. */
static int option_go(struct nbd_session *s, const struct option *o, bool *go)
{
	struct cur c = { o->data, o->len };
	char name[NBD_NAME_MAX + 1];
	int rc;

	if (take_text(&c, name, sizeof(name)) < 0 || c.left < 2 || (c.left - 2) % 2)
		return refuse(s, o->code, NBD_REP_ERR_INVALID, "the option is malformed");
	if (!name_known(s, name)) return refuse(s, o->code, NBD_REP_ERR_UNKNOWN, "there is no such export");
	rc = info_replies(s, o->code);
	*go = rc == 0 && o->code == NBD_OPT_GO;
	return rc;
}

static int option_list(struct nbd_session *s, const struct option *o)
{
	uint32_t n = htobe32((uint32_t)strlen(s->x->name));
	struct buf b = BUF_INIT;
	int rc;

	if (o->len) return refuse(s, o->code, NBD_REP_ERR_INVALID, "the option takes no data");
	rc = buf_append(&b, &n, 4);
	if (rc == 0) rc = buf_puts(&b, s->x->name);
	if (rc == 0) rc = reply(s, o->code, NBD_REP_SERVER, b.data, b.len);
	buf_fini(&b);
	return rc == 0 ? reply(s, o->code, NBD_REP_ACK, NULL, 0) : rc;
}

/* ---- contexts ---- */

struct matcher { struct nbd_session *s; const struct option *o; const char *query; int rc; };

static void context_found(struct matcher *m, const char *name)
{
	unsigned id = 0;
	struct { uint32_t id; char name[96]; } __attribute__((packed)) h;

	if (m->rc) return;
	if (m->o->code == NBD_OPT_SET_META_CONTEXT) {
		if (m->s->ncontexts == NBD_CONTEXTS_MAX) return;
		for (unsigned i = 0; i < m->s->ncontexts; i++)
			if (!strcmp(m->s->context[i].point, name)) return;   // asked for twice
		id = m->s->ncontexts + 1;
		m->s->context[id - 1].id = id;
		m->s->context[id - 1].allocation = !strcmp(name, CONTEXT_ALLOCATION);
		m->s->context[id - 1].depth = !strcmp(name, CONTEXT_DEPTH);
		snprintf(m->s->context[id - 1].point, sizeof(m->s->context[0].point), "%s", name);
		m->s->ncontexts = id;
	}
	h.id = htobe32(id);
	snprintf(h.name, sizeof(h.name), "%s", name);
	m->rc = reply(m->s, m->o->code, NBD_REP_META_CONTEXT, &h, 4 + strlen(h.name));
}

static void context_try(struct matcher *m, const char *name)
{
	size_t n = strlen(m->query);
	bool all = m->o->code == NBD_OPT_LIST_META_CONTEXT && n && m->query[n - 1] == ':' && !strncmp(name, m->query, n);

	if (all || !strcmp(m->query, name) || (m->o->code == NBD_OPT_LIST_META_CONTEXT && !n)) context_found(m, name);
}

static void point_try(void *user, const char *point)
{
	char name[64];

	if (snprintf(name, sizeof(name), CONTEXT_CHANGED "%s", point) < (int)sizeof(name)) context_try(user, name);
}

static void contexts_match(struct matcher *m)
{
	context_try(m, CONTEXT_ALLOCATION);
	context_try(m, CONTEXT_DEPTH);
	if (m->s->x->points) m->s->x->points(m->s->x->disk, point_try, m);
}

static int option_contexts(struct nbd_session *s, const struct option *o)
{
	struct cur c = { o->data, o->len };
	struct matcher m = { .s = s, .o = o };
	char text[NBD_NAME_MAX + 1];
	uint32_t n;

	if (!s->structured) return refuse(s, o->code, NBD_REP_ERR_INVALID, "structured replies come first");
	if (take_text(&c, text, sizeof(text)) < 0 || take32(&c, &n) < 0)
		return refuse(s, o->code, NBD_REP_ERR_INVALID, "the option is malformed");
	if (!name_known(s, text)) return refuse(s, o->code, NBD_REP_ERR_UNKNOWN, "there is no such export");
	if (o->code == NBD_OPT_SET_META_CONTEXT) s->ncontexts = 0;
	if (n == 0 && o->code == NBD_OPT_LIST_META_CONTEXT) {
		m.query = "";
		contexts_match(&m);
	}
	for (uint32_t i = 0; i < n && m.rc == 0; i++) {
		if (take_text(&c, text, sizeof(text)) < 0) {
			s->ncontexts = 0;
			return refuse(s, o->code, NBD_REP_ERR_INVALID, "the option is malformed");
		}
		m.query = text;
		contexts_match(&m);
	}
	return m.rc == 0 ? reply(s, o->code, NBD_REP_ACK, NULL, 0) : m.rc;
}

/* ---- the conversation ---- */

static int option_export_name(struct nbd_session *s, const struct option *o, bool no_zeroes)
{
	struct { uint64_t size; uint16_t flags; char zeroes[124]; } __attribute__((packed)) h = { .size = 0 };
	char name[NBD_NAME_MAX + 1] = "";

	if (o->len > NBD_NAME_MAX) return -EINVAL;
	memcpy(name, o->data, o->len);
	if (!name_known(s, name)) return -ENOENT;   // this option has no error reply: the connection ends
	h.size = htobe64(size_of(s));
	h.flags = htobe16(flags_of(s));
	return fd_write_all(s->fd, &h, no_zeroes ? 10 : sizeof(h));
}

static int option_read(struct nbd_session *s, struct option *o, unsigned char *space)
{
	struct { uint64_t magic; uint32_t code, len; } __attribute__((packed)) h;
	int rc = fd_read_all(s->fd, &h, sizeof(h));

	if (rc < 0) return rc;
	if (h.magic != htobe64(NBD_OPTS_MAGIC)) return -EPROTO;
	o->code = be32toh(h.code);
	o->len = be32toh(h.len);
	o->data = space;
	if (o->len > NBD_OPTION_MAX) return -EMSGSIZE;
	return o->len ? fd_read_all(s->fd, o->data, o->len) : 0;
}

static int option_run(struct nbd_session *s, const struct option *o, bool no_zeroes, bool *go)
{
	switch (o->code) {
	case NBD_OPT_EXPORT_NAME:
		*go = true;
		return option_export_name(s, o, no_zeroes);
	case NBD_OPT_ABORT:
		reply(s, o->code, NBD_REP_ACK, NULL, 0);
		return 1;
	case NBD_OPT_LIST: return option_list(s, o);
	case NBD_OPT_INFO:
	case NBD_OPT_GO: return option_go(s, o, go);
	case NBD_OPT_STRUCTURED_REPLY:
		if (o->len) return refuse(s, o->code, NBD_REP_ERR_INVALID, "the option takes no data");
		s->structured = true;
		return reply(s, o->code, NBD_REP_ACK, NULL, 0);
	case NBD_OPT_LIST_META_CONTEXT:
	case NBD_OPT_SET_META_CONTEXT: return option_contexts(s, o);
	default: return refuse(s, o->code, NBD_REP_ERR_UNSUP, "the option is not known");
	}
}

int nbd_handshake(struct nbd_session *s)
{
	static const uint32_t known = NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES;
	struct { uint64_t magic, opts; uint16_t flags; } __attribute__((packed)) h = {
		htobe64(NBD_MAGIC), htobe64(NBD_OPTS_MAGIC), htobe16(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES) };
	unsigned char space[NBD_OPTION_MAX];
	uint32_t flags = 0;
	bool go = false;
	int rc = fd_write_all(s->fd, &h, sizeof(h));

	if (rc == 0) rc = fd_read_all(s->fd, &flags, sizeof(flags));
	if (rc < 0) return rc;
	flags = be32toh(flags);
	if (flags & ~known || !(flags & NBD_FLAG_FIXED_NEWSTYLE)) return -EPROTO;
	for (int i = 0; i < 1000 && !go; i++) {   // no client needs more options
		struct option o;

		rc = option_read(s, &o, space);
		if (rc == 0) rc = option_run(s, &o, flags & NBD_FLAG_NO_ZEROES, &go);
		if (rc) return rc;
	}
	return go ? 0 : -EPROTO;
}
