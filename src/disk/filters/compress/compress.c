// SPDX-License-Identifier: Apache-2.0
// Compression by clusters. Each cluster is written to a new place in units of 4 KiB and a table says where it lies; the
// old place may be used again once a flush has made the new table durable (meta.h, space.h). So a crash finds each
// cluster as of the last flush or later, never half of one.
//
// A table entry: unit number (40 bits), units (8), codec (4), change counter (12); 0: a hole. Reads do not lock: if the
// entry has changed when the data are there, they are read again.
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "disk/filters/compress/codec.h"
#include "disk/filters/compress/space.h"
#include "disk/meta.h"

#define ENTRIES (MAP_BITS_BYTES / 8)      // of one table sector
#define CLUSTER_DEFAULT (64u << 10)
#define FLUSHES_FOR_ROOM 16             // before a write fails; others may take the room that each of them makes

struct compress {
	struct meta meta;
	struct space space;
	uint32_t cluster;
	unsigned shift;
	enum codec codec;
	int level;
	uint64_t clusters, clusters_max;
	_Atomic uint64_t *table;
};

static uint64_t e_unit(uint64_t v) { return v >> 24; }
static uint32_t e_units(uint64_t v) { return v >> 16 & 0xff; }
static enum codec e_codec(uint64_t v) { return (enum codec)(v >> 12 & 0xf); }

static uint64_t entry(uint64_t unit, uint32_t units, enum codec codec, uint64_t old)
{
	return unit << 24 | (uint64_t)units << 16 | (uint64_t)codec << 12 | ((old + 1) & 0xfff);
}

static const struct iof_setting settings[] = {
	{ "algorithm", "zstd (the default) or lz4" }, { "level", "zstd 1 to 19 (1); lz4 acceleration" },
	{ "cluster", "bytes compressed together, 16K to 512K (64K); not changed later" }, { NULL, NULL },
};

static int read_settings(struct compress *x, const struct iof_settings *s, struct err *e)
{
	const char *a = iof->setting(s, "algorithm");
	uint64_t cluster = 0, level = 0;
	int rc = iof->setting_size(s, "cluster", CLUSTER_DEFAULT, &cluster, e);

	if (rc == 0) rc = iof->setting_size(s, "level", 1, &level, e);
	if (rc < 0) return rc;
	if (cluster < 16384 || cluster > (512u << 10) || (cluster & (cluster - 1)))
		return iof->error(e, EINVAL, "setting 'cluster' is not a power of two from 16K to 512K");
	if (level < 1 || level > 19) return iof->error(e, EINVAL, "setting 'level' is not from 1 to 19");
	if (a && strcmp(a, "zstd") && strcmp(a, "lz4")) return iof->error(e, EINVAL, "setting 'algorithm' is '%s', not zstd or lz4", a);
	x->codec = a && !strcmp(a, "lz4") ? CODEC_LZ4 : CODEC_ZSTD;
	x->level = (int)level;
	x->cluster = (uint32_t)cluster;
	x->shift = (unsigned)__builtin_ctz(x->cluster);
	return 0;
}

static int compress_attach(struct iof_settings *s, const char *path, struct err *e)
{
	struct compress x;

	(void)path;
	return read_settings(&x, s, e);
}

/* ---- open ---- */

static int load_sector(void *user, uint64_t index, const uint8_t *payload)
{
	struct compress *x = user;

	for (unsigned i = 0; i < ENTRIES && index * ENTRIES + i < x->clusters; i++) {
		uint64_t v;

		memcpy(&v, payload + i * 8, 8);
		if (!e_units(v)) continue;
		if (e_codec(v) > CODEC_LZ4 || e_units(v) > x->cluster / UNIT || space_use(&x->space, e_unit(v), e_units(v)) < 0) return -EBADMSG;
		x->table[index * ENTRIES + i] = v;
	}
	return 0;
}

static void sector_now(struct iof_layer *l, uint64_t index, uint8_t payload[MAP_BITS_BYTES])
{
	struct compress *x = iof_state(l);

	for (unsigned i = 0; i < ENTRIES && index * ENTRIES + i < x->clusters_max; i++) {
		uint64_t v = x->table[index * ENTRIES + i];

		memcpy(payload + i * 8, &v, 8);
	}
}

static void staged(struct iof_layer *l) { space_stage(&((struct compress *)iof_state(l))->space); }
static void finish(struct iof_layer *l, struct iof_req *r);

