// SPDX-License-Identifier: Apache-2.0
// A cache in a local file: of reads, for disks whose data lie far away, shared by all clones of a base (the filter is
// attached to the base); and, with mode=writeback, of writes, in a journal of this disk's own beside it.
#include <errno.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "disk/crc32c.h"
#include "disk/filters/cache/cache.h"

#define BLOCKS_MAX 256u          // of one request (1 MiB)
#define FORGET_MAX (64ull << 20)

struct cache {
	struct slots *slots;
	struct journal *journal;     // NULL: reads only
	_Atomic uint64_t key;        // changes only for a disk that is written
	_Atomic uint64_t writes;     // begun or ended: what was read meanwhile is not kept
	_Atomic uint64_t hits, misses;
};

static const struct iof_setting settings[] = {
	{ "path", "the cache file" }, { "size", "its size when it is made (1G)" },
	{ "mode", "read (the default) or writeback" }, { "journal", "writeback: size of the journal (64M)" }, { NULL, NULL },
};

/* What the disk's blocks are known by. A disk that can change is somebody else each time it is opened. */
static uint64_t key_of(struct iof_layer *l)
{
	const char *id = iof->disk_id(l);
	struct timespec t = { .tv_sec = 0 };
	uint64_t key = (uint64_t)crc32c(0, id, strlen(id)) << 32 | crc32c(0x9e3779b9u, id, strlen(id));

	if (!iof->read_only(l)) clock_gettime(CLOCK_REALTIME, &t);
	return key + iof->content_version(l) * 0x9e3779b97f4a7c15ull + (uint64_t)t.tv_sec * 1000000007u + (uint64_t)t.tv_nsec;
}

static int cache_attach(struct iof_settings *s, const char *path, struct err *e)
{
	const char *mode = iof->setting(s, "mode");

	(void)path;
	if (!iof->setting(s, "path")) return err_set(e, EINVAL, "setting 'path' is missing");
	if (mode && strcmp(mode, "read") && strcmp(mode, "writeback")) return err_set(e, EINVAL, "setting 'mode' is '%s', not read or writeback", mode);
	return 0;
}

static int cache_open(struct iof_layer *l, const struct iof_settings *s, void **state, uint32_t *align, struct err *e)
{
	struct cache *x = calloc(1, sizeof(*x));
	const char *path = iof->setting(s, "path"), *mode = iof->setting(s, "mode");
	uint64_t size = 0, log = 0;
	char name[4096];
	int rc = cache_attach((struct iof_settings *)s, NULL, e);

	if (rc == 0 && !x) rc = err_set(e, ENOMEM, "no memory");
	if (rc == 0) rc = iof->setting_size(s, "size", 1ull << 30, &size, e);
	if (rc == 0) rc = iof->setting_size(s, "journal", 64ull << 20, &log, e);
	if (rc == 0 && (log < (4u << 20) || log > 1ull << 40)) rc = err_set(e, EINVAL, "setting 'journal' is not from 4M to 1T");
	if (rc == 0) rc = slots_open(path, size, &x->slots, e);
	*state = x;
	if (rc == 0 && mode && !strcmp(mode, "writeback")) {
		if (snprintf(name, sizeof(name), "%s.%s", path, iof->disk_id(l)) >= (int)sizeof(name)) rc = err_set(e, ENAMETOOLONG, "the path is too long");
		else rc = journal_open(l, name, log, &x->journal, e);
	}
	if (rc < 0) {
		if (x) slots_close(x->slots);
		free(x);
		return rc;
	}
	x->key = key_of(l);
	*align = CACHE_BLOCK;
	return 0;
}

static int cache_close(struct iof_layer *l, struct err *e)
{
	struct cache *x = iof_state(l);
	int rc = x->journal ? journal_close(x->journal) : 0;

	if (rc < 0) err_sys(e, -rc, "what is in the journal could not be written below; it stays there");
	slots_close(x->slots);
	free(x);
	return rc;
}

static int cache_detach(struct iof_layer *l, struct err *e)
{
	struct cache *x = iof_state(l);
	int rc = x->journal ? journal_drain(x->journal) : 0;

	return rc < 0 ? err_sys(e, -rc, "what is in the journal cannot be written below") : 0;
}

/* ---- reads ---- */

static void end(struct iof_layer *l, struct iof_req *r)
{
	(void)l;
	r->done(r, r->result);
}

