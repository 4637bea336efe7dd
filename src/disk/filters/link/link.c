// SPDX-License-Identifier: Apache-2.0
// The link: what makes a disk a clone. It holds the parent's open disk, a framework instance of its own. Reads of blocks
// that the clone has not written are redirected into the parent's chain; everything else goes on down the clone's own.
//
// If the parent is a clone with nothing above its link that would see the read, its link's decisions are taken over at
// open: parents never change. A read then enters the chain of whichever ancestor owns the block, however deep.
//
// A block becomes the clone's own in memory when its data are written, and on disk at the next flush, by meta.h.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "disk/disk.h"
#include "disk/meta.h"
#include "disk/sidefile.h"

struct link {
	struct meta meta;                                // the map; first
	struct bh_disk *parent;                          // owned
	struct owner *owner;                             // owned; NULL once a child has taken it over
	unsigned shift;                                  // of the block size
	unsigned ntargets;
	struct iof_layer *const *target[OWNER_DEEPEST + 1];   // by code: where requests for that ancestor enter
	uint64_t seen[OWNER_ZERO + 1];                   // by code: bytes of it that show; the block where they end may have more
};

#define SECTORS_MAX (DISK_SIZE_MAX / DISK_BLOCK_MIN / OWNER_CHUNK + 1)

/* ---- open ---- */

static int load_sector(void *user, uint64_t index, const uint8_t *bits)
{
	struct owner *o = user;
	uint64_t first = index * OWNER_CHUNK;

	if (owner_reserve(o, first, 1) < 0) return -ENOMEM;
	for (unsigned i = 0; i < OWNER_CHUNK && first + i < o->blocks; i++)
		if (bits[i / 8] & (1u << i % 8)) owner_set(o, first + i, 1, OWNER_SELF);
	owner_compact(o, index);
	return 0;
}

