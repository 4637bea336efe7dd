// SPDX-License-Identifier: Apache-2.0
// The link: what makes a disk a clone. It holds the parent's open disk, a framework instance of its own. Reads of blocks
// that the clone has not written are redirected into the parent's chain; everything else goes on down the clone's own.
//
// If the parent is a clone with nothing above its link that would see the read, its link's decisions are taken over at
// open: parents never change. A read then enters the chain of whichever ancestor owns the block, however deep.
//
// Crash safety. A block becomes the clone's own in memory when its data are written, on disk at the next flush: first
// the data are synced, then the sectors of the map with bits set before that. A bit on disk thus always has its data on
// disk. Flushes run one at a time; those that come meanwhile share the next one.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/own.h"
#include "disk/disk.h"
#include "disk/map.h"
#include "disk/sidefile.h"

struct link {
	struct bh_disk *parent;                          // owned
	struct owner *owner;                             // owned; NULL once a child has taken it over
	unsigned shift;                                  // of the block size
	unsigned ntargets;
	struct iof_layer *const *target[OWNER_DEEPEST + 1];   // by code: where requests for that ancestor enter
	struct iof_file *map;

	_Atomic uint64_t *dirty;                         // one bit a map sector
	uint32_t *list;                                  // the dirty sectors
	pthread_mutex_t lock;                            // the fields below
	uint32_t nlist;
	bool flushing;
	struct iof_req *batch;                           // complete with the flush that runs
	struct iof_req *waiting;                         // with the next one
	uint32_t nstaged, staged_cap;                    // only the running flush
	uint32_t *staged;
	uint8_t *sectors;
};

#define SECTORS_MAX (DISK_SIZE_MAX / DISK_BLOCK_MIN / OWNER_CHUNK + 1)
#define DIRTY_BYTES ((SECTORS_MAX / 64 + 1) * sizeof(uint64_t))
#define LIST_BYTES (SECTORS_MAX * sizeof(uint32_t))

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

