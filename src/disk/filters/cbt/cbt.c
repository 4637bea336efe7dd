// SPDX-License-Identifier: Apache-2.0
// Changed blocks since named points. Each point has a bitmap of what changed between it and the next one; what changed
// since a point is the union of its own and all later bitmaps. The setting "points" lists them, oldest first: adding a
// name there makes a point, taking one away merges its bitmap into the one before. Bitmaps are saved at close; regions
// that were being written when the process died or the power went (regionlog.h) count as changed.
#include "disk/filters/cbt/cbt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "disk/regionlog.h"

#define POINTS_MAX 32
#define WORDS_MAX ((64ull << 40) / CBT_BLOCK / 64)
#define MAGIC "BULKHEAD CBT 1\n"
#define HEADER 4096u
#define PAGE_WORDS 512u

struct point { char name[32]; struct iof_file *file; _Atomic uint64_t *bits; };

struct cbt {
	struct regionlog log;
	pthread_rwlock_t lock;             // the list of points
	bool opened;                       // the points of the descriptor are in
	unsigned n;
	struct point point[POINTS_MAX];    // oldest first; the last one's bitmap is being written
};

static const struct iof_setting settings[] = {
	{ "points", "names, oldest first, separated by spaces (a point is made when its name is added)" }, { NULL, NULL },
};

