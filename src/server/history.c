// SPDX-License-Identifier: Apache-2.0
#include "server/history.h"

#include <stdlib.h>

struct history {
	size_t head, count;     // ring
	size_t bytes;           // of previous states, which nobody else keeps
	uint64_t start;
	struct event ring[HISTORY_EVENTS_MAX];
};

struct history *history_new(uint64_t rv)
{
	struct history *h = calloc(1, sizeof *h);   // untouched pages cost nothing

	if (h)
		h->start = rv;
	return h;
}

/* Text kept alive by history alone: the state before, and the last state of what was deleted. */
static size_t event_bytes(const struct event *e)
{
	return (e->prev ? e->prev->text_len : 0) + (e->type == EVENT_DELETED ? e->obj->text_len : 0);
}

static void drop_oldest(struct history *h)
{
	struct event *e = &h->ring[h->head];

	h->start = e->rv;
	h->bytes -= event_bytes(e);
	obj_unref(e->obj);
	obj_unref(e->prev);
	h->head = (h->head + 1) % HISTORY_EVENTS_MAX;
	h->count--;
}

void history_free(struct history *h)
{
	if (!h)
		return;
	while (h->count)
		drop_oldest(h);
	free(h);
}

void history_append(struct history *h, const struct event *e, size_t live)
{
	size_t max = live / 4 > HISTORY_BYTES_MAX ? live / 4 : HISTORY_BYTES_MAX;

	if (h->count == HISTORY_EVENTS_MAX)
		drop_oldest(h);
	h->ring[(h->head + h->count++) % HISTORY_EVENTS_MAX] = *e;
	h->bytes += event_bytes(e);
	while (h->bytes > max && h->count > HISTORY_EVENTS_MIN)
		drop_oldest(h);
}

uint64_t history_start(const struct history *h)
{
	return h->start;
}

size_t history_count(const struct history *h)
{
	return h->count;
}

size_t history_find(const struct history *h, uint64_t after)
{
	size_t lo = 0, hi = h->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (history_at(h, mid)->rv <= after)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct event *history_at(const struct history *h, size_t pos)
{
	return pos < h->count ? &h->ring[(h->head + pos) % HISTORY_EVENTS_MAX] : NULL;
}