/* Take the parent's decisions over, if they can be known beforehand. */
static int merge_parent(struct link *k, uint64_t blocks, uint64_t limit)
{
	struct bh_disk *p = k->parent;
	struct iof_layer *pl = chain_link(p);
	struct link *pk = pl ? pl->state : NULL;

	if (!pk || !chain_plain_above_link(p) || p->block != 1u << k->shift || pk->ntargets >= OWNER_DEEPEST) {
		uint64_t n = (p->size + p->block - 1) / p->block * p->block >> k->shift;

		k->owner = owner_new(blocks);
		k->target[1] = p->entry;
		k->ntargets = 1;
		return k->owner ? owner_fill(k->owner, 0, n < limit ? n : limit, 1) : -ENOMEM;
	}
	k->owner = take(pk->owner);
	k->target[1] = pl->below;
	memcpy(&k->target[2], &pk->target[1], pk->ntargets * sizeof(pk->target[0]));
	k->ntargets = pk->ntargets + 1;
	if (limit < k->owner->blocks && owner_resize(k->owner, limit) < 0) return -ENOMEM;
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

static int dirty_open(struct link *k)
{
	void *a = mmap(NULL, DIRTY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	void *b = mmap(NULL, LIST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	k->dirty = a == MAP_FAILED ? NULL : a;
	k->list = b == MAP_FAILED ? NULL : b;
	return k->dirty && k->list ? 0 : -ENOMEM;
}

static void link_free(struct link *k)
{
	if (k->parent) disk_close(k->parent, NULL);
	owner_free(k->owner);
	side_close(k->map);
	if (k->dirty) munmap((void *)k->dirty, DIRTY_BYTES);
	if (k->list) munmap(k->list, LIST_BYTES);
	pthread_mutex_destroy(&k->lock);
	free(k->staged);
	free(k->sectors);
	free(k);
}

static int link_open_into(struct iof_layer *l, struct link *k, struct err *e)
{
	const struct descriptor *desc = l->disk->desc;
	struct disk_open o = { .child = l->disk, .read_only = true, .threads_only = l->disk->threads_only };
	own_free char *path = descriptor_file(desc, desc->parent.path);
	uint64_t blocks = iof_size(l) >> k->shift, limit = (desc->parent.limit + l->disk->block - 1) >> k->shift;
	int rc;

	if (!path) return err_set(e, ENOMEM, "no memory for a link");
	rc = disk_open(path, &o, &k->parent, e);
	if (rc < 0) {
		err_wrap(e, "parent");
		return rc;
	}
	if ((rc = parent_check(l, k, e)) < 0) return rc;
	if ((rc = side_open(l->disk, "map", &k->map, e)) < 0) return rc;
	if ((rc = map_check(k->map, desc->id, desc->block, e)) < 0) return rc;
	if (merge_parent(k, blocks, limit) < 0 || dirty_open(k) < 0) return err_set(e, ENOMEM, "no memory for the map of the clone");
	return map_load(k->map, desc->id, k->owner->chunks, load_sector, NULL, k->owner, e);
}

static int link_open(struct iof_layer *l, const struct iof_settings *s, void **state, uint32_t *align, struct err *e)
{
	struct link *k = calloc(1, sizeof(*k));
	int rc;

	(void)s;
	if (!k) return err_set(e, ENOMEM, "no memory for a link");
	pthread_mutex_init(&k->lock, NULL);
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
	int rc = k->nlist ? -EIO : 0;

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

static void redirect(struct iof_layer *l, struct link *k, struct iof_req *r, uint8_t code)
{
	if (code == OWNER_SELF) {
		iof_pass(l, r);
	} else if (code == OWNER_ZERO) {
		iof_copy(r, 0, NULL, (size_t)r->len, true);
		r->done(r, 0);
	} else {
		layer_call(k->target[code][r->op], r);
	}
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
	if (code == OWNER_ZERO) {
		*r->extent = (struct iof_extent){ .len = len, .type = IOF_EXT_HOLE, .depth = (int)k->ntargets };
		r->done(r, 0);
		return;
	}
	c = iof_child(l, r);
	if (!c) {
		r->done(r, -ENOMEM);
		return;
	}
	c->len = len;
	c->done = extents_done;
	c->user = r;
	c->data[0] = code;
	redirect(l, k, c, code);
}

/* ---- flush ---- */

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void sector_dirty(struct link *k, uint64_t sector)
{
	uint64_t bit = 1ull << sector % 64;

	if (atomic_load(&k->dirty[sector / 64]) & bit) return;   // whoever stages it clears this before it looks at the blocks
	if (atomic_fetch_or(&k->dirty[sector / 64], bit) & bit) return;
	pthread_mutex_lock(&k->lock);
	k->list[k->nlist++] = (uint32_t)sector;
	pthread_mutex_unlock(&k->lock);
}

/* Worker: the sectors as they are now. The data of their blocks are written, and synced next. */
static int stage_work(struct iof_layer *l, struct iof_req *r)
{
	struct link *k = iof_state(l);
	uint32_t n;

	(void)r;
	pthread_mutex_lock(&k->lock);
	n = k->nlist;
	if (n > k->staged_cap) {
		uint32_t *a = realloc(k->staged, n * sizeof(*a));
		uint8_t *b;

		if (a) k->staged = a;
		b = a ? realloc(k->sectors, (size_t)n * MAP_SECTOR) : NULL;
		if (b) k->sectors = b;
		if (b) k->staged_cap = n;
	}
	if (n > k->staged_cap) {
		pthread_mutex_unlock(&k->lock);
		return -ENOMEM;
	}
	memcpy(k->staged, k->list, n * sizeof(k->list[0]));
	for (uint32_t i = 0; i < n; i++) atomic_fetch_and(&k->dirty[k->staged[i] / 64], ~(1ull << k->staged[i] % 64));
	k->nstaged = n;
	k->nlist = 0;
	pthread_mutex_unlock(&k->lock);
	qsort(k->staged, n, sizeof(k->staged[0]), by_number);
	for (uint32_t i = 0; i < n; i++) {
		uint8_t bits[MAP_BITS_BYTES] = { 0 };
		uint64_t first = (uint64_t)k->staged[i] * OWNER_CHUNK;

		for (unsigned b = 0; b < OWNER_CHUNK && first + b < k->owner->blocks; b++)
			if (owner_get(k->owner, first + b) == OWNER_SELF) bits[b / 8] |= (uint8_t)(1u << b % 8);
		map_sector(k->sectors + (size_t)i * MAP_SECTOR, bits, l->disk->desc->id, k->staged[i]);
	}
	return 0;
}

/* Worker: the data are synced; now the map. */
static int map_work(struct iof_layer *l, struct iof_req *r)
{
	struct link *k = iof_state(l);
	int rc = 0;

	(void)r;
	for (uint32_t i = 0, n; i < k->nstaged && rc == 0; i += n) {
		for (n = 1; i + n < k->nstaged && k->staged[i + n] == k->staged[i] + n; n++) continue;
		rc = side_write(k->map, k->sectors + (size_t)i * MAP_SECTOR, (size_t)n * MAP_SECTOR, map_sector_off(k->staged[i]));
	}
	return rc == 0 ? side_sync(k->map) : rc;
}

static void flush_run(struct iof_layer *l, struct iof_req *r);

static void flush_end(struct iof_layer *l, struct iof_req *r)
{
	struct link *k = iof_state(l);
	int rc = r->result;
	struct iof_req *b, *next;

	if (rc < 0)
		for (uint32_t i = 0; i < k->nstaged; i++) sector_dirty(k, k->staged[i]);
	k->nstaged = 0;
	pthread_mutex_lock(&k->lock);
	b = k->batch;
	next = k->waiting;
	k->batch = next ? next->link : NULL;
	k->waiting = NULL;
	k->flushing = next;
	pthread_mutex_unlock(&k->lock);
	if (next) iof->resume(l, next, flush_run);
	while (b) {
		struct iof_req *more = b->link;

		iof->complete_from(b, rc);
		b = more;
	}
	r->done(r, rc);
}

static void flush_data_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	struct iof_layer *l = (struct iof_layer *)c->data[0];
	struct link *k = iof_state(l);

	iof_free(c);
	r->result = result;
	if (result < 0 || k->nstaged == 0) flush_end(l, r);
	else iof->work(l, r, map_work, flush_end);
}

static void flush_data(struct iof_layer *l, struct iof_req *r)
{
	struct iof_req *c = r->result < 0 ? NULL : iof_child(l, r);

	if (!c) {
		if (r->result == 0) r->result = -ENOMEM;
		flush_end(l, r);
		return;
	}
	c->op = IOF_FLUSH;
	c->flags = 0;
	c->off = c->len = 0;
	c->done = flush_data_done;
	c->user = r;
	c->data[0] = (uintptr_t)l;
	iof_pass(l, c);
}

static void flush_run(struct iof_layer *l, struct iof_req *r)
{
	struct link *k = iof_state(l);

	r->result = 0;
	if (k->nlist) iof->work(l, r, stage_work, flush_data);
	else flush_data(l, r);
}

/* r: any request of this layer that is to be completed once everything is on disk. */
static void link_flush(struct iof_layer *l, struct iof_req *r)
{
	struct link *k = iof_state(l);
	bool wait;

	if (l->disk->read_only) {
		r->done(r, 0);
		return;
	}
	pthread_mutex_lock(&k->lock);
	wait = k->flushing;
	if (wait) {
		r->link = k->waiting;
		k->waiting = r;
	}
	k->flushing = true;
	pthread_mutex_unlock(&k->lock);
	if (!wait) flush_run(l, r);
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
	for (uint64_t s = first / OWNER_CHUNK; s <= (first + n - 1) / OWNER_CHUNK; s++) sector_dirty(k, s);
	if (r->flags & BH_DISK_FUA) link_flush(l, r);
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
	.open = link_open, .close = link_close, .resized = link_resized, .read = link_read, .write = link_write, .flush = link_flush,
	.discard = link_write, .write_zeroes = link_write, .extents = link_extents,
};
