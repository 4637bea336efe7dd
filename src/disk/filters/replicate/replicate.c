// SPDX-License-Identifier: Apache-2.0
// Keeps a copy on another disk over NBD. Every write marks its blocks dirty once it is done here; a thread copies dirty
// blocks. Synchronous: a write completes when its blocks are on the other side; asynchronous: at once, unless more than
// "lag" bytes are dirty. After an outage, and after a crash (regionlog.h), what may differ is dirty and is copied again.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "disk/nbd/client.h"
#include "disk/regionlog.h"

#define BLOCK (64u << 10)
#define RUN 16u                        // blocks copied at once

struct replicate {
	struct regionlog log;
	struct iof_layer *l;
	char *target;
	bool sync, fail;
	uint64_t lag_blocks;
	pthread_mutex_t lock;          // all below
	pthread_cond_t changed;
	uint64_t blocks, ndirty, next; // next: where the search goes on
	uint64_t *dirty;
	uint64_t copying, ncopying;    // run that is on its way
	struct iof_req *waiting, **waiting_tail;
	bool connected, unflushed, stop, failed;
	uint64_t copied;
	pthread_t thread;
};

static const struct iof_setting settings[] = {
	{ "target", "unix:PATH or tcp:HOST:PORT, with #EXPORT behind it" }, { "mode", "sync or async (the default)" },
	{ "lag", "async: so many bytes may be behind before writes wait (64M)" },
	{ "on-failure", "sync, without connection: continue (the default; it catches up later) or fail" }, { NULL, NULL },
};

static int replicate_attach(struct iof_settings *s, const char *path, struct err *e)
{
	const char *t = iof->setting(s, "target"), *mode = iof->setting(s, "mode"), *f = iof->setting(s, "on-failure");

	(void)path;
	if (!t || (strncmp(t, "unix:", 5) && strncmp(t, "tcp:", 4))) return err_set(e, EINVAL, "setting 'target' is not unix:PATH or tcp:HOST:PORT");
	if (mode && strcmp(mode, "sync") && strcmp(mode, "async")) return err_set(e, EINVAL, "setting 'mode' is '%s', not sync or async", mode);
	if (f && strcmp(f, "continue") && strcmp(f, "fail")) return err_set(e, EINVAL, "setting 'on-failure' is '%s', not continue or fail", f);
	return 0;
}

/* ---- dirty blocks; under lock ---- */

static bool is_dirty(const struct replicate *x, uint64_t b) { return x->dirty[b / 64] >> b % 64 & 1; }

static void mark(struct replicate *x, uint64_t b)
{
	if (is_dirty(x, b)) return;
	x->dirty[b / 64] |= 1ull << b % 64;
	x->ndirty++;
}

static void mark_range(struct replicate *x, uint64_t off, uint64_t len)
{
	for (uint64_t b = off / BLOCK; b <= (off + len - 1) / BLOCK && b < x->blocks; b++) mark(x, b);
}

static uint64_t take_run(struct replicate *x, uint64_t *first)
{
	uint64_t n = 0, b = x->next < x->blocks ? x->next : 0;

	for (uint64_t looked = 0; looked < x->blocks && !is_dirty(x, b); looked++) b = b + 1 < x->blocks ? b + 1 : 0;
	for (; n < RUN && b + n < x->blocks && is_dirty(x, b + n); n++) {
		x->dirty[(b + n) / 64] &= ~(1ull << (b + n) % 64);
		x->ndirty--;
	}
	*first = b;
	x->next = b + n;
	return n;
}

static bool settled(const struct replicate *x, const struct iof_req *r)
{
	if (!x->connected && x->sync) return true;                     // degraded, or an error
	if (!x->sync) return x->ndirty <= x->lag_blocks || !x->connected;
	if (r->op == IOF_FLUSH) return !x->ndirty && !x->ncopying && !x->unflushed;
	for (uint64_t b = r->off / BLOCK; b <= (r->off + r->len - 1) / BLOCK && b < x->blocks; b++)
		if (is_dirty(x, b) || (b >= x->copying && b < x->copying + x->ncopying)) return false;
	return true;
}

static void wake_waiters(struct replicate *x)
{
	struct iof_req **p = &x->waiting, *r;
	int rc = x->sync && !x->connected && x->fail ? -EIO : 0;

	while ((r = *p)) {
		if (!settled(x, r)) {
			p = &r->link;
			continue;
		}
		*p = r->link;
		if (!*p) x->waiting_tail = p;
		iof->complete_from(r, rc);
	}
}

/* ---- the thread ---- */

static bool all_zero(const char *p, size_t len) { return p[0] == 0 && !memcmp(p, p + 1, len - 1); }

static int copy(struct replicate *x, struct nbd_client *c, uint64_t first, uint64_t n, char *buf)
{
	uint64_t off = first * BLOCK, size = nbd_client_size(c), len = n * BLOCK;
	int rc;

	uint64_t end = iof_size(x->l);   // it may have shrunk meanwhile

	if (off >= end) return 0;
	if (len > end - off) len = end - off;
	rc = iof->rw_below(x->l, IOF_READ, off, buf, len);
	if (rc < 0 || off >= size) return rc;
	if (len > size - off) len = size - off;
	return all_zero(buf, len) ? nbd_client_zero(c, off, (uint32_t)len) : nbd_client_write(c, off, buf, (uint32_t)len);
}