static uint64_t lesser(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Take the parent's decisions over, if they can be known beforehand. limit: bytes of the parent that can be seen. */
static int merge_parent(struct link *k, uint64_t blocks, uint64_t limit)
{
	struct bh_disk *p = k->parent;
	struct iof_layer *pl = p ? chain_link(p) : NULL;
	struct link *pk = pl ? pl->state : NULL;
	uint64_t limit_blocks;

	k->ntargets = 1;
	k->seen[OWNER_SELF] = UINT64_MAX;
	if (!p) {
		k->owner = owner_new(blocks);
		return k->owner ? 0 : -ENOMEM;
	}
	k->seen[1] = lesser(limit, p->size);
	limit_blocks = (k->seen[1] + (1u << k->shift) - 1) >> k->shift;
	if (!pk || !chain_plain_above_link(p) || p->block != 1u << k->shift || pk->ntargets >= OWNER_DEEPEST) {
		k->owner = owner_new(blocks);
		k->target[1] = p->entry;
		return k->owner ? owner_fill(k->owner, 0, lesser(limit_blocks, blocks), 1) : -ENOMEM;
	}
	k->owner = take(pk->owner);
	k->target[1] = pl->below;
	for (unsigned code = 1; code <= pk->ntargets; code++) {
		k->target[code + 1] = pk->target[code];
		k->seen[code + 1] = lesser(k->seen[1], pk->seen[code]);
	}
	k->ntargets = pk->ntargets + 1;
	if (limit_blocks < k->owner->blocks && owner_resize(k->owner, limit_blocks) < 0) return -ENOMEM;
	owner_shift(k->owner);
	return owner_resize(k->owner, blocks);
}

static int parent_check(struct iof_layer *l, struct link *k, struct err *e)
{
	const struct descriptor_parent *want = &l->disk->desc->parent;
	const struct bh_disk *p = k->parent;
	int64_t mtime = 0;

	if (strcmp(want->id, p->desc ? p->desc->id : ""))
		return err_set(e, ESTALE, "parent '%s' is another disk: its id is %s, not %s", p->path, p->desc ? p->desc->id : "missing", want->id);
	if (p->desc && p->desc->generation != want->generation)
		return err_set(e, ESTALE, "parent '%s' has changed since the clone was made (generation %llu, not %llu)", p->path,
			       (unsigned long long)p->desc->generation, (unsigned long long)want->generation);
	if (!p->is_block_device && (disk_data_mtime(p->data_fd, &mtime) < 0 || mtime != want->mtime_ns))
		return err_set(e, ESTALE, "parent '%s' has changed since the clone was made: its data file was written; "
			       "'bulkhead disk rebase --accept' takes it as it is now", p->path);
	return 0;
}

static void sector_now(struct iof_layer *l, uint64_t index, uint8_t bits[MAP_BITS_BYTES])
{
	struct link *k = iof_state(l);
	uint64_t first = index * OWNER_CHUNK;

	for (unsigned b = 0; b < OWNER_CHUNK && first + b < k->owner->blocks; b++)
		if (owner_get(k->owner, first + b) == OWNER_SELF) bits[b / 8] |= (uint8_t)(1u << b % 8);
}

static const struct meta_ops map_ops = { .sector = sector_now };

static void link_free(struct link *k)
{
	if (k->parent) disk_close(k->parent, NULL);
	owner_free(k->owner);
	meta_fini(&k->meta);
	free(k);
}

static int link_open_into(struct iof_layer *l, struct link *k, struct err *e)
{
	const struct descriptor *desc = l->disk->desc;
	struct disk_open o = { .child = l->disk, .read_only = true, .threads_only = l->disk->threads_only };
	own_free char *path = descriptor_file(desc, desc->parent.path);
	uint64_t blocks = iof_size(l) >> k->shift;
	int rc;

	if (!path) return err_set(e, ENOMEM, "no memory for a link");
	if (!l->disk->no_parent) {
		rc = disk_open(path, &o, &k->parent, e);
		if (rc < 0) return rc;
		if ((rc = parent_check(l, k, e)) < 0) return rc;
	}
	if ((rc = meta_init(&k->meta, &map_ops, SECTORS_MAX, e)) < 0) return rc;
	if ((rc = side_open(l->disk, "map", &k->meta.file, e)) < 0) return rc;
	if ((rc = map_check(k->meta.file, desc->id, desc->block, e)) < 0) return rc;
	if (merge_parent(k, blocks, desc->parent.limit) < 0) return err_set(e, ENOMEM, "no memory for the map of the clone");
	return map_load(k->meta.file, desc->id, k->owner->chunks, load_sector, NULL, k->owner, e);
}

static int link_open(struct iof_layer *l, const struct iof_settings *s, void **state, uint32_t *align, struct err *e)
{
	struct link *k = calloc(1, sizeof(*k));
	int rc;

	(void)s;
	if (!k) return err_set(e, ENOMEM, "no memory for a link");
	k->shift = (unsigned)__builtin_ctz(l->disk->block);
	rc = link_open_into(l, k, e);
	if (rc < 0) {
		link_free(k);
		return rc;
	}
	*state = k;
	*align = l->disk->block;
	return 0;
}

static int link_close(struct iof_layer *l, struct err *e)
{
	struct link *k = iof_state(l);
	int rc = meta_is_dirty(&k->meta) ? -EIO : 0;

	if (rc) err_set(e, EIO, "blocks written since the last flush could not be recorded");
	link_free(k);
	return rc;
}

static int link_resized(struct iof_layer *l, struct err *e)
{
	struct link *k = iof_state(l);

	return owner_resize(k->owner, iof_size(l) >> k->shift) < 0 ? err_set(e, ENOMEM, "no memory for the map of the clone") : 0;
}

/* ---- reads ---- */

static void zero_from(const struct iof_req *r, uint64_t at) { iof_copy(r, at, NULL, (size_t)(r->len - at), true); }

static void seen_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;

	zero_from(r, c->len);
	iof_free(c);
	r->done(r, result);
}

/* A read of an ancestor up to where it shows, and zeroes. */
static void read_seen(struct iof_layer *l, struct link *k, struct iof_req *r, uint8_t code)
{
	struct iof_req *c;

	if (k->seen[code] <= r->off) {
		zero_from(r, 0);
		r->done(r, 0);
		return;
	}
	c = iof_child(l, r);
	if (!c) {
		r->done(r, -ENOMEM);
		return;
	}
	iof_part(c, r, r->off, k->seen[code] - r->off);
	c->done = seen_done;
	c->user = r;
	layer_call(k->target[code][IOF_READ], c);
}

static void redirect(struct iof_layer *l, struct link *k, struct iof_req *r, uint8_t code)
{
	if (code == OWNER_SELF) iof_pass(l, r);
	else if (r->op == IOF_READ && r->off + r->len > k->seen[code]) read_seen(l, k, r, code);
	else layer_call(k->target[code][r->op], r);
}

static void run_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;

	iof_free(c);
	if (result < 0 && r->result == 0) r->result = result;
	if (--r->progress == 0) r->done(r, r->result);
}

