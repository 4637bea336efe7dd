// SPDX-License-Identifier: Apache-2.0
#include "disk/meta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "disk/disk_internal.h"
#include "disk/sidefile.h"

static void *space(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static size_t dirty_bytes(const struct meta *m) { return (m->sectors_max / 64 + 1) * sizeof(uint64_t); }
static size_t list_bytes(const struct meta *m) { return (m->sectors_max + 1) * sizeof(uint32_t); }

int meta_init(struct meta *m, const struct meta_ops *ops, uint64_t sectors_max, struct err *e)
{
	m->ops = ops;
	m->sectors_max = sectors_max;
	pthread_mutex_init(&m->lock, NULL);
	m->dirty = space(dirty_bytes(m));
	m->list = space(list_bytes(m));
	return m->dirty && m->list ? 0 : err_set(e, ENOMEM, "no memory for the tables of a filter");
}

void meta_fini(struct meta *m)
{
	if (!m->ops) return;
	side_close(m->file);
	if (m->dirty) munmap((void *)m->dirty, dirty_bytes(m));
	if (m->list) munmap(m->list, list_bytes(m));
	pthread_mutex_destroy(&m->lock);
	free(m->staged);
	free(m->sectors);
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

void meta_dirty(struct meta *m, uint64_t sector)
{
	uint64_t bit = 1ull << sector % 64;

	if (atomic_load(&m->dirty[sector / 64]) & bit) return;   // whoever stages it clears this before it looks at the blocks
	if (atomic_fetch_or(&m->dirty[sector / 64], bit) & bit) return;
	pthread_mutex_lock(&m->lock);
	m->list[m->nlist++] = (uint32_t)sector;
	pthread_mutex_unlock(&m->lock);
}

/* Worker: the sectors as they are now. The data of their blocks are written, and synced next. */
static int stage_work(struct iof_layer *l, struct iof_req *r)
{
	struct meta *m = iof_state(l);
	uint32_t n;

	(void)r;
	pthread_mutex_lock(&m->lock);
	n = m->nlist;
	if (n > m->staged_cap) {
		uint32_t *a = realloc(m->staged, n * sizeof(*a));
		uint8_t *b;

		if (a) m->staged = a;
		b = a ? realloc(m->sectors, (size_t)n * MAP_SECTOR) : NULL;
		if (b) m->sectors = b;
		if (b) m->staged_cap = n;
	}
	if (n > m->staged_cap) {
		pthread_mutex_unlock(&m->lock);
		return -ENOMEM;
	}
	memcpy(m->staged, m->list, n * sizeof(m->list[0]));
	for (uint32_t i = 0; i < n; i++) atomic_fetch_and(&m->dirty[m->staged[i] / 64], ~(1ull << m->staged[i] % 64));
	m->nstaged = n;
	m->nlist = 0;
	pthread_mutex_unlock(&m->lock);
	qsort(m->staged, n, sizeof(m->staged[0]), by_number);
	for (uint32_t i = 0; i < n; i++) {
		uint8_t payload[MAP_BITS_BYTES] = { 0 };

		m->ops->sector(l, m->staged[i], payload);
		map_sector(m->sectors + (size_t)i * MAP_SECTOR, payload, l->disk->desc->id, m->staged[i]);
	}
	if (m->ops->staged) m->ops->staged(l);
	return 0;
}

/* Worker: the data are synced; now the sectors. */
static int sectors_work(struct iof_layer *l, struct iof_req *r)
{
	struct meta *m = iof_state(l);
	int rc = 0;

	(void)r;
	for (uint32_t i = 0, n; i < m->nstaged && rc == 0; i += n) {
		for (n = 1; i + n < m->nstaged && m->staged[i + n] == m->staged[i] + n; n++) continue;
		rc = side_write(m->file, m->sectors + (size_t)i * MAP_SECTOR, (size_t)n * MAP_SECTOR, map_sector_off(m->staged[i]));
	}
	return rc == 0 ? side_sync(m->file) : rc;
}

static void flush_run(struct iof_layer *l, struct iof_req *r);

void meta_end(struct iof_layer *l, struct iof_req *r)
{
	struct meta *m = iof_state(l);
	int rc = r->result;
	struct iof_req *b, *next;

	if (rc < 0)
		for (uint32_t i = 0; i < m->nstaged; i++) meta_dirty(m, m->staged[i]);
	m->nstaged = 0;
	pthread_mutex_lock(&m->lock);
	b = m->batch;
	next = m->waiting;
	m->batch = next ? next->link : NULL;
	m->waiting = NULL;
	m->flushing = next;
	pthread_mutex_unlock(&m->lock);
	if (next) iof->resume(l, next, flush_run);
	while (b) {
		struct iof_req *more = b->link;

		iof->complete_from(b, rc);
		b = more;
	}
	r->done(r, rc);
}

static void flush_end(struct iof_layer *l, struct iof_req *r)
{
	struct meta *m = iof_state(l);

	if (m->ops->finish) m->ops->finish(l, r);
	else meta_end(l, r);
}

static void flush_data_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	struct iof_layer *l = (struct iof_layer *)c->data[0];
	struct meta *m = iof_state(l);

	iof_free(c);
	r->result = result;
	if (result < 0 || m->nstaged == 0) flush_end(l, r);
	else iof->work(l, r, sectors_work, flush_end);
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
	struct meta *m = iof_state(l);

	r->result = 0;
	if (m->nlist) iof->work(l, r, stage_work, flush_data);
	else flush_data(l, r);
}

/* r: any request of this layer that is to be completed once everything is on disk. */
void meta_flush(struct iof_layer *l, struct iof_req *r)
{
	struct meta *m = iof_state(l);
	bool wait;

	if (l->disk->read_only) {
		r->done(r, 0);
		return;
	}
	pthread_mutex_lock(&m->lock);
	wait = m->flushing;
	if (wait) {
		r->link = m->waiting;
		m->waiting = r;
	}
	m->flushing = true;
	pthread_mutex_unlock(&m->lock);
	if (!wait) flush_run(l, r);
}

