// SPDX-License-Identifier: Apache-2.0
#include "disk/copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"
#include "disk/admin.h"
#include "disk/disk.h"
#include "disk/meta.h"
#include "disk/sidefile.h"

#define PIECE (1u << 20)

static void own_disk_(struct bh_disk **d) { if (*d) disk_close(*d, NULL); }
#define own_disk __attribute__((cleanup(own_disk_)))

int disk_extent(struct bh_disk *d, uint64_t off, uint64_t len, struct bh_disk_extent *x)
{
	return queue_rw(d->root, d->entry, IOF_EXTENTS, off, NULL, len, 0, x);
}

/* Requests to a layer itself. */
static void entry_at(struct iof_layer *l, struct iof_layer *entry[IOF_OPS])
{
	for (int op = 0; op < IOF_OPS; op++) entry[op] = l;
}

static uint64_t rounded(const struct bh_disk *d) { return (d->size + d->block - 1) / d->block * d->block; }

static int open_clone(const char *path, const struct disk_open *o, struct bh_disk **d, struct iof_layer **link, struct err *e)
{
	int rc = disk_open(path, o, d, e);

	if (rc < 0) return rc;
	*link = chain_link(*d);
	return *link ? 0 : err_set(e, EINVAL, "disk '%s' is not a clone", path);
}

/* ---- flatten ---- */

static int make_own(struct bh_disk *d, struct iof_layer *link, uint64_t off, uint64_t len, bool hole, void *buf)
{
	struct iof_layer *entry[IOF_OPS];
	int rc = 0;

	entry_at(link, entry);
	if (hole) return queue_rw(d, entry, IOF_WRITE_ZEROES, off, NULL, len, 0, NULL);
	for (uint64_t at = 0; at < len && rc == 0; at += PIECE) {
		uint64_t n = len - at < PIECE ? len - at : PIECE;

		rc = queue_rw(d, entry, IOF_READ, off + at, buf, n, 0, NULL);
		if (rc == 0) rc = queue_rw(d, entry, IOF_WRITE, off + at, buf, n, 0, NULL);
	}
	return rc;
}

static uint64_t block_up(const struct bh_disk *d, uint64_t v) { return (v + d->block - 1) / d->block * d->block; }

/* Calls fn for each run of blocks that is (own) or is not (!own) the clone's. */
static int each_run(struct bh_disk *d, struct iof_layer *link, bool own, copy_progress *p, void *user,
		    int (*fn)(void *ctx, uint64_t off, uint64_t len, bool hole), void *ctx)
{
	struct iof_layer *entry[IOF_OPS];
	uint64_t end = rounded(d);
	int rc = 0;

	entry_at(link, entry);
	for (uint64_t at = 0, n; at < end && rc == 0; at += n) {
		struct bh_disk_extent x;

		rc = queue_rw(d, entry, IOF_EXTENTS, at, NULL, end - at < (64u << 20) ? end - at : 64u << 20, 0, &x);
		if (rc < 0) break;
		n = block_up(d, at + x.len) - at;   // a raw parent may end inside a block
		if (n > end - at) n = end - at;
		if ((x.depth == 0) == own) rc = fn(ctx, at, n, x.type == BH_DISK_HOLE && n == x.len);
		if (p) p(user, at + n);
	}
	return rc;
}

struct flatten { struct bh_disk *d; struct iof_layer *link; void *buf; };

static int flatten_run(void *ctx, uint64_t off, uint64_t len, bool hole)
{
	struct flatten *f = ctx;

	return make_own(f->d, f->link, off, len, hole, f->buf);
}

int disk_flatten(const char *path, copy_progress *p, void *user, struct err *e)
{
	struct disk_open o = { .child = NULL };
	own_free void *buf = aligned_alloc(4096, PIECE);
	own_free char *map = descriptor_side(path, "map");
	own_disk struct bh_disk *d = NULL;
	struct iof_layer *link;
	struct flatten f;
	int rc;

	if (!buf || !map) return err_set(e, ENOMEM, "no memory");
	rc = open_clone(path, &o, &d, &link, e);
	if (rc < 0) return rc;
	f = (struct flatten){ d, link, buf };
	rc = each_run(d, link, false, p, user, flatten_run, &f);
	if (rc == 0) rc = queue_rw(d, d->entry, IOF_FLUSH, 0, NULL, 0, 0, NULL);
	if (rc < 0) return err_sys(e, -rc, "disk '%s': cannot copy the parent's blocks", path);
	d->desc->has_parent = false;
	descriptor_filter_remove(d->desc, (unsigned)descriptor_filter_find(d->desc, link->name));
	rc = descriptor_write(d->desc, e);
	if (rc < 0) return rc;
	unlink(map);
	return disk_close(take(d), e);
}

/* ---- commit ---- */

struct commit { struct bh_disk *d, *parent; struct iof_layer **below; void *buf; };

