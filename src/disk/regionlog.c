// SPDX-License-Identifier: Apache-2.0
#include "disk/regionlog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define LOG_MAGIC "BULKHEAD LOG 1\n"
#define LOG_HEADER 4096u
#define PAGE 512u                // written at once

static size_t words(uint64_t regions) { return (size_t)(regions + PAGE * 8 - 1) / (PAGE * 8) * (PAGE / 8); }

static uint64_t regions_of(uint64_t size) { return (size + REGION_BYTES - 1) >> REGION_SHIFT; }

/* Marks first, header last: a log without header is none. */
static int make(struct regionlog *g, const char header[64], bool all)
{
	int rc = 0;

	for (uint64_t i = 0; all && i < g->regions; i++) g->before[i / 64] |= 1ull << i % 64;
	if (all) rc = iof->file_write(g->file, g->before, words(g->regions) * 8, LOG_HEADER);
	if (rc == 0 && all) rc = iof->file_sync(g->file);
	if (rc == 0) rc = iof->file_write(g->file, header, 64, 0);
	return rc == 0 ? iof->file_sync(g->file) : rc;
}

int regionlog_open(struct iof_layer *l, const char *suffix, bool all_at_first, struct err *e)
{
	struct regionlog *g = iof_state(l);
	char header[64] = { 0 }, want[64] = { 0 };
	int rc;

	pthread_mutex_init(&g->lock, NULL);
	g->regions = regions_of(iof_size(l));
	g->bits = calloc(words(g->regions) + 1, 8);
	g->before = calloc(words(g->regions) + 1, 8);
	if (!g->bits || !g->before) return err_set(e, ENOMEM, "no memory for the log of regions");
	rc = iof->file_open(l, suffix, &g->file, e);
	if (rc < 0) return rc;
	snprintf(want, sizeof(want), LOG_MAGIC "%s", iof->disk_id(l));
	rc = iof->file_read(g->file, header, sizeof(header), 0);
	g->fresh = rc == 0 && !header[0];
	if (g->fresh && !iof->read_only(l)) {
		rc = make(g, want, all_at_first);
	} else if (rc == 0 && header[0] && memcmp(header, want, sizeof(want))) {
		return err_set(e, EBADMSG, "the file '%s' beside the disk belongs to another disk or is damaged", suffix);
	}
	if (rc == 0) rc = iof->file_read(g->file, g->before, words(g->regions) * 8, LOG_HEADER);
	return rc < 0 ? err_sys(e, -rc, "cannot read the log of regions") : 0;
}

int regionlog_forget(struct regionlog *g)
{
	int rc = iof->file_discard(g->file, 0, LOG_HEADER);

	return rc == 0 ? iof->file_sync(g->file) : rc;
}

void regionlog_fini(struct regionlog *g)
{
	iof->file_close(g->file);
	pthread_mutex_destroy(&g->lock);
	free((void *)g->bits);
	free(g->before);
}

bool regionlog_found(const struct regionlog *g, uint64_t region)
{
	return region < g->regions && (g->before[region / 64] >> region % 64 & 1);
}

bool regionlog_any(const struct regionlog *g)
{
	for (size_t i = 0; i < words(g->regions); i++)
		if (g->before[i]) return true;
	return false;
}

int regionlog_clear(struct regionlog *g)
{
	bool any = regionlog_any(g);
	int rc = 0;

	for (size_t i = 0; i < words(g->regions); i++) any |= g->bits[i] != 0;
	if (!any) return 0;
	for (size_t i = 0; i < words(g->regions); i++) g->bits[i] = g->before[i] = 0;
	for (size_t p = 0; p < words(g->regions) * 8 && rc == 0; p += PAGE) rc = iof->file_write(g->file, (char *)g->bits + p, PAGE, LOG_HEADER + p);
	return rc == 0 ? iof->file_sync(g->file) : rc;
}

int regionlog_resize(struct regionlog *g, uint64_t size)
{
	uint64_t n = regions_of(size);
	void *a, *b;

	if (words(n) <= words(g->regions)) {
		g->regions = n > g->regions ? n : g->regions;
		return 0;
	}
	a = calloc(words(n) + 1, 8);
	b = calloc(words(n) + 1, 8);
	if (!a || !b) {
		free(a);
		free(b);
		return -ENOMEM;
	}
	memcpy(a, (void *)g->bits, words(g->regions) * 8);
	memcpy(b, g->before, words(g->regions) * 8);
	free((void *)g->bits);
	free(g->before);
	g->bits = a;
	g->before = b;
	g->regions = n;
	return 0;
}

bool regionlog_marked(const struct regionlog *g, uint64_t off, uint64_t len)
{
	for (uint64_t i = off >> REGION_SHIFT; i <= (off + len - 1) >> REGION_SHIFT; i++)
		if (!(atomic_load_explicit(&g->bits[i / 64], memory_order_acquire) >> i % 64 & 1)) return false;
	return true;
}

static int mark_work(struct iof_layer *l, struct iof_req *r)
{
	struct regionlog *g = iof_state(l);
	uint64_t first = r->off >> REGION_SHIFT, last = (r->off + r->len - 1) >> REGION_SHIFT;
	int rc = 0;

	pthread_mutex_lock(&g->lock);
	if (!regionlog_marked(g, r->off, r->len)) {
		for (uint64_t p = first / (PAGE * 8); p <= last / (PAGE * 8) && rc == 0; p++) {
			uint64_t page[PAGE / 8];

			for (unsigned w = 0; w < PAGE / 8; w++) page[w] = g->bits[p * (PAGE / 8) + w] | g->before[p * (PAGE / 8) + w];
			for (uint64_t i = first; i <= last; i++)
				if (i / (PAGE * 8) == p) page[i / 64 % (PAGE / 8)] |= 1ull << i % 64;
			rc = iof->file_write(g->file, page, PAGE, LOG_HEADER + p * PAGE);
		}
		if (rc == 0) rc = iof->file_sync(g->file);
		for (uint64_t i = first; i <= last && rc == 0; i++) atomic_fetch_or(&g->bits[i / 64], 1ull << i % 64);
	}
	pthread_mutex_unlock(&g->lock);
	return rc;
}

void regionlog_mark(struct iof_layer *l, struct iof_req *r, void (*then)(struct iof_layer *, struct iof_req *))
{
	iof->work(l, r, mark_work, then);
}
