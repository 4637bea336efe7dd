// SPDX-License-Identifier: Apache-2.0
// Allocation of variables in a region. The directory of entries is the only record: what no live entry covers is free.
// So allocation looks through the entries each time; it is control path.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "region.h"

#define GRANULE 8
#define GRANULES (PRDA_STRIDE / GRANULE)

/* Mark in map (a bit per granule) what is taken. */
static void map_fill(const struct prda_region *r, unsigned char *map)
{
	memset(map, 0, GRANULES / 8);
	memset(map, 0xff, PRDA_AREA_HEAD / GRANULE / 8);
	uint32_t n = atomic_load(&r->shared->entries);
	for (uint32_t i = 0; i < n && i < PRDA_ENTRIES_MAX; i++) {
		struct prda_entry *t = prda_entry(r, i);
		if (atomic_load(&t->state) != PRDA_LIVE || t->offset > PRDA_STRIDE || t->size > PRDA_STRIDE - t->offset)
			continue;
		for (size_t g = t->offset / GRANULE; g < (t->offset + t->size + GRANULE - 1) / GRANULE; g++)
			map[g / 8] |= (unsigned char)(1u << g % 8);
	}
}

/* First free place; 0: none (offset 0 is never free). */
static size_t map_find(const unsigned char *map, size_t size, size_t align)
{
	size_t want = (size + GRANULE - 1) / GRANULE, step = (align + GRANULE - 1) / GRANULE;
	for (size_t at = 0; at + want <= GRANULES;) {
		size_t n = 0;
		while (n < want && !(map[(at + n) / 8] >> (at + n) % 8 & 1))
			n++;
		if (n == want)
			return at * GRANULE;
		at = (at + n + step) / step * step;
	}
	return 0;
}

static int entry_find(struct prda_region *r, uint32_t *index)
{
	uint32_t n = atomic_load(&r->shared->entries);
	for (uint32_t i = 0; i < n && i < PRDA_ENTRIES_MAX; i++) {
		if (atomic_load(&prda_entry(r, i)->state) == PRDA_FREE) {
			*index = i;
			return 0;
		}
	}
	if (n >= PRDA_ENTRIES_MAX)
		return -ENOSPC;
	*index = n;
	return 0;
}

static bool text_fits(const char *text, size_t room)
{
	return !text || strlen(text) < room;
}

static void text_set(char *to, const char *text, size_t room)
{
	memset(to, 0, room);
	if (text)
		memcpy(to, text, strlen(text));
}

static void entry_set(struct prda_entry *t, size_t offset, size_t size, const struct prda_about *about)
{
	atomic_fetch_or(&t->generation, 1);   // odd already if somebody was killed here
	t->offset = (uint32_t)offset;
	t->size = (uint32_t)size;
	t->kind = about->kind;
	text_set(t->name, about->name, sizeof(t->name));
	text_set(t->labels, about->labels, sizeof(t->labels));
	text_set(t->help, about->help, sizeof(t->help));
	atomic_fetch_add(&t->generation, 1);
	atomic_store(&t->state, PRDA_LIVE);
}

static void slots_clear(const struct prda_region *r, size_t offset, size_t size)
{
	prda_for_each_slot(slot, r)
		memset((char *)prda_area(r, slot) + offset, 0, size);
}