static int parse_points(const struct iof_settings *s, char names[POINTS_MAX][32], unsigned *n, struct err *e)
{
	const char *t = iof->setting(s, "points");

	*n = 0;
	while (t && *t) {
		size_t k = strcspn(t, " ");

		if (k == 0) {
			t++;
			continue;
		}
		if (k > 31 || strspn(t, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") < k)
			return err_set(e, EINVAL, "'%.*s' is not a name for a point (letters, digits, '-', '_', '.', at most 31)", (int)k, t);
		if (*n == POINTS_MAX) return err_set(e, ENOSPC, "a disk has at most %d points", POINTS_MAX);
		memcpy(names[*n], t, k);
		names[(*n)++][k] = 0;
		t += k;
	}
	for (unsigned i = 0; i < *n; i++)
		for (unsigned k = i + 1; k < *n; k++)
			if (!strcmp(names[i], names[k])) return err_set(e, EEXIST, "there are two points '%s'", names[i]);
	return 0;
}

static int cbt_attach(struct iof_settings *s, const char *path, struct err *e)
{
	char names[POINTS_MAX][32];
	unsigned n;

	(void)path;
	return parse_points(s, names, &n, e);
}

static size_t words(struct iof_layer *l) { return (size_t)((iof_size(l) + CBT_BLOCK - 1) / CBT_BLOCK + 63) / 64; }

static void point_close(struct point *p)
{
	iof->file_close(p->file);
	if (p->bits) munmap((void *)p->bits, WORDS_MAX * 8);
	memset(p, 0, sizeof(*p));
}

static int point_open(struct iof_layer *l, struct point *p, const char *name, bool fresh, struct err *e)
{
	char suffix[48], header[64] = { 0 }, want[64] = MAGIC;
	void *m = mmap(NULL, WORDS_MAX * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int rc;

	memset(p, 0, sizeof(*p));
	if (m == MAP_FAILED) return err_set(e, ENOMEM, "no memory for a bitmap");
	p->bits = m;
	snprintf(p->name, sizeof(p->name), "%s", name);
	snprintf(suffix, sizeof(suffix), "cbt-%s", name);
	snprintf(want + strlen(want), sizeof(want) - strlen(want), "%s", iof->disk_id(l));
	rc = iof->file_open(l, suffix, &p->file, e);
	if (rc == 0 && fresh) {
		rc = iof->file_discard(p->file, 0, HEADER + WORDS_MAX * 8);
		if (rc == 0) rc = iof->file_write(p->file, want, sizeof(want), 0);
		if (rc == 0) rc = iof->file_sync(p->file);
		if (rc < 0) err_sys(e, -rc, "cannot write the bitmap of point '%s'", name);
	} else if (rc == 0) {
		rc = iof->file_read(p->file, header, sizeof(header), 0);
		if (rc == 0) rc = iof->file_read(p->file, m, words(l) * 8, HEADER);
		if (rc == 0 && memcmp(header, want, sizeof(want))) rc = -EBADMSG;
		if (rc < 0) err_sys(e, -rc, "cannot read the bitmap of point '%s'", name);
	}
	if (rc < 0) point_close(p);
	return rc;
}

static void mark_all(struct point *p, uint64_t off, uint64_t len)
{
	for (uint64_t b = off / CBT_BLOCK; b <= (off + len - 1) / CBT_BLOCK; b++) {
		uint64_t bit = 1ull << b % 64;

		if (!(atomic_load_explicit(&p->bits[b / 64], memory_order_relaxed) & bit)) atomic_fetch_or(&p->bits[b / 64], bit);
	}
}

static int cbt_open(struct iof_layer *l, const struct iof_settings *s, void **state, uint32_t *align, struct err *e)
{
	struct cbt *x = calloc(1, sizeof(*x));
	int rc;

	(void)s;
	(void)align;
	if (!x) return err_set(e, ENOMEM, "no memory");
	pthread_rwlock_init(&x->lock, NULL);
	*state = x;
	rc = regionlog_open(l, "cbt", false, e);
	if (rc < 0) {
		regionlog_fini(&x->log);
		free(x);
	}
	return rc;
}

static int save(struct iof_layer *l, struct point *p)
{
	size_t n = words(l);
	int rc = 0;

	for (size_t w = 0; w < n && rc == 0; w += PAGE_WORDS) {
		size_t k = n - w < PAGE_WORDS ? n - w : PAGE_WORDS;
		bool any = false;

		for (size_t i = 0; i < k; i++) any |= p->bits[w + i] != 0;
		if (any) rc = iof->file_write(p->file, (char *)p->bits + w * 8, k * 8, HEADER + w * 8);
	}
	return rc == 0 ? iof->file_sync(p->file) : rc;
}

static int find(const struct cbt *x, const char *name)
{
	for (unsigned i = 0; i < x->n; i++)
		if (!strcmp(x->point[i].name, name)) return (int)i;
	return -1;
}

static void drop(struct iof_layer *l, struct cbt *x, unsigned i)
{
	if (i > 0)
		for (size_t w = 0; w < words(l); w++) x->point[i - 1].bits[w] |= x->point[i].bits[w];
	iof->file_discard(x->point[i].file, 0, HEADER);   // a point of this name made later starts anew
	point_close(&x->point[i]);
	memmove(&x->point[i], &x->point[i + 1], (x->n - i - 1) * sizeof(x->point[0]));
	x->n--;
	memset(&x->point[x->n], 0, sizeof(x->point[0]));
}

/* The wanted list must be the present one with names left out, and new ones at its end. */
static int cbt_set(struct iof_layer *l, const struct iof_settings *s, struct err *e)
{
	struct cbt *x = iof_state(l);
	char names[POINTS_MAX][32];
	bool opening = !x->opened;
	unsigned n, at = 0;
	int rc = parse_points(s, names, &n, e);

	if (rc < 0) return rc;
	for (unsigned i = 0; i < n; i++) {
		int k = find(x, names[i]);

		if (k >= 0 && (unsigned)k < at) return err_set(e, EINVAL, "points cannot change their order ('%s')", names[i]);
		if (k >= 0) at = (unsigned)k + 1;
		else if (at != x->n && i + 1 < n && find(x, names[i + 1]) >= 0)
			return err_set(e, EINVAL, "a new point goes to the end of the list ('%s')", names[i]);
	}
	pthread_rwlock_wrlock(&x->lock);
	for (unsigned i = x->n; i-- > 0;) {
		bool keep = false;

		for (unsigned k = 0; k < n; k++) keep |= !strcmp(x->point[i].name, names[k]);
		if (!keep) drop(l, x, i);
	}
	for (unsigned k = 0; k < n && rc == 0; k++) {
		if (find(x, names[k]) >= 0) continue;
		rc = opening && !x->log.fresh ? point_open(l, &x->point[x->n], names[k], false, NULL) : -ENOENT;
		if (rc == -EBADMSG || rc == -ENOENT) {   // a new point, or one whose bitmap is lost
			rc = point_open(l, &x->point[x->n], names[k], true, e);
			if (rc == 0 && opening && !x->log.fresh) mark_all(&x->point[x->n], 0, iof_size(l));
		}
		if (rc == 0) x->n++;
	}
	if (opening && x->n)
		for (uint64_t g = 0; g < x->log.regions; g++)
			if (regionlog_found(&x->log, g)) {
				uint64_t off = g << REGION_SHIFT, left = iof_size(l) - off;

				mark_all(&x->point[x->n - 1], off, left < REGION_BYTES ? left : REGION_BYTES);
			}
	x->opened = rc == 0;
	pthread_rwlock_unlock(&x->lock);
	return rc;
}

static int cbt_close(struct iof_layer *l, struct err *e)
{
	struct cbt *x = iof_state(l);
	int rc = 0;

	for (unsigned i = 0; i < x->n && !iof->read_only(l) && rc == 0; i++) rc = save(l, &x->point[i]);
	if (!iof->read_only(l) && rc == 0) rc = regionlog_clear(&x->log);
	if (rc < 0) err_sys(e, -rc, "cannot save the bitmaps");
	for (unsigned i = 0; i < x->n; i++) point_close(&x->point[i]);
	regionlog_fini(&x->log);
	pthread_rwlock_destroy(&x->lock);
	free(x);
	return rc;
}

static int cbt_detach(struct iof_layer *l, struct err *e)
{
	struct cbt *x = iof_state(l);
	int rc = iof->read_only(l) ? 0 : regionlog_forget(&x->log);

	return rc < 0 ? err_sys(e, -rc, "cannot give up the points") : 0;
}

static int cbt_resized(struct iof_layer *l, struct err *e)
{
	struct cbt *x = iof_state(l);

	return regionlog_resize(&x->log, iof_size(l)) < 0 ? err_set(e, ENOMEM, "no memory for the log of regions") : 0;
}

static void write_go(struct iof_layer *l, struct iof_req *r)
{
	struct cbt *x = iof_state(l);

	if (r->result < 0) {
		r->done(r, r->result);
		return;
	}
	pthread_rwlock_rdlock(&x->lock);
	if (x->n) mark_all(&x->point[x->n - 1], r->off, r->len);
	pthread_rwlock_unlock(&x->lock);
	iof_pass(l, r);
}

static void cbt_write(struct iof_layer *l, struct iof_req *r)
{
	struct cbt *x = iof_state(l);

	r->result = 0;
	if (regionlog_marked(&x->log, r->off, r->len)) write_go(l, r);
	else regionlog_mark(l, r, write_go);
}

static bool bit(struct cbt *x, unsigned from, uint64_t block)
{
	for (unsigned i = from; i < x->n; i++)
		if (x->point[i].bits[block / 64] >> block % 64 & 1) return true;
	return false;
}

int cbt_changed(struct iof_layer *l, const char *point, uint64_t off, uint64_t len, uint64_t *run, bool *changed)
{
	struct cbt *x = iof_state(l);
	uint64_t b = off / CBT_BLOCK, last = (off + len - 1) / CBT_BLOCK, end;
	int i;

	pthread_rwlock_rdlock(&x->lock);
	i = find(x, point);
	if (i >= 0) {
		*changed = bit(x, (unsigned)i, b);
		while (b < last && bit(x, (unsigned)i, b + 1) == *changed) b++;
		end = (b + 1) * CBT_BLOCK;
		*run = (end < off + len ? end : off + len) - off;
	}
	pthread_rwlock_unlock(&x->lock);
	return i < 0 ? -ENOENT : 0;
}

void cbt_points(struct iof_layer *l, void (*fn)(void *user, const char *name), void *user)
{
	struct cbt *x = iof_state(l);

	pthread_rwlock_rdlock(&x->lock);
	for (unsigned i = 0; i < x->n; i++) fn(user, x->point[i].name);
	pthread_rwlock_unlock(&x->lock);
}

const struct iof_filter cbt_filter = {
	.abi = IOF_ABI_VERSION, .size = sizeof(struct iof_filter), .name = "cbt", .summary = "changed blocks since named points",
	.order = IOF_CLASS_OBSERVE, .flags = IOF_QUIET_SET, .settings = settings, .attach = cbt_attach, .open = cbt_open, .close = cbt_close, .detach = cbt_detach, .reconfigure = cbt_set,
	.resized = cbt_resized, .write = cbt_write, .discard = cbt_write, .write_zeroes = cbt_write,
};