/* Everything from the cache? 0, -ENOENT (some is missing), -EAGAIN (would block). */
static int from_slots(struct cache *x, struct iof_req *r, bool nowait)
{
	for (uint64_t i = 0; i < r->len; i += CACHE_BLOCK)
		if (!slots_has(x->slots, x->key, (r->off + i) / CACHE_BLOCK)) return -ENOENT;
	for (uint64_t i = 0; i < r->len; i += CACHE_BLOCK) {
		char tmp[CACHE_BLOCK];
		int rc = slots_get(x->slots, x->key, (r->off + i) / CACHE_BLOCK, tmp, nowait);

		if (rc < 0) return rc;
		iof_copy(r, i, tmp, CACHE_BLOCK, true);
	}
	atomic_fetch_add_explicit(&x->hits, 1, memory_order_relaxed);
	return 0;
}

static int fill_work(struct iof_layer *l, struct iof_req *r)
{
	struct cache *x = iof_state(l);
	char tmp[CACHE_BLOCK];

	for (uint64_t i = 0; i < r->len; i += CACHE_BLOCK) {
		iof_copy(r, i, tmp, CACHE_BLOCK, false);
		slots_put(x->slots, x->key, (r->off + i) / CACHE_BLOCK, tmp);
		if (atomic_load(&x->writes) != r->when) slots_drop(x->slots, x->key, (r->off + i) / CACHE_BLOCK);
	}
	return 0;
}

static void below_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	struct iof_layer *l = (struct iof_layer *)c->data[0];
	struct cache *x = iof_state(l);

	r->when = c->data[1];
	iof_free(c);
	if (result < 0 || atomic_load(&x->writes) != r->when) r->done(r, result);
	else iof->work(l, r, fill_work, end);
}

static struct iof_req *child(struct iof_layer *l, struct iof_req *r, void (*done)(struct iof_req *, int))
{
	struct iof_req *c = iof_child(l, r);

	if (!c) {
		r->done(r, -ENOMEM);
		return NULL;
	}
	c->done = done;
	c->user = r;
	c->data[0] = (uintptr_t)l;
	return c;
}

static void read_below(struct iof_layer *l, struct iof_req *r)
{
	struct cache *x = iof_state(l);
	struct iof_req *c = child(l, r, below_done);

	if (!c) return;
	atomic_fetch_add_explicit(&x->misses, 1, memory_order_relaxed);
	c->data[1] = atomic_load(&x->writes);
	iof_pass(l, c);
}

static int slots_work(struct iof_layer *l, struct iof_req *r) { return from_slots(iof_state(l), r, false); }

static void slots_end(struct iof_layer *l, struct iof_req *r)
{
	if (r->result < 0) read_below(l, r);
	else r->done(r, 0);
}

/* Some blocks are in the journal. They are copied from there first, then the layers below are read, then the copies go
 * over that: a block that is moved below in the meantime has been seen. */
struct snapshot { uint64_t have[BLOCKS_MAX / 64 + 2]; char data[]; };

static int snapshot_work(struct iof_layer *l, struct iof_req *c)
{
	struct cache *x = iof_state(l);
	struct snapshot *s = calloc(1, sizeof(*s) + c->len);
	int rc = s ? journal_read(x->journal, c->off, c->len, s->data, s->have) : -ENOMEM;

	c->data[1] = (uintptr_t)s;
	for (uint64_t i = 0; i < c->len / CACHE_BLOCK && rc == 0; i++)
		if (!(s->have[i / 64] >> i % 64 & 1)) rc = -ENOENT;
	return rc;
}

static void mixed_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	struct snapshot *s = (struct snapshot *)c->data[1];

	for (uint64_t i = 0; i < r->len / CACHE_BLOCK && result == 0; i++)
		if (s->have[i / 64] >> i % 64 & 1) iof_copy(r, i * CACHE_BLOCK, s->data + i * CACHE_BLOCK, CACHE_BLOCK, true);
	free(s);
	iof_free(c);
	r->done(r, result);
}

static void snapshot_end(struct iof_layer *l, struct iof_req *c)
{
	if (c->result == -ENOENT) iof_pass(l, c);
	else mixed_done(c, c->result);
}

static void drain_retry(struct iof_layer *l, struct iof_req *r);

/* Goes on by then once the journal is empty. */
static void drained(struct iof_layer *l, struct iof_req *r)
{
	struct cache *x = iof_state(l);
	int rc = journal_try_drain(x->journal);

	if (rc == -EAGAIN) iof->after(l, r, 1000000, drained);
	else if (rc < 0) r->done(r, rc);
	else drain_retry(l, r);
}

static void cache_read(struct iof_layer *l, struct iof_req *r)
{
	struct cache *x = iof_state(l);
	int rc;

	if (x->journal && journal_touches(x->journal, r->off, r->len)) {
		struct iof_req *c = r->len > BLOCKS_MAX * CACHE_BLOCK ? NULL : child(l, r, mixed_done);

		if (r->len > BLOCKS_MAX * CACHE_BLOCK) drained(l, r);
		else if (c) iof->work(l, c, snapshot_work, snapshot_end);
		return;
	}
	rc = from_slots(x, r, true);
	if (rc == 0) r->done(r, 0);
	else if (rc == -EAGAIN) iof->work(l, r, slots_work, slots_end);
	else read_below(l, r);
}