/* Allocate; init: first 64-bit words of every copy, or NULL. */
static int alloc(struct prda_region *r, size_t size, size_t align, const struct prda_about *about, const uint64_t *init,
	size_t init_words, void **alias, struct err *e)
{
	if (size == 0 || size > PRDA_STRIDE - PRDA_AREA_HEAD || align > 4096)
		return err_set(e, EINVAL, "PRDA variable of %zu bytes: 1 to %zu are possible", size, PRDA_STRIDE - PRDA_AREA_HEAD);
	if (!text_fits(about->name, PRDA_NAME_MAX) || !text_fits(about->labels, PRDA_LABELS_MAX)
			|| !text_fits(about->help, PRDA_HELP_MAX))
		return err_set(e, EINVAL, "PRDA variable: name of at most %d bytes, labels %d, help %d", PRDA_NAME_MAX - 1,
			PRDA_LABELS_MAX - 1, PRDA_HELP_MAX - 1);
	unsigned char *map = malloc(GRANULES / 8);
	if (!map)
		return err_set(e, ENOMEM, "no memory for a PRDA allocation");
	uint32_t i;
	int rc = prda_alloc_lock(r, e);
	if (rc < 0) {
		free(map);
		return rc;
	}
	map_fill(r, map);
	size_t offset = map_find(map, size, align);
	rc = entry_find(r, &i);
	if (rc < 0 || offset == 0) {
		rc = err_set(e, ENOSPC, "PRDA region full: no room for %zu bytes in %zu per CPU, or %zu variables", size, PRDA_STRIDE,
			PRDA_ENTRIES_MAX);
	} else {
		/* Free memory is zero, but for what a process left that was killed in prda_free. */
		slots_clear(r, offset, size);
		for (uint32_t slot = 0; init && slot < r->slots; slot++)
			memcpy((char *)prda_area(r, slot) + offset, init, init_words * sizeof(*init));
		entry_set(prda_entry(r, i), offset, size, about);
		if (i >= atomic_load(&r->shared->entries))
			atomic_store(&r->shared->entries, i + 1);
		*alias = (void *)((r->alias + offset) | r->tag);
		rc = 0;
	}
	prda_alloc_unlock(r);
	free(map);
	return rc;
}

int prda_alloc_(struct prda_region *r, size_t size, size_t align, const struct prda_about *about, void **alias,
	struct err *e)
{
	return alloc(r, size, align, about, NULL, 0, alias, e);
}

/* Variables with room for capacity items of unit bytes behind head words, of which init is the start. */
static int alloc_array(struct prda_region *r, const char *name, const uint64_t *init, size_t head, size_t unit,
	size_t capacity, void **alias, struct err *e)
{
	if (capacity == 0 || capacity > PRDA_STRIDE / unit)
		return err_set(e, EINVAL, "PRDA variable for %zu items of %zu bytes: at least one, and at most %zu bytes", capacity,
			unit, PRDA_STRIDE - PRDA_AREA_HEAD);
	return alloc(r, head * 8 + capacity * unit, 64, &(struct prda_about){ .name = name }, init, head, alias, e);
}

int prda_ring_alloc(struct prda_region *r, prda_ring *a, size_t capacity, const char *name, struct err *e)
{
	if (capacity & (capacity - 1))
		return err_set(e, EINVAL, "PRDA ring for %zu words: a power of two is needed", capacity);
	return alloc_array(r, name, (uint64_t[]){ 0, 0, capacity - 1 }, 3, 8, capacity, (void **)&a->alias_, e);
}

int prda_buffer_alloc(struct prda_region *r, prda_buffer *a, size_t capacity, const char *name, struct err *e)
{
	return alloc_array(r, name, (uint64_t[8]){ 0, capacity }, 8, 1, capacity, (void **)&a->alias_, e);
}

int prda_cache_alloc(struct prda_region *r, prda_cache *a, size_t capacity, const char *name, struct err *e)
{
	return alloc_array(r, name, (uint64_t[]){ 0, capacity }, 2, 8, capacity, (void **)&a->alias_, e);
}

void prda_free_(uintptr_t a)
{
	if (a == 0)
		return;
	struct prda_region *r = prda_region_of(a);
	if (prda_alloc_lock(r, NULL) < 0)
		return;   // the variable stays allocated: nothing is wrong with it
	uint32_t n = atomic_load(&r->shared->entries);
	for (uint32_t i = 0; i < n && i < PRDA_ENTRIES_MAX; i++) {
		struct prda_entry *t = prda_entry(r, i);
		if (atomic_load(&t->state) == PRDA_LIVE && ((r->alias + t->offset) | r->tag) == a) {
			slots_clear(r, t->offset, t->size);
			atomic_fetch_or(&t->generation, 1);
			atomic_store(&t->state, PRDA_FREE);
			break;
		}
	}
	prda_alloc_unlock(r);
}

void prda_define_(size_t size, size_t align, const struct prda_about *about, void **alias)
{
	struct err e = ERR_INIT;
	if (prda_alloc_(prda_process_region(), size, align, about, alias, &e) < 0) {
		fprintf(stderr, "prda: %s: %s\n", about->name, e.text);
		abort();
	}
}
