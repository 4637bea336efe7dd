// SPDX-License-Identifier: Apache-2.0
// A medium with a volatile cache that can lose power. What is written to the disk's data file and to the files of its
// filters stays in memory until that file is synced. At the cut each write in memory reaches its file, or a part of it
// (in sectors of 512 bytes), or nothing, by chance and independently: dropped, torn and reordered writes. From then on
// everything fails.
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bulkhead/iofilter.h>

#include "base/err.h"
#include "disk/disk_internal.h"
#include "disk/sidefile.h"

#define SECTOR 512u

struct pending { struct pending *next; uint64_t off; size_t len; bool zero; unsigned char data[]; };

struct medium {                      // one file
	struct medium *next;
	void *handle;                // of side_real; NULL: the data file
	struct pending *first, **last;
};

struct powercut {
	pthread_mutex_t lock;
	struct bh_disk *disk;
	struct medium data, *sides;
	uint64_t cut_after, steps;   // steps: writes and syncs so far
	unsigned seed;
	bool cut;
};

static const struct iof_setting settings[] = {
	{ "cut-after", "the power goes at the nth write or sync of any of the disk's files; 0 (the default): never" },
	{ "seed", "of the random numbers" }, { NULL, NULL },
};

static int file_write(struct powercut *p, struct medium *m, const void *buf, size_t len, uint64_t off)
{
	const char *b = buf;

	if (m->handle) return side_real.write(NULL, m->handle, buf, len, off);
	while (len) {
		ssize_t n = pwrite(p->disk->data_fd, b, len, (off_t)off);

		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return n < 0 ? -errno : -EIO;
		b += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int file_read(struct powercut *p, struct medium *m, void *buf, size_t len, uint64_t off)
{
	char *b = buf;

	if (m->handle) return side_real.read(NULL, m->handle, buf, len, off);
	while (len) {
		ssize_t n = pread(p->disk->data_fd, b, len, (off_t)off);

		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return -errno;
		if (n == 0) {
			memset(b, 0, len);
			return 0;
		}
		b += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int apply(struct powercut *p, struct medium *m, const struct pending *w, size_t from, size_t to)
{
	static const unsigned char zeroes[4096];
	int rc = 0;

	if (from >= to) return 0;
	if (!w->zero) return file_write(p, m, w->data + from, to - from, w->off + from);
	for (size_t at = from, n; at < to && rc == 0; at += n) {
		n = to - at < sizeof(zeroes) ? to - at : sizeof(zeroes);
		rc = file_write(p, m, zeroes, n, w->off + at);
	}
	return rc;
}

static void forget(struct medium *m)
{
	struct pending *w;

	while ((w = m->first)) {
		m->first = w->next;
		free(w);
	}
	m->last = &m->first;
}

static void lose(struct powercut *p, struct medium *m)
{
	for (const struct pending *w = m->first; w; w = w->next) {
		size_t sectors = (w->len + SECTOR - 1) / SECTOR, a = 0, b = sectors;

		switch (rand_r(&p->seed) % 4) {
		case 0: continue;                                                 // lost
		case 1: b = (size_t)rand_r(&p->seed) % (sectors + 1); break;      // its beginning
		case 2: a = (size_t)rand_r(&p->seed) % (sectors + 1); break;      // its end
		default: break;                                                   // whole
		}
		apply(p, m, w, a * SECTOR, b * SECTOR < w->len ? b * SECTOR : w->len);
	}
	forget(m);
}

/* A write or sync begins: is this the moment? */
static int step(struct powercut *p)
{
	if (p->cut) return -EIO;
	if (++p->steps != p->cut_after) return 0;
	p->cut = true;
	lose(p, &p->data);
	for (struct medium *m = p->sides; m; m = m->next) lose(p, m);
	return -EIO;
}

static int keep(struct powercut *p, struct medium *m, uint64_t off, size_t len, const struct iof_req *r, const void *buf)
{
	bool zero = !r && !buf;
	struct pending *w;
	int rc = step(p);

	if (rc < 0) return rc;
	w = malloc(sizeof(*w) + (zero ? 0 : len));
	if (!w) return -ENOMEM;
	w->next = NULL;
	w->off = off;
	w->len = len;
	w->zero = zero;
	if (r) iof_copy(r, 0, w->data, len, false);
	else if (buf) memcpy(w->data, buf, len);
	*m->last = w;
	m->last = &w->next;
	return 0;
}

static int overlaid_read(struct powercut *p, struct medium *m, void *buf, size_t len, uint64_t off)
{
	int rc = p->cut ? -EIO : file_read(p, m, buf, len, off);

	for (const struct pending *w = m->first; w && rc == 0; w = w->next) {
		uint64_t a = w->off > off ? w->off : off, b = w->off + w->len < off + len ? w->off + w->len : off + len;

		if (a >= b) continue;
		if (w->zero) memset((char *)buf + (a - off), 0, b - a);
		else memcpy((char *)buf + (a - off), w->data + (a - w->off), b - a);
	}
	return rc;
}

static int settle(struct powercut *p, struct medium *m)
{
	int rc = 0;

	for (const struct pending *w = m->first; w && rc == 0; w = w->next) rc = apply(p, m, w, 0, w->len);
	if (rc == 0) forget(m);
	return rc;
}

/* ---- files of the filters ---- */

static int pc_open(void *user, const char *path, int writable, void **handle, struct err *e)
{
	struct powercut *p = user;
	struct medium *m = calloc(1, sizeof(*m));
	int rc;

	if (!m) return err_set(e, ENOMEM, "no memory");
	m->last = &m->first;
	rc = side_real.open(NULL, path, writable, &m->handle, e);
	if (rc < 0) {
		free(m);
		return rc;
	}
	pthread_mutex_lock(&p->lock);
	m->next = p->sides;
	p->sides = m;
	pthread_mutex_unlock(&p->lock);
	*handle = m;
	return 0;
}

static void pc_close(void *user, void *h)
{
	struct powercut *p = user;
	struct medium *m = h, **q;

	pthread_mutex_lock(&p->lock);
	if (!p->cut) settle(p, m);
	forget(m);
	for (q = &p->sides; *q != m; q = &(*q)->next) continue;
	*q = m->next;
	pthread_mutex_unlock(&p->lock);
	side_real.close(NULL, m->handle);
	free(m);
}

#define LOCKED(call) do { int rc_; pthread_mutex_lock(&p->lock); rc_ = (call); pthread_mutex_unlock(&p->lock); return rc_; } while (0)

static int pc_read(void *user, void *h, void *buf, size_t len, uint64_t off)
{
	struct powercut *p = user;

	LOCKED(overlaid_read(p, h, buf, len, off));
}

static int pc_write(void *user, void *h, const void *buf, size_t len, uint64_t off)
{
	struct powercut *p = user;

	LOCKED(keep(p, h, off, len, NULL, buf));
}

static int sync_medium(struct powercut *p, struct medium *m)
{
	int rc = step(p);

	return rc == 0 ? settle(p, m) : rc;
}

static int pc_sync(void *user, void *h)
{
	struct powercut *p = user;

	LOCKED(sync_medium(p, h));
}

static int pc_discard(void *user, void *h, uint64_t off, uint64_t len)
{
	struct powercut *p = user;
	uint64_t a, b;

	/* Only what there is: the range may be far longer than the file. */
	pthread_mutex_lock(&p->lock);
	if (side_real.next(NULL, ((struct medium *)h)->handle, off, &a, &b) == -ENXIO && !((struct medium *)h)->first) {
		pthread_mutex_unlock(&p->lock);
		return 0;
	}
	pthread_mutex_unlock(&p->lock);
	LOCKED(keep(p, h, off, len > (1u << 20) ? 1u << 20 : len, NULL, NULL));
}

static int pc_next(void *user, void *h, uint64_t off, uint64_t *data, uint64_t *end)
{
	struct powercut *p = user;
	struct medium *m = h;
	int rc = p->cut ? -EIO : settle(p, m);   // asked at open only, when nothing is at stake

	return rc < 0 ? rc : side_real.next(NULL, m->handle, off, data, end);
}

static const struct side_ops pc_ops = {
	.open = pc_open, .close = pc_close, .read = pc_read, .write = pc_write, .sync = pc_sync, .discard = pc_discard, .next = pc_next,
};

/* ---- the data file ---- */

static int powercut_open(struct iof_layer *l, const struct iof_settings *s, void **state, uint32_t *align, struct err *e)
{
	struct powercut *p = calloc(1, sizeof(*p));
	uint64_t seed = 0;
	int rc;

	(void)align;
	if (!p) return err_set(e, ENOMEM, "no memory");
	rc = iof->setting_size(s, "cut-after", 0, &p->cut_after, e);
	if (rc == 0) rc = iof->setting_size(s, "seed", 1, &seed, e);
	if (rc < 0) {
		free(p);
		return rc;
	}
	p->seed = (unsigned)seed;
	p->disk = l->disk;
	p->data.last = &p->data.first;
	pthread_mutex_init(&p->lock, NULL);
	l->disk->side_ops = &pc_ops;
	l->disk->side_user = p;
	*state = p;
	return 0;
}

static int powercut_close(struct iof_layer *l, struct err *e)
{
	struct powercut *p = iof_state(l);
	int rc = p->cut ? err_set(e, EIO, "the power went") : settle(p, &p->data);

	forget(&p->data);
	l->disk->side_ops = &side_real;
	pthread_mutex_destroy(&p->lock);
	free(p);
	return rc;
}

static int request_locked(struct powercut *p, struct iof_req *r)
{
	unsigned char *buf;
	int rc;

	switch (r->op) {
	case IOF_READ:
		buf = malloc(r->len);
		if (!buf) return -ENOMEM;
		rc = overlaid_read(p, &p->data, buf, r->len, r->off);
		if (rc == 0) iof_copy(r, 0, buf, r->len, true);
		free(buf);
		return rc;
	case IOF_WRITE: rc = keep(p, &p->data, r->off, r->len, r, NULL); break;
	case IOF_FLUSH: return sync_medium(p, &p->data);
	case IOF_EXTENTS:
		*r->extent = (struct bh_disk_extent){ .len = r->len, .type = BH_DISK_DATA };
		return 0;
	default: rc = keep(p, &p->data, r->off, r->len, NULL, NULL); break;
	}
	return rc == 0 && (r->flags & BH_DISK_FUA) ? sync_medium(p, &p->data) : rc;
}

static int request_work(struct iof_layer *l, struct iof_req *r)
{
	struct powercut *p = iof_state(l);

	LOCKED(request_locked(p, r));
}

static void request_end(struct iof_layer *l, struct iof_req *r)
{
	(void)l;
	r->done(r, r->result);
}

static void powercut_request(struct iof_layer *l, struct iof_req *r) { iof->work(l, r, request_work, request_end); }

static void powercut_stats(struct iof_layer *l, void (*emit)(void *, const char *, uint64_t), void *user)
{
	struct powercut *p = iof_state(l);

	emit(user, "steps", p->steps);
	emit(user, "cut", p->cut);
}

const struct iof_filter powercut_filter = {
	.abi = IOF_ABI_VERSION, .size = sizeof(struct iof_filter), .name = "powercut", .summary = "loses what was not flushed",
	.order = IOF_CLASS_MEDIUM, .settings = settings, .open = powercut_open, .close = powercut_close,
	.read = powercut_request, .write = powercut_request, .flush = powercut_request, .discard = powercut_request,
	.write_zeroes = powercut_request, .extents = powercut_request, .stats = powercut_stats,
};