/* ---- writes ---- */

static void forget(struct cache *x, const struct iof_req *r)
{
	atomic_fetch_add(&x->writes, 1);
	if (r->len > FORGET_MAX) {
		atomic_fetch_add(&x->key, 0x9e3779b97f4a7c15ull);   // all of it: quicker than one by one
		return;
	}
	for (uint64_t i = 0; i < r->len; i += CACHE_BLOCK) slots_drop(x->slots, x->key, (r->off + i) / CACHE_BLOCK);
}

static void write_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	struct cache *x = iof_state((struct iof_layer *)c->data[0]);

	forget(x, r);
	iof_free(c);
	r->done(r, result);
}

static void write_below(struct iof_layer *l, struct iof_req *r)
{
	struct iof_req *c = child(l, r, write_done);

	if (c) iof_pass(l, c);
}

static void write_again(struct iof_layer *l, struct iof_req *r);

static int write_work(struct iof_layer *l, struct iof_req *r)
{
	struct cache *x = iof_state(l);
	int rc = journal_write(x->journal, r);

	forget(x, r);
	return rc == 0 && (r->flags & BH_DISK_FUA) ? journal_sync(x->journal) : rc;
}

static void write_end(struct iof_layer *l, struct iof_req *r)
{
	if (r->result == -EAGAIN) iof->after(l, r, 1000000, write_again);
	else r->done(r, r->result);
}

static void write_again(struct iof_layer *l, struct iof_req *r) { iof->work(l, r, write_work, write_end); }

/* The journal was empty a moment ago, and writes of these blocks wait for this one. */
static void drain_retry(struct iof_layer *l, struct iof_req *r)
{
	if (r->op == IOF_READ) iof_pass(l, r);
	else write_below(l, r);
}

static void cache_write(struct iof_layer *l, struct iof_req *r)
{
	struct cache *x = iof_state(l);

	forget(x, r);
	if (!x->journal) write_below(l, r);
	else if (r->len <= BLOCKS_MAX * CACHE_BLOCK) write_again(l, r);
	else drained(l, r);
}

static int sync_work(struct iof_layer *l, struct iof_req *r)
{
	(void)r;
	return journal_sync(((struct cache *)iof_state(l))->journal);
}

static void synced(struct iof_layer *l, struct iof_req *r)
{
	if (r->result < 0) r->done(r, r->result);
	else iof_pass(l, r);   // long writes and zeroes went past the journal
}

static void cache_flush(struct iof_layer *l, struct iof_req *r)
{
	struct cache *x = iof_state(l);

	if (x->journal) iof->work(l, r, sync_work, synced);
	else iof_pass(l, r);
}

static void cache_extents(struct iof_layer *l, struct iof_req *r)
{
	struct cache *x = iof_state(l);

	if (x->journal && journal_pending(x->journal)) {   // not worth asking
		*r->extent = (struct bh_disk_extent){ .len = r->len, .type = BH_DISK_DATA };
		r->done(r, 0);
	} else {
		iof_pass(l, r);
	}
}

static int cache_resized(struct iof_layer *l, struct err *e)
{
	struct cache *x = iof_state(l);

	x->key = key_of(l);   // what lay behind a smaller size is not to be found again
	return x->journal ? err_set(e, EBUSY, "a disk with a write-back cache cannot change its size; detach filter '%s' first", iof->name(l)) : 0;
}

static void cache_stats(struct iof_layer *l, void (*emit)(void *, const char *, uint64_t), void *user)
{
	struct cache *x = iof_state(l);

	emit(user, "hits", x->hits);
	emit(user, "misses", x->misses);
	if (x->journal) emit(user, "journal_bytes", journal_pending(x->journal));
}

const struct iof_filter cache_filter = {
	.abi = IOF_ABI_VERSION, .size = sizeof(struct iof_filter), .name = "cache", .summary = "keeps reads, or writes too, in a local file",
	.order = IOF_CLASS_CACHE, .flags = IOF_ALIGN_READ | IOF_SERIAL_WRITE, .settings = settings, .attach = cache_attach, .open = cache_open,
	.close = cache_close, .detach = cache_detach, .resized = cache_resized, .read = cache_read, .write = cache_write, .flush = cache_flush,
	.discard = cache_write, .write_zeroes = cache_write, .extents = cache_extents, .stats = cache_stats,
};