/* Where the clone ends, inside a block perhaps: what the parent has from there on stays. */
static uint64_t commit_end(const struct commit *c) { return c->d->size < c->parent->size ? c->d->size : c->parent->size; }

static int commit_run(void *ctx, uint64_t off, uint64_t len, bool hole)
{
	struct commit *c = ctx;
	uint64_t size = commit_end(c);
	int rc = 0;

	if (off >= size) return 0;
	if (len > size - off) len = size - off;
	if (hole) return queue_rw(c->parent, c->parent->entry, IOF_WRITE_ZEROES, off, NULL, len, 0, NULL);
	for (uint64_t at = 0; at < len && rc == 0; at += PIECE) {
		uint64_t n = len - at < PIECE ? len - at : PIECE;

		rc = queue_rw(c->d, c->below, IOF_READ, off + at, c->buf, n, 0, NULL);
		if (rc == 0) rc = queue_rw(c->parent, c->parent->entry, IOF_WRITE, off + at, c->buf, n, 0, NULL);
	}
	return rc;
}

/* Behind a shrunken and grown clone's limit it reads as zeroes, whatever the parent has there. */
static int beyond_run(void *ctx, uint64_t off, uint64_t len, bool hole)
{
	struct commit *c = ctx;
	uint64_t limit = c->d->desc->parent.limit, end = off + len;

	(void)hole;
	if (end > commit_end(c)) end = commit_end(c);
	if (off < limit) off = limit;
	return off < end ? queue_rw(c->parent, c->parent->entry, IOF_WRITE_ZEROES, off, NULL, end - off, 0, NULL) : 0;
}

static int discard_run(void *ctx, uint64_t off, uint64_t len, bool hole)
{
	struct commit *c = ctx;

	return hole ? 0 : queue_rw(c->d, c->below, IOF_DISCARD, off, NULL, len, 0, NULL);
}

/* The parent has everything: the clone's map becomes empty, then its data go. */
static int empty_clone(struct commit *c, struct iof_layer *link)
{
	struct meta *m = link->state;
	int rc = side_discard(m->file, MAP_HEADER, map_sector_off(m->sectors_max) - MAP_HEADER);

	if (rc == 0) rc = side_sync(m->file);
	if (rc == 0) rc = each_run(c->d, link, true, NULL, NULL, discard_run, c);
	return rc == 0 ? queue_rw(c->d, c->below, IOF_FLUSH, 0, NULL, 0, 0, NULL) : rc;
}

int disk_commit(const char *path, copy_progress *p, void *user, struct err *e)
{
	struct disk_open alone = { .no_parent = true }, po = { .ignore_children = true };
	own_free void *buf = aligned_alloc(4096, PIECE);
	own_free char *parent_path = NULL;
	own_disk struct bh_disk *d = NULL, *parent = NULL;
	struct iof_layer *link;
	struct commit c;
	int rc;

	if (!buf) return err_set(e, ENOMEM, "no memory");
	rc = open_clone(path, &alone, &d, &link, e);
	if (rc < 0) return rc;
	if (d->desc->has_children) return err_set(e, EROFS, "disk '%s' has clones itself", path);
	parent_path = descriptor_file(d->desc, d->desc->parent.path);
	if (!parent_path) return err_set(e, ENOMEM, "no memory");
	rc = disk_open(parent_path, &po, &parent, e);
	if (rc < 0) return rc;
	if (strcmp(parent->desc ? parent->desc->id : "", d->desc->parent.id)) return err_set(e, ESTALE, "parent '%s' is another disk", parent_path);
	if (parent->size < d->size)
		return err_set(e, ENOSPC, "the parent is smaller than disk '%s': resize '%s' to %llu first", path, parent_path, (unsigned long long)d->size);
	if (parent->desc) {   // other clones must notice even if this stops half-way
		parent->desc->generation++;
		if ((rc = descriptor_write(parent->desc, e)) < 0) return rc;
	}
	c = (struct commit){ d, parent, link->below, buf };
	rc = each_run(d, link, true, p, user, commit_run, &c);
	if (rc == 0 && d->desc->parent.limit < d->size) rc = each_run(d, link, false, NULL, NULL, beyond_run, &c);
	if (rc == 0) rc = queue_rw(parent, parent->entry, IOF_FLUSH, 0, NULL, 0, 0, NULL);
	if (rc < 0) return err_sys(e, -rc, "disk '%s': cannot write to the parent; run commit again", path);
	rc = disk_close(take(parent), e);
	if (rc < 0) return rc;
	d->desc->parent.limit = d->size;   // what the clone had behind it is the parent's now, or zeroes there too
	rc = disk_accept_open(d, parent_path, e);
	if (rc == 0 && (rc = empty_clone(&c, link)) < 0) err_sys(e, -rc, "disk '%s': cannot give its space back", path);
	return rc < 0 ? rc : disk_close(take(d), e);
}

/* ---- rebase ---- */