static void pause_locked(struct replicate *x)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec++;
	if (!x->stop) pthread_cond_timedwait(&x->changed, &x->lock, &t);
}

static struct nbd_client *reconnect(struct replicate *x)
{
	struct nbd_client *c = NULL;
	struct err e = ERR_INIT;
	int rc;

	pthread_mutex_unlock(&x->lock);
	rc = nbd_client_open(x->target, &c, &e);
	if (rc == 0 && nbd_client_size(c) < iof_size(x->l) / BLOCK * BLOCK) {
		rc = err_set(&e, ENOSPC, "'%s' is smaller than the disk", x->target);
		nbd_client_close(c);
		c = NULL;
	}
	pthread_mutex_lock(&x->lock);
	if (rc < 0 && !x->failed) iof->log(x->l, "not replicating: %s", e.text);
	x->failed = rc < 0;
	x->connected = rc == 0;
	wake_waiters(x);
	if (rc < 0) pause_locked(x);
	return c;
}

/* One step: copy a run, or flush. Lock held, given up meanwhile. */
static int advance(struct replicate *x, struct nbd_client *c, char *buf)
{
	uint64_t first = 0, n = take_run(x, &first);
	int rc;

	x->copying = first;
	x->ncopying = n;
	pthread_mutex_unlock(&x->lock);
	rc = n ? copy(x, c, first, n, buf) : nbd_client_flush(c);
	pthread_mutex_lock(&x->lock);
	x->ncopying = 0;
	if (n == 0 && rc == 0) x->unflushed = false;
	if (n && rc == 0) x->unflushed = true;
	if (n && rc == 0) x->copied += n * BLOCK;
	for (uint64_t b = first; b < first + n && rc < 0; b++) mark(x, b);
	return rc;
}

static void *replicate_run(void *arg)
{
	struct replicate *x = arg;
	char *buf = malloc(RUN * BLOCK);
	struct nbd_client *c = NULL;
	unsigned failures = 0;   // in a row

	pthread_mutex_lock(&x->lock);
	while (buf) {
		if (!c) {
			if (x->stop && x->failed) break;
			c = reconnect(x);
			continue;
		}
		if (!x->ndirty && !x->unflushed) {
			wake_waiters(x);
			if (x->stop) break;
			pthread_cond_wait(&x->changed, &x->lock);
			continue;
		}
		if (advance(x, c, buf) == 0) {
			failures = 0;
			wake_waiters(x);
			continue;
		}
		nbd_client_close(c);
		c = NULL;
		x->connected = false;
		x->failed = false;
		wake_waiters(x);
		if (++failures == 1) continue;   // the connection was lost
		if (x->stop) break;              // or the disk cannot be read: what is dirty stays so
		pause_locked(x);
	}
	pthread_mutex_unlock(&x->lock);
	nbd_client_close(c);
	free(buf);
	return NULL;
}

/* ---- open and close ---- */

static void replicate_free(struct replicate *x)
{
	regionlog_fini(&x->log);
	pthread_mutex_destroy(&x->lock);
	pthread_cond_destroy(&x->changed);
	free(x->target);
	free(x->dirty);
	free(x);
}

static int replicate_open(struct iof_layer *l, const struct iof_settings *s, void **state, uint32_t *align, struct err *e)
{
	struct replicate *x = calloc(1, sizeof(*x));
	const char *mode = iof->setting(s, "mode"), *f = iof->setting(s, "on-failure");
	uint64_t lag = 0;
	int rc;

	(void)align;
	if (!x) return err_set(e, ENOMEM, "no memory");
	*state = x;
	x->l = l;
	x->waiting_tail = &x->waiting;
	pthread_mutex_init(&x->lock, NULL);
	pthread_cond_init(&x->changed, NULL);
	x->sync = mode && !strcmp(mode, "sync");
	x->fail = f && !strcmp(f, "fail");
	x->connected = true;   // until it is known better: the first writes wait for the first attempt
	x->blocks = (iof_size(l) + BLOCK - 1) / BLOCK;
	x->target = strdup(iof->setting(s, "target") ? iof->setting(s, "target") : "");
	x->dirty = calloc(x->blocks / 64 + 1, 8);
	rc = regionlog_open(l, "replicate", true, e);
	if (rc == 0) rc = iof->setting_size(s, "lag", 64ull << 20, &lag, e);
	if (rc == 0 && (!x->target || !x->dirty)) rc = err_set(e, ENOMEM, "no memory");
	x->lag_blocks = lag / BLOCK;
	for (uint64_t g = 0; rc == 0 && g < x->log.regions; g++)
		if (regionlog_found(&x->log, g)) mark_range(x, g << REGION_SHIFT, REGION_BYTES);
	if (rc == 0 && !iof->read_only(l) && pthread_create(&x->thread, NULL, replicate_run, x)) rc = err_set(e, EAGAIN, "cannot start a thread");
	if (rc < 0) replicate_free(x);
	return rc;
}