static const struct meta_ops table_ops = { .sector = sector_now, .staged = staged, .finish = finish };

static void compress_free(struct compress *x)
{
	meta_fini(&x->meta);
	space_fini(&x->space);
	if (x->table) munmap((void *)x->table, x->clusters_max * 8 + 8);
	free(x);
}

/* Old and new side by side: up to twice the disk. */
static uint64_t units_for(const struct compress *x) { return x->clusters * (x->cluster / UNIT) * 2 + 1024; }

static int open_into(struct iof_layer *l, struct compress *x, const struct iof_settings *s, struct err *e)
{
	char magic[16] = { 0 };
	void *p;
	int rc = read_settings(x, s, e);

	if (rc < 0) return rc;
	x->clusters = (iof_size(l) + x->cluster - 1) >> x->shift;
	x->clusters_max = (64ull << 40) >> x->shift;
	p = mmap(NULL, x->clusters_max * 8 + 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p != MAP_FAILED) x->table = p;
	if (!x->table || space_init(&x->space, units_for(x), x->clusters_max * (x->cluster / UNIT) * 3) < 0) return iof->error(e, ENOMEM, "no memory for the table of clusters");
	rc = meta_init(&x->meta, &table_ops, x->clusters_max / ENTRIES + 1, e);
	if (rc == 0) rc = iof->file_open(l, "compress", &x->meta.file, e);
	if (rc < 0) return rc;
	rc = iof->file_read(x->meta.file, magic, sizeof(magic), 0);
	if (rc < 0) return iof->error(e, -rc, "cannot read the table of clusters");
	if (!magic[0]) return iof->read_only(l) ? 0 : map_create(x->meta.file, iof->disk_id(l), x->cluster, e);
	rc = map_check(x->meta.file, iof->disk_id(l), x->cluster, e);
	return rc < 0 ? rc : map_load(x->meta.file, iof->disk_id(l), (x->clusters + ENTRIES - 1) / ENTRIES, load_sector, NULL, x, e);
}

static int compress_open(struct iof_layer *l, const struct iof_settings *s, void **state, uint32_t *align, struct err *e)
{
	struct compress *x = calloc(1, sizeof(*x));
	int rc;

	if (!x) return iof->error(e, ENOMEM, "no memory");
	rc = open_into(l, x, s, e);
	if (rc < 0) {
		compress_free(x);
		return rc;
	}
	*state = x;
	*align = x->cluster;
	return 0;
}

static int compress_close(struct iof_layer *l, struct err *e)
{
	struct compress *x = iof_state(l);
	int rc = meta_is_dirty(&x->meta) ? iof->error(e, EIO, "clusters written since the last flush could not be recorded") : 0;

	compress_free(x);
	return rc;
}

static int compress_queue_open(struct iof_layer *l, void **qs, struct err *e)
{
	(void)l;
	*qs = codec_new();
	return *qs ? 0 : iof->error(e, ENOMEM, "no memory");
}

static void compress_queue_close(struct iof_layer *l, void *qs)
{
	(void)l;
	codec_free(qs);
}

/* ---- parts: a request is cut into one piece per cluster ---- */

static void part_end(struct iof_req *r, int result)
{
	if (result < 0 && r->result == 0) r->result = result;
	if (--r->progress == 0) r->done(r, r->result);
}

/* Child for [off, off + len) of r: data[0] layer, data[1] buffer below, data[2] entry, data[3] its byte length. */
static struct iof_req *part(struct iof_layer *l, struct iof_req *r, uint64_t off, uint64_t len)
{
	struct iof_req *c = iof_child(l, r);

	if (!c) return NULL;
	iof_part(c, r, off, len);
	c->user = r;
	c->data[0] = (uintptr_t)l;
	return c;
}

static void each_cluster(struct iof_layer *l, struct iof_req *r, void (*fn)(struct iof_layer *, struct iof_req *, uint64_t, uint64_t))
{
	struct compress *x = iof_state(l);
	uint64_t end = r->off + r->len, next;

	r->result = 0;
	r->progress = 1;
	for (uint64_t at = r->off; at < end; at = next) {
		next = ((at >> x->shift) + 1) << x->shift;
		if (next > end) next = end;
		r->progress++;
		fn(l, r, at, next - at);
	}
	part_end(r, 0);
}

/* ---- reads ---- */

static void read_part(struct iof_layer *l, struct iof_req *r, uint64_t off, uint64_t len);