static void read_runs(struct iof_layer *l, struct link *k, struct iof_req *r)
{
	uint64_t end = r->off + r->len, at = r->off;

	r->result = 0;
	r->progress = 1;
	while (at < end) {
		uint64_t first = at >> k->shift, n = owner_run(k->owner, first, ((end - 1) >> k->shift) - first + 1);
		uint64_t stop = (first + n) << k->shift < end ? (first + n) << k->shift : end;
		uint8_t code = owner_get(k->owner, first);
		struct iof_req *c = iof_child(l, r);

		if (!c) {
			r->result = -ENOMEM;
			break;
		}
		iof_part(c, r, at, stop - at);
		c->done = run_done;
		c->user = r;
		r->progress++;
		redirect(l, k, c, code);
		at = stop;
	}
	if (--r->progress == 0) r->done(r, r->result);
}

static void link_read(struct iof_layer *l, struct iof_req *r)
{
	struct link *k = iof_state(l);
	uint64_t first = r->off >> k->shift, n = ((r->off + r->len - 1) >> k->shift) - first + 1;

	if (n == 1 || owner_run(k->owner, first, n) == n) redirect(l, k, r, owner_get(k->owner, first));
	else read_runs(l, k, r);
}

static void extents_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;

	if (result == 0) r->extent->depth += (int)c->data[0];
	iof_free(c);
	r->done(r, result);
}

static void link_extents(struct iof_layer *l, struct iof_req *r)
{
	struct link *k = iof_state(l);
	uint64_t first = r->off >> k->shift, n = owner_run(k->owner, first, ((r->off + r->len - 1) >> k->shift) - first + 1);
	uint64_t len = ((first + n) << k->shift) - r->off;
	uint8_t code = owner_get(k->owner, first);
	struct iof_req *c;

	if (len > r->len) len = r->len;
	if (r->off >= k->seen[code]) {
		*r->extent = (struct bh_disk_extent){ .len = len, .type = BH_DISK_HOLE, .depth = (int)k->ntargets };
		r->done(r, 0);
		return;
	}
	c = iof_child(l, r);
	if (!c) {
		r->done(r, -ENOMEM);
		return;
	}
	c->len = lesser(len, k->seen[code] - r->off);
	c->done = extents_done;
	c->user = r;
	c->data[0] = code;
	redirect(l, k, c, code);
}

/* ---- writes, zeroes, discards: whole blocks (the align layer sees to it) ---- */

static void write_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	struct iof_layer *l = (struct iof_layer *)c->data[0];
	struct link *k = iof_state(l);
	uint64_t first = c->off >> k->shift, n = c->len >> k->shift;

	iof_free(c);
	if (result < 0) {
		r->done(r, result);
		return;
	}
	owner_set(k->owner, first, n, OWNER_SELF);
	for (uint64_t s = first / OWNER_CHUNK; s <= (first + n - 1) / OWNER_CHUNK; s++) meta_dirty(&k->meta, s);
	if (r->flags & BH_DISK_FUA) meta_flush(l, r);
	else r->done(r, 0);
}

static void link_write(struct iof_layer *l, struct iof_req *r)
{
	struct link *k = iof_state(l);
	uint64_t first = r->off >> k->shift, n = r->len >> k->shift;
	bool own = owner_all(k->owner, first, n, OWNER_SELF);
	struct iof_req *c;

	if (own && !(r->flags & BH_DISK_FUA)) {
		iof_pass(l, r);
		return;
	}
	c = owner_reserve(k->owner, first, n) < 0 ? NULL : iof_child(l, r);
	if (!c) {
		r->done(r, -ENOMEM);
		return;
	}
	if (c->op == IOF_DISCARD && !own) c->op = IOF_WRITE_ZEROES;   // a crash may have left something in the file there
	c->flags &= ~BH_DISK_FUA;
	c->done = write_done;
	c->user = r;
	c->data[0] = (uintptr_t)l;
	iof_pass(l, c);
}

static const struct iof_setting link_settings[] = { { NULL, NULL } };

const struct iof_filter link_filter = {
	.abi = IOF_ABI_VERSION, .size = sizeof(struct iof_filter), .name = "link", .summary = "redirects reads of untouched blocks to the parent",
	.order = IOF_CLASS_LINK, .flags = IOF_CHANGES_DATA, .settings = link_settings,
	.open = link_open, .close = link_close, .resized = link_resized, .read = link_read, .write = link_write, .flush = meta_flush,
	.discard = link_write, .write_zeroes = link_write, .extents = link_extents,
};