static int replicate_close(struct iof_layer *l, struct err *e)
{
	struct replicate *x = iof_state(l);
	int rc = 0;

	if (!iof->read_only(l)) {
		pthread_mutex_lock(&x->lock);
		x->stop = true;
		pthread_cond_broadcast(&x->changed);
		pthread_mutex_unlock(&x->lock);
		pthread_join(x->thread, NULL);
		if (!x->ndirty && !x->unflushed && !x->failed) rc = regionlog_clear(&x->log);
		if (rc < 0) err_sys(e, -rc, "cannot save what is replicated");
	}
	replicate_free(x);
	return rc;
}

/* Attached again, it copies everything: it will not have seen what is written until then. */
static int replicate_detach(struct iof_layer *l, struct err *e)
{
	struct replicate *x = iof_state(l);
	int rc = iof->read_only(l) ? 0 : regionlog_forget(&x->log);

	return rc < 0 ? err_sys(e, -rc, "cannot give up the log of regions") : 0;
}

static int replicate_resized(struct iof_layer *l, struct err *e)
{
	struct replicate *x = iof_state(l);
	uint64_t blocks = (iof_size(l) + BLOCK - 1) / BLOCK;
	void *p;
	int rc;

	pthread_mutex_lock(&x->lock);
	p = blocks > x->blocks ? realloc(x->dirty, (blocks / 64 + 1) * 8) : x->dirty;
	rc = p ? regionlog_resize(&x->log, iof_size(l)) : -ENOMEM;
	if (p && blocks > x->blocks) {
		x->dirty = p;
		memset(x->dirty + x->blocks / 64 + 1, 0, (blocks / 64 - x->blocks / 64) * 8);
		x->blocks = blocks;
	}
	for (uint64_t b = blocks; b < x->blocks; b++) x->dirty[b / 64] &= ~(1ull << b % 64);   // behind the end of one that shrinks
	if (p) x->blocks = blocks;
	pthread_mutex_unlock(&x->lock);
	return rc < 0 ? err_set(e, ENOMEM, "no memory") : 0;
}

/* ---- requests ---- */

static void end(struct replicate *x, struct iof_req *r)
{
	bool done;

	pthread_mutex_lock(&x->lock);
	if (r->op != IOF_FLUSH) mark_range(x, r->off, r->len);
	done = r->op == IOF_FLUSH && !x->sync ? true : settled(x, r) && !(x->sync && x->fail && !x->connected);
	if (!done) {
		r->link = NULL;
		*x->waiting_tail = r;
		x->waiting_tail = &r->link;
	}
	pthread_cond_signal(&x->changed);
	pthread_mutex_unlock(&x->lock);
	if (done) r->done(r, 0);
}

static void request_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	struct replicate *x = iof_state((struct iof_layer *)c->data[0]);

	iof_free(c);
	if (result < 0 && r->op == IOF_FLUSH) {
		r->done(r, result);
	} else if (result < 0) {   // some of it may have been written
		pthread_mutex_lock(&x->lock);
		mark_range(x, r->off, r->len);
		pthread_cond_signal(&x->changed);
		pthread_mutex_unlock(&x->lock);
		r->done(r, result);
	} else {
		end(x, r);
	}
}

static void request_go(struct iof_layer *l, struct iof_req *r)
{
	struct iof_req *c = r->result < 0 ? NULL : iof_child(l, r);

	if (!c) {
		r->done(r, r->result < 0 ? r->result : -ENOMEM);
		return;
	}
	c->done = request_done;
	c->user = r;
	c->data[0] = (uintptr_t)l;
	iof_pass(l, c);
}

static void replicate_request(struct iof_layer *l, struct iof_req *r)
{
	struct replicate *x = iof_state(l);

	r->result = 0;
	if (r->op == IOF_FLUSH || regionlog_marked(&x->log, r->off, r->len)) request_go(l, r);
	else regionlog_mark(l, r, request_go);
}

static void replicate_stats(struct iof_layer *l, void (*emit)(void *, const char *, uint64_t), void *user)
{
	struct replicate *x = iof_state(l);

	pthread_mutex_lock(&x->lock);
	emit(user, "connected", x->connected && !x->failed);
	emit(user, "behind_bytes", (x->ndirty + x->ncopying) * BLOCK);
	emit(user, "copied_bytes", x->copied);
	pthread_mutex_unlock(&x->lock);
}

const struct iof_filter replicate_filter = {
	.abi = IOF_ABI_VERSION, .size = sizeof(struct iof_filter), .name = "replicate", .summary = "keeps a copy on another disk over NBD",
	.order = IOF_CLASS_REPLICATE, .settings = settings, .attach = replicate_attach, .open = replicate_open, .close = replicate_close,
	.detach = replicate_detach,
	.resized = replicate_resized, .write = replicate_request, .flush = replicate_request, .discard = replicate_request,
	.write_zeroes = replicate_request, .stats = replicate_stats,
};
