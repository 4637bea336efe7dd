// SPDX-License-Identifier: Apache-2.0
#include "disk/filters/compress/space.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static size_t bytes(const struct space *s) { return (size_t)(s->units_max / 64 + 1) * sizeof(uint64_t); }
static bool is_used(const struct space *s, uint64_t u) { return s->used[u / 64] >> u % 64 & 1; }

static void mark(struct space *s, uint64_t first, uint32_t n, bool used)
{
	for (uint64_t u = first; u < first + n; u++) {
		if (used) s->used[u / 64] |= 1ull << u % 64;
		else s->used[u / 64] &= ~(1ull << u % 64);
	}
	s->nused += used ? n : -(uint64_t)n;
}

int space_init(struct space *s, uint64_t units, uint64_t units_max)
{
	void *p;

	memset(s, 0, sizeof(*s));
	s->units = units;
	s->units_max = units_max;
	p = mmap(NULL, bytes(s), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) return -ENOMEM;
	s->used = p;
	pthread_mutex_init(&s->lock, NULL);
	return 0;
}

void space_fini(struct space *s)
{
	if (!s->used) return;
	munmap(s->used, bytes(s));
	pthread_mutex_destroy(&s->lock);
	free(s->given_up);
	free(s->staged);
}

int space_use(struct space *s, uint64_t first, uint32_t n)
{
	if (first > s->units || n > s->units - first) return -ERANGE;
	for (uint64_t u = first; u < first + n; u++)
		if (is_used(s, u)) return -EEXIST;
	mark(s, first, n, true);
	return 0;
}

int64_t space_take(struct space *s, uint32_t n)
{
	uint64_t u, run = 0, looked = 0;

	pthread_mutex_lock(&s->lock);
	for (u = s->next; looked <= s->units + n; looked++) {
		if (u >= s->units) u = run = 0;
		if (u % 64 == 0 && s->used[u / 64] == UINT64_MAX && u + 64 <= s->units) {
			run = 0;
			u += 64;
			looked += 63;
			continue;
		}
		run = is_used(s, u) ? 0 : run + 1;
		u++;
		if (run == n) {
			mark(s, u - n, n, true);
			s->next = u;
			pthread_mutex_unlock(&s->lock);
			return (int64_t)(u - n);
		}
	}
	pthread_mutex_unlock(&s->lock);
	return -ENOSPC;
}

static int push(struct extent **list, size_t *n, size_t *cap, struct extent x)
{
	if (*n == *cap) {
		size_t more = *cap ? *cap * 2 : 256;
		struct extent *p = realloc(*list, more * sizeof(*p));

		if (!p) return -ENOMEM;
		*list = p;
		*cap = more;
	}
	(*list)[(*n)++] = x;
	return 0;
}

int space_give_up(struct space *s, uint64_t first, uint32_t n)
{
	int rc;

	pthread_mutex_lock(&s->lock);
	rc = push(&s->given_up, &s->ngiven, &s->given_cap, (struct extent){ first, n });
	pthread_mutex_unlock(&s->lock);
	return rc;   // on failure the units stay unused until the disk is opened again
}

void space_undo(struct space *s, uint64_t first, uint32_t n)
{
	pthread_mutex_lock(&s->lock);
	mark(s, first, n, false);
	pthread_mutex_unlock(&s->lock);
}

static int by_first(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

void space_stage(struct space *s)
{
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->ngiven; i++)
		if (push(&s->staged, &s->nstaged, &s->staged_cap, s->given_up[i]) < 0) break;   // lost until the next open
	s->ngiven = 0;
	pthread_mutex_unlock(&s->lock);
	if (!s->nstaged) return;
	qsort(s->staged, s->nstaged, sizeof(s->staged[0]), by_first);
	for (size_t i = 1; i < s->nstaged; i++) {   // neighbours become one
		if (s->staged[n].first + s->staged[n].n == s->staged[i].first) s->staged[n].n += s->staged[i].n;
		else s->staged[++n] = s->staged[i];
	}
	s->nstaged = n + 1;
}

void space_staged_end(struct space *s, int ok)
{
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; ok && i < s->nstaged; i++) mark(s, s->staged[i].first, s->staged[i].n, false);
	if (ok) s->nstaged = 0;
	pthread_mutex_unlock(&s->lock);
}