static int unpack(struct iof_layer *l, struct iof_req *r, uint64_t off, uint64_t len, uint64_t v, const unsigned char *stored)
{
	struct compress *x = iof_state(l);
	uint32_t packed;
	unsigned char *plain;
	int rc;

	memcpy(&packed, stored, 4);
	if (packed > e_units(v) * UNIT - 4) return -EIO;
	plain = iof->buf_get(r->queue, x->cluster);
	if (!plain) return -ENOMEM;
	rc = codec_unpack(iof->queue_state(l, r->queue), e_codec(v), stored + 4, packed, plain, x->cluster);
	if (rc == 0) iof_copy(r, off - r->off, plain + (off & (x->cluster - 1)), (size_t)len, true);
	iof->buf_put(r->queue, plain, x->cluster);
	return rc;
}

static void read_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	struct iof_layer *l = (struct iof_layer *)c->data[0];
	struct compress *x = iof_state(l);
	uint64_t off = c->data[3], v = c->data[2], len = ((off >> x->shift) + 1) << x->shift;
	unsigned char *buf = (unsigned char *)c->data[1];
	bool moved = x->table[off >> x->shift] != v;

	len = (len < r->off + r->len ? len : r->off + r->len) - off;
	if (!moved && result == 0 && buf) result = unpack(l, r, off, len, v, buf);
	if (!moved && result == -EIO && buf) iof->log(l, "cluster at %llu cannot be read or unpacked", (unsigned long long)off);
	if (buf) iof->buf_put(r->queue, buf, (size_t)e_units(v) * UNIT);
	iof_free(c);
	if (moved) read_part(l, r, off, len);
	else part_end(r, result);
}

static void read_part(struct iof_layer *l, struct iof_req *r, uint64_t off, uint64_t len)
{
	struct compress *x = iof_state(l);
	uint64_t v = x->table[off >> x->shift];
	struct iof_req *c;

	if (!e_units(v)) {
		iof_copy(r, off - r->off, NULL, (size_t)len, true);
		part_end(r, 0);
		return;
	}
	c = part(l, r, off, len);
	if (!c) {
		part_end(r, -ENOMEM);
		return;
	}
	c->data[2] = v;
	c->data[3] = off;
	c->done = read_done;
	if (e_codec(v) == CODEC_NONE) {   // only what is asked for
		c->off = e_unit(v) * UNIT + (off & (x->cluster - 1));
	} else {
		c->data[1] = (uintptr_t)iof->buf_get(r->queue, (size_t)e_units(v) * UNIT);
		if (!c->data[1]) {
			iof_free(c);
			part_end(r, -ENOMEM);
			return;
		}
		c->off = e_unit(v) * UNIT;
		c->len = (uint64_t)e_units(v) * UNIT;
		iof_use_buf(c, (void *)c->data[1]);
	}
	iof_pass(l, c);
}

static void compress_read(struct iof_layer *l, struct iof_req *r) { each_cluster(l, r, read_part); }

/* ---- writes: whole clusters, never two of one at a time (the align layer sees to both) ---- */

/* The new place of a cluster takes effect. */
static int replace(struct iof_layer *l, uint64_t cluster, uint64_t v)
{
	struct compress *x = iof_state(l);
	uint64_t old = atomic_exchange(&x->table[cluster], v);

	meta_dirty(&x->meta, cluster / ENTRIES);
	return e_units(old) ? space_give_up(&x->space, e_unit(old), e_units(old)) : 0;
}

static void write_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	struct iof_layer *l = (struct iof_layer *)c->data[0];
	struct compress *x = iof_state(l);
	uint64_t v = c->data[2];

	if (result < 0) space_undo(&x->space, e_unit(v), e_units(v));
	else replace(l, c->data[3] >> x->shift, v);
	if (c->data[1]) iof->buf_put(r->queue, (void *)c->data[1], x->cluster);
	iof_free(c);
	part_end(r, result);
}

static bool all_zero(const unsigned char *p, size_t len) { return p[0] == 0 && !memcmp(p, p + 1, len - 1); }

static void write_try(struct iof_layer *l, struct iof_req *r, uint64_t off, uint64_t len, unsigned flushes);

static void made_room(struct iof_req *f, int result)
{
	struct iof_req *r = f->user;
	struct iof_layer *l = (struct iof_layer *)f->data[0];
	uint64_t off = f->data[1], len = f->data[2], flushes = f->data[3];

	iof_free(f);
	if (result < 0) part_end(r, result);
	else write_try(l, r, off, len, (unsigned)flushes + 1);
}

