// SPDX-License-Identifier: Apache-2.0
#include "server/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_MAX 512   // objects in a chunk; one that grows past it is cut in two

struct chunk {
	size_t count;
	struct obj *objs[CHUNK_MAX];
};

struct index {
	struct chunk **chunks;   // never empty ones
	size_t chunk_count, chunk_cap;
	size_t count, bytes;
};

struct index *index_new(void)
{
	return calloc(1, sizeof(struct index));
}

void index_free(struct index *x)
{
	if (!x)
		return;
	for (size_t c = 0; c < x->chunk_count; c++) {
		for (size_t i = 0; i < x->chunks[c]->count; i++)
			obj_unref(x->chunks[c]->objs[i]);
		free(x->chunks[c]);
	}
	free(x->chunks);
	free(x);
}

size_t index_count(const struct index *x)
{
	return x->count;
}

size_t index_bytes(const struct index *x)
{
	return x->bytes;
}

/* The chunk that holds key or would: the last one whose first key is <= key. */
static size_t find_chunk(const struct index *x, const char *key)
{
	size_t lo = 0, hi = x->chunk_count;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;
		if (strcmp(obj_key(x->chunks[mid]->objs[0]), key) <= 0)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* First slot of c whose key is >= key. */
static size_t find_slot(const struct chunk *c, const char *key)
{
	size_t lo = 0, hi = c->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (strcmp(obj_key(c->objs[mid]), key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct obj *index_get(const struct index *x, const char *key)
{
	struct chunk *c;
	size_t slot;

	if (!x->chunk_count)
		return NULL;
	c = x->chunks[find_chunk(x, key)];
	slot = find_slot(c, key);
	return slot < c->count && !strcmp(obj_key(c->objs[slot]), key) ? c->objs[slot] : NULL;
}

static int insert_chunk(struct index *x, size_t at, struct chunk *c)
{
	if (x->chunk_count == x->chunk_cap) {
		size_t cap = x->chunk_cap ? 2 * x->chunk_cap : 16;
		struct chunk **grown = realloc(x->chunks, cap * sizeof *grown);
		if (!grown)
			return -ENOMEM;
		x->chunks = grown;
		x->chunk_cap = cap;
	}
	memmove(x->chunks + at + 1, x->chunks + at, (x->chunk_count - at) * sizeof *x->chunks);
	x->chunks[at] = c;
	x->chunk_count++;
	return 0;
}

/* Move the upper half of chunk at into a new chunk behind it. Keys usually arrive in order: then cut near the end. */
static int split_chunk(struct index *x, size_t at, bool appending)
{
	struct chunk *c = x->chunks[at], *upper = malloc(sizeof *upper);
	size_t keep = appending ? CHUNK_MAX - 1 : CHUNK_MAX / 2;
	int r;

	if (!upper)
		return -ENOMEM;
	r = insert_chunk(x, at + 1, upper);
	if (r) {
		free(upper);
		return r;
	}
	upper->count = c->count - keep;
	memcpy(upper->objs, c->objs + keep, upper->count * sizeof *c->objs);
	c->count = keep;
	return 0;
}

int index_put(struct index *x, struct obj *o, struct obj **old)
{
	struct chunk *c;
	size_t at, slot;

	if (!x->chunk_count) {
		c = calloc(1, sizeof *c);
		if (!c || insert_chunk(x, 0, c)) {
			free(c);
			return -ENOMEM;
		}
	}
	at = find_chunk(x, obj_key(o));
	c = x->chunks[at];
	slot = find_slot(c, obj_key(o));
	if (slot < c->count && !strcmp(obj_key(c->objs[slot]), obj_key(o))) {
		*old = c->objs[slot];
		c->objs[slot] = o;
		x->bytes += o->text_len - (*old)->text_len;
		return 0;
	}
	if (c->count == CHUNK_MAX) {
		int r = split_chunk(x, at, slot == c->count && at + 1 == x->chunk_count);
		if (r)
			return r;
		if (slot > c->count) {
			slot -= c->count;
			c = x->chunks[at + 1];
		}
	}
	memmove(c->objs + slot + 1, c->objs + slot, (c->count - slot) * sizeof *c->objs);
	c->objs[slot] = o;
	c->count++;
	x->count++;
	x->bytes += o->text_len;
	*old = NULL;
	return 0;
}

struct obj *index_remove(struct index *x, const char *key)
{
	struct chunk *c;
	struct obj *o;
	size_t at, slot;

	if (!x->chunk_count)
		return NULL;
	at = find_chunk(x, key);
	c = x->chunks[at];
	slot = find_slot(c, key);
	if (slot == c->count || strcmp(obj_key(c->objs[slot]), key))
		return NULL;
	o = c->objs[slot];
	c->count--;
	memmove(c->objs + slot, c->objs + slot + 1, (c->count - slot) * sizeof *c->objs);
	if (!c->count) {
		free(c);
		x->chunk_count--;
		memmove(x->chunks + at, x->chunks + at + 1, (x->chunk_count - at) * sizeof *x->chunks);
	}
	x->count--;
	x->bytes -= o->text_len;
	return o;
}

struct index_pos index_seek(const struct index *x, const char *from)
{
	struct index_pos pos = { 0, 0 };

	if (x->chunk_count) {
		pos.chunk = find_chunk(x, from);
		pos.slot = find_slot(x->chunks[pos.chunk], from);
	}
	return pos;
}

struct obj *index_next(const struct index *x, struct index_pos *pos)
{
	while (pos->chunk < x->chunk_count) {
		if (pos->slot < x->chunks[pos->chunk]->count)
			return x->chunks[pos->chunk]->objs[pos->slot++];
		pos->chunk++;
		pos->slot = 0;
	}
	return NULL;
}