int disk_accept_open(struct bh_disk *d, const char *parent, struct err *e)
{
	own_fd int fd = -1;
	uint64_t size;
	uint32_t block;
	int rc = admin_parent(parent, d->desc, &size, &block, &fd, e);

	if (rc < 0) return rc;
	if (d->desc->parent.limit > size) d->desc->parent.limit = size;
	return descriptor_write(d->desc, e);
}

int disk_accept(const char *path, const char *parent, struct err *e)
{
	struct disk_open o = { .no_parent = true };
	own_free char *present = NULL;
	own_disk struct bh_disk *d = NULL;
	struct iof_layer *link;
	int rc = open_clone(path, &o, &d, &link, e);

	if (rc < 0) return rc;
	present = descriptor_file(d->desc, d->desc->parent.path);
	if (!present) return err_set(e, ENOMEM, "no memory");
	if (parent && strcmp(parent, path) == 0) return err_set(e, ELOOP, "a disk cannot be its own parent");
	rc = disk_accept_open(d, parent ? parent : present, e);
	return rc < 0 ? rc : disk_close(take(d), e);
}

static int same_below(struct bh_disk *d, uint64_t off, uint64_t n, void *buf)
{
	uint64_t have = off >= d->size ? 0 : d->size - off < n ? d->size - off : n;

	memset((char *)buf + have, 0, n - have);
	return have ? queue_rw(d, d->entry, IOF_READ, off, buf, have, 0, NULL) : 0;
}

struct rebase { struct bh_disk *d, *to; struct iof_layer *link; char *a, *b; };

static int rebase_run(void *ctx, uint64_t off, uint64_t len, bool hole)
{
	struct rebase *r = ctx;
	struct iof_layer *entry[IOF_OPS];
	uint32_t block = r->d->block;
	int rc = 0;

	(void)hole;
	entry_at(r->link, entry);
	for (uint64_t at = off; at < off + len && rc == 0; at += PIECE) {
		uint64_t n = off + len - at < PIECE ? off + len - at : PIECE;

		rc = queue_rw(r->d, entry, IOF_READ, at, r->a, n, 0, NULL);
		if (rc == 0) rc = same_below(r->to, at, n, r->b);
		for (uint64_t i = 0; i < n && rc == 0; i += block)
			if (memcmp(r->a + i, r->b + i, block)) rc = queue_rw(r->d, entry, IOF_WRITE, at + i, r->a + i, block, 0, NULL);
	}
	return rc;
}

int disk_rebase(const char *path, const char *parent, copy_progress *p, void *user, struct err *e)
{
	struct disk_open o = { .child = NULL }, ro = { .read_only = true };
	own_free char *a = aligned_alloc(4096, PIECE), *b = aligned_alloc(4096, PIECE);
	own_disk struct bh_disk *d = NULL, *to = NULL;
	struct rebase r;
	struct iof_layer *link;
	int rc;

	if (!a || !b) return err_set(e, ENOMEM, "no memory");
	rc = open_clone(path, &o, &d, &link, e);
	if (rc == 0) rc = disk_open(parent, &ro, &to, e);   // refuses this disk itself: it is locked
	if (rc < 0) return rc;
	r = (struct rebase){ d, to, link, a, b };
	rc = each_run(d, link, false, p, user, rebase_run, &r);
	if (rc == 0) rc = queue_rw(d, d->entry, IOF_FLUSH, 0, NULL, 0, 0, NULL);
	if (rc < 0) return err_sys(e, -rc, "disk '%s': cannot keep what differs", path);
	d->desc->parent.limit = to->size < d->size ? to->size : d->size;
	rc = disk_accept_open(d, parent, e);
	return rc < 0 ? rc : disk_close(take(d), e);
}

/* ---- compare ---- */

int disk_compare(struct bh_disk *a, struct bh_disk *b, void (*extent)(void *, uint64_t, uint64_t), void *user, struct err *e)
{
	own_free char *x = aligned_alloc(4096, PIECE), *y = aligned_alloc(4096, PIECE);
	uint64_t size = a->size > b->size ? a->size : b->size, from = 0;
	bool differs = false;

	if (!x || !y) return err_set(e, ENOMEM, "no memory");
	for (uint64_t at = 0; at < size; at += PIECE) {
		uint64_t n = size - at < PIECE ? size - at : PIECE;
		int rc = same_below(a, at, n, x);

		if (rc == 0) rc = same_below(b, at, n, y);
		if (rc < 0) return err_sys(e, -rc, "cannot read at %llu", (unsigned long long)at);
		for (uint64_t i = 0; i < n; i += 4096) {
			bool d = memcmp(x + i, y + i, n - i < 4096 ? n - i : 4096);

			if (d && !differs) from = at + i;
			if (!d && differs) extent(user, from, at + i - from);
			differs = d;
		}
	}
	if (differs) extent(user, from, size - from);
	return 0;
}