/* Every place is taken, most by clusters written anew since the last flush: a flush of our own gives those back. */
static void make_room(struct iof_layer *l, struct iof_req *r, uint64_t off, uint64_t len, unsigned flushes)
{
	struct iof_req *f = flushes < FLUSHES_FOR_ROOM ? iof_child(l, r) : NULL;

	if (!f) {
		part_end(r, -ENOSPC);
		return;
	}
	f->op = IOF_FLUSH;
	f->flags = 0;
	f->off = f->len = 0;
	f->iovcnt = 0;
	f->done = made_room;
	f->user = r;
	f->data[0] = (uintptr_t)l;
	f->data[1] = off;
	f->data[2] = len;
	f->data[3] = flushes;
	meta_flush(l, f);
}

static void write_try(struct iof_layer *l, struct iof_req *r, uint64_t off, uint64_t len, unsigned flushes)
{
	struct compress *x = iof_state(l);
	struct iof_req *c = part(l, r, off, len);
	unsigned char *out = c ? iof->buf_get(r->queue, x->cluster) : NULL, *gathered = NULL;
	const unsigned char *in = c ? iof_contiguous(c) : NULL;
	size_t packed;
	uint32_t units;
	int64_t unit;

	if (out && !in) {
		gathered = iof->buf_get(r->queue, x->cluster);
		if (gathered) iof_copy(c, 0, gathered, x->cluster, false);
		in = gathered;
	}
	if (!out || !in) {
		if (out) iof->buf_put(r->queue, out, x->cluster);
		if (c) iof_free(c);
		part_end(r, -ENOMEM);
		return;
	}
	if (all_zero(in, x->cluster)) {
		if (x->table[off >> x->shift]) replace(l, off >> x->shift, 0);
		iof->buf_put(r->queue, out, x->cluster);
		if (gathered) iof->buf_put(r->queue, gathered, x->cluster);
		iof_free(c);
		part_end(r, 0);
		return;
	}
	packed = codec_pack(iof->queue_state(l, r->queue), x->codec, x->level, in, x->cluster, out + 4, x->cluster - UNIT - 4);
	units = packed ? (uint32_t)(packed + 4 + UNIT - 1) / UNIT : x->cluster / UNIT;
	if (packed) {
		uint32_t n = (uint32_t)packed;

		memcpy(out, &n, 4);
		memset(out + 4 + packed, 0, units * UNIT - 4 - packed);
	} else if (gathered) {   // as it is
		memcpy(out, gathered, x->cluster);
	}
	if (gathered) iof->buf_put(r->queue, gathered, x->cluster);
	unit = space_take(&x->space, units);
	c->data[1] = (uintptr_t)out;
	if (unit < 0) {
		iof->buf_put(r->queue, out, x->cluster);
		iof_free(c);
		make_room(l, r, off, len, flushes);
		return;
	}
	c->data[2] = entry((uint64_t)unit, units, packed ? x->codec : CODEC_NONE, x->table[off >> x->shift]);
	c->data[3] = off;
	c->off = (uint64_t)unit * UNIT;
	c->len = (uint64_t)units * UNIT;
	c->done = write_done;
	c->flags &= ~BH_DISK_FUA;   // the flush after it makes it durable
	if (packed || gathered) iof_use_buf(c, out);
	iof_pass(l, c);
}

static void write_part(struct iof_layer *l, struct iof_req *r, uint64_t off, uint64_t len) { write_try(l, r, off, len, 0); }

/* With FUA the request is a token that flushes once its parts are written. */
static void fua_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	struct iof_layer *l = (struct iof_layer *)c->data[0];

	iof_free(c);
	if (result < 0) r->done(r, result);
	else meta_flush(l, r);
}

static void fua(struct iof_layer *l, struct iof_req *r, void (*fn)(struct iof_layer *, struct iof_req *, uint64_t, uint64_t))
{
	struct iof_req *c = iof_child(l, r);

	if (!c) {
		r->done(r, -ENOMEM);
		return;
	}
	c->flags &= ~BH_DISK_FUA;
	c->done = fua_done;
	c->user = r;
	c->data[0] = (uintptr_t)l;
	each_cluster(l, c, fn);
}

