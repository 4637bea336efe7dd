// SPDX-License-Identifier: Apache-2.0
#include "disk/owner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static size_t table_bytes(uint64_t chunks) { return (size_t)(chunks ? chunks : 1) * sizeof(uintptr_t); }

static void *table_map(uint64_t chunks)
{
	void *p = mmap(NULL, table_bytes(chunks), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct owner *owner_new(uint64_t blocks)
{
	struct owner *o = calloc(1, sizeof(*o));

	if (!o) return NULL;
	o->blocks = blocks;
	o->chunks = (blocks + OWNER_CHUNK - 1) / OWNER_CHUNK;
	o->chunk = table_map(o->chunks);
	if (!o->chunk) {
		free(o);
		return NULL;
	}
	return o;
}

static void drop(struct owner *o, uint64_t from)
{
	for (uint64_t c = from; c < o->chunks; c++) {
		if (!(o->chunk[c] & 1)) free((void *)o->chunk[c]);
		if (o->chunk[c]) o->chunk[c] = 0;
	}
}

void owner_free(struct owner *o)
{
	if (!o) return;
	drop(o, 0);
	munmap((void *)o->chunk, table_bytes(o->chunks));
	free(o);
}

int owner_resize(struct owner *o, uint64_t blocks)
{
	uint64_t chunks = (blocks + OWNER_CHUNK - 1) / OWNER_CHUNK;
	uint64_t from = blocks < o->blocks ? blocks : o->blocks;
	void *p;

	if (from % OWNER_CHUNK) {   // the rest of the last chunk that stays: nobody's
		if (owner_reserve(o, from, 1) < 0) return -ENOMEM;
		owner_set(o, from, OWNER_CHUNK - from % OWNER_CHUNK, OWNER_ZERO);
	}
	p = mremap((void *)o->chunk, table_bytes(o->chunks), table_bytes(chunks), chunks < o->chunks ? 0 : MREMAP_MAYMOVE);
	if (chunks < o->chunks) drop(o, chunks);
	if (p == MAP_FAILED) return -ENOMEM;
	o->chunk = p;
	o->chunks = chunks;
	o->blocks = blocks;
	return 0;
}

int owner_reserve(struct owner *o, uint64_t first, uint64_t n)
{
	for (uint64_t c = first / OWNER_CHUNK; n && c <= (first + n - 1) / OWNER_CHUNK; c++) {
		uintptr_t v = atomic_load_explicit(&o->chunk[c], memory_order_acquire);
		uint8_t *p;

		if (v && !(v & 1)) continue;
		p = malloc(OWNER_CHUNK);
		if (!p) return -ENOMEM;
		memset(p, v ? (int)(v >> 1) : (int)OWNER_ZERO, OWNER_CHUNK);
		if (!atomic_compare_exchange_strong(&o->chunk[c], &v, (uintptr_t)p)) free(p);   // another thread was first
	}
	return 0;
}

void owner_set(struct owner *o, uint64_t first, uint64_t n, uint8_t code)
{
	for (; n; first++, n--) {
		uint8_t *p = (uint8_t *)atomic_load_explicit(&o->chunk[first / OWNER_CHUNK], memory_order_acquire);

		__atomic_store_n(p + first % OWNER_CHUNK, code, __ATOMIC_RELEASE);
	}
}

int owner_fill(struct owner *o, uint64_t first, uint64_t n, uint8_t code)
{
	while (n) {
		uint64_t c = first / OWNER_CHUNK, at = first % OWNER_CHUNK;
		uint64_t span = OWNER_CHUNK - at < n ? OWNER_CHUNK - at : n;

		if (at == 0 && (span == OWNER_CHUNK || first + span == o->blocks)) {
			if (!(o->chunk[c] & 1)) free((void *)o->chunk[c]);
			o->chunk[c] = code == OWNER_ZERO ? 0 : ((uintptr_t)code << 1) | 1;
		} else {
			if (owner_reserve(o, first, 1) < 0) return -ENOMEM;
			owner_set(o, first, span, code);
		}
		first += span;
		n -= span;
	}
	return 0;
}

int owner_shift(struct owner *o)
{
	for (uint64_t c = 0; c < o->chunks; c++) {
		uintptr_t v = o->chunk[c];
		uint8_t *p = (uint8_t *)v;

		if (v == 0) continue;
		if (v & 1) {
			o->chunk[c] = (((v >> 1) + 1) << 1) | 1;
			continue;
		}
		for (unsigned i = 0; i < OWNER_CHUNK; i++) p[i] = p[i] == OWNER_ZERO ? (uint8_t)OWNER_ZERO : (uint8_t)(p[i] + 1);
	}
	return 0;
}

void owner_compact(struct owner *o, uint64_t c)
{
	uint8_t *p = (uint8_t *)o->chunk[c];
	uint64_t n = o->blocks - c * OWNER_CHUNK < OWNER_CHUNK ? o->blocks - c * OWNER_CHUNK : OWNER_CHUNK;

	if (!p || ((uintptr_t)p & 1)) return;
	if (n > 1 && memcmp(p, p + 1, n - 1)) return;
	o->chunk[c] = p[0] == OWNER_ZERO ? 0 : ((uintptr_t)p[0] << 1) | 1;
	free(p);
}

uint64_t owner_run(const struct owner *o, uint64_t first, uint64_t n)
{
	uint8_t code = owner_get(o, first);
	uint64_t done = 1;

	while (done < n) {
		uint64_t b = first + done, at = b % OWNER_CHUNK, span = OWNER_CHUNK - at < n - done ? OWNER_CHUNK - at : n - done;
		uintptr_t v = atomic_load_explicit(&o->chunk[b / OWNER_CHUNK], memory_order_acquire);

		if (v == 0 || (v & 1)) {
			if (owner_code(v, 0) != code) return done;
			done += span;
			continue;
		}
		for (uint64_t i = 0; i < span; i++)
			if (owner_code(v, (unsigned)(at + i)) != code) return done + i;
		done += span;
	}
	return done;
}

bool owner_all(const struct owner *o, uint64_t first, uint64_t n, uint8_t code)
{
	return owner_get(o, first) == code && (n == 1 || owner_run(o, first, n) == n);
}