static void compress_write(struct iof_layer *l, struct iof_req *r)
{
	if (r->flags & BH_DISK_FUA) fua(l, r, write_part);
	else each_cluster(l, r, write_part);
}

static void zero_part(struct iof_layer *l, struct iof_req *r, uint64_t off, uint64_t len)
{
	struct compress *x = iof_state(l);

	(void)len;
	if (x->table[off >> x->shift]) replace(l, off >> x->shift, 0);
	part_end(r, 0);
}

static void compress_zero(struct iof_layer *l, struct iof_req *r)
{
	if (r->flags & BH_DISK_FUA) fua(l, r, zero_part);
	else each_cluster(l, r, zero_part);
}

/* ---- the end of a flush: places that nothing points to any more are given back, then may be used again ---- */

static void discarded(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	struct iof_layer *l = (struct iof_layer *)c->data[0];
	struct compress *x = iof_state(l);

	(void)result;   // space that cannot be given back is only not given back
	iof_free(c);
	if (--r->progress) return;
	space_staged_end(&x->space, 1);
	meta_end(l, r);
}

static void finish(struct iof_layer *l, struct iof_req *r)
{
	struct compress *x = iof_state(l);
	struct iof_req *c;

	if (r->result < 0 || !x->space.nstaged) {
		space_staged_end(&x->space, r->result == 0);
		meta_end(l, r);
		return;
	}
	r->progress = 1;
	for (size_t i = 0; i < x->space.nstaged; i++) {
		c = iof_child(l, r);
		if (!c) break;
		c->op = IOF_DISCARD;
		c->flags = 0;
		c->off = x->space.staged[i].first * UNIT;
		c->len = (uint64_t)x->space.staged[i].n * UNIT;
		c->iovcnt = 0;
		c->done = discarded;
		c->user = r;
		c->data[0] = (uintptr_t)l;
		r->progress++;
		iof_pass(l, c);
	}
	if (--r->progress) return;
	space_staged_end(&x->space, 1);
	meta_end(l, r);
}

static void compress_extents(struct iof_layer *l, struct iof_req *r)
{
	struct compress *x = iof_state(l);
	uint64_t c = r->off >> x->shift, last = (r->off + r->len - 1) >> x->shift, end;
	bool hole = !e_units(x->table[c]);

	while (c < last && !e_units(x->table[c + 1]) == hole) c++;
	end = (c + 1) << x->shift;
	*r->extent = (struct bh_disk_extent){ .len = (end < r->off + r->len ? end : r->off + r->len) - r->off,
					      .type = hole ? BH_DISK_HOLE : BH_DISK_DATA };
	r->done(r, 0);
}

static void compress_stats(struct iof_layer *l, void (*emit)(void *, const char *, uint64_t), void *user)
{
	struct compress *x = iof_state(l);

	emit(user, "units_used", x->space.nused);
	emit(user, "unit_bytes", UNIT);
}

static int compress_resized(struct iof_layer *l, struct err *e)
{
	struct compress *x = iof_state(l);
	uint64_t clusters = (iof_size(l) + x->cluster - 1) >> x->shift;

	(void)e;
	for (uint64_t c = clusters; c < x->clusters; c++)
		if (x->table[c]) replace(l, c, 0);
	x->clusters = clusters;
	x->space.units = units_for(x);
	return 0;
}

static int compress_set(struct iof_layer *l, const struct iof_settings *s, struct err *e)
{
	struct compress *x = iof_state(l), n;
	int rc = read_settings(&n, s, e);

	if (rc < 0) return rc;
	if (n.cluster != x->cluster) return iof->error(e, EINVAL, "setting 'cluster' cannot be changed");
	x->codec = n.codec;
	x->level = n.level;
	return 0;
}

const struct iof_filter compress_filter = {
	.abi = IOF_ABI_VERSION, .size = sizeof(struct iof_filter), .name = "compress", .summary = "zstd or lz4",
	.order = IOF_CLASS_COMPRESS, .flags = IOF_CHANGES_DATA | IOF_SERIAL_WRITE, .settings = settings, .attach = compress_attach,
	.open = compress_open, .close = compress_close, .queue_open = compress_queue_open, .queue_close = compress_queue_close,
	.reconfigure = compress_set, .resized = compress_resized, .read = compress_read, .write = compress_write, .flush = meta_flush, .discard = compress_zero,
	.write_zeroes = compress_zero, .extents = compress_extents, .stats = compress_stats,
};
