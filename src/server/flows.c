// SPDX-License-Identifier: Apache-2.0
#include "server/flows.h"

#include <stdlib.h>
#include <string.h>

#include "server/map.h"

#define TICK_NS 100000000ull               // how often what everybody may have is worked out again
#define BURST_NS 300000000ull              // time whose share may be saved up
#define FORGET_NS 10000000000ull           // after the last request
#define S_NS 1000000000ull
#define FIRST_COST_NS 100000               // of a request of somebody new

struct flow {
	struct flow_ticket *head, **tail;  // who waits
	unsigned waiting, in_flight;
	int64_t credit;                    // nanoseconds of work; below 0: a debt
	uint64_t filled, seen;             // when credit was last added to; when it last asked
	uint64_t used;                     // in this tick
	uint64_t typical;                  // cost of his requests
	bool hungry;                       // had to wait in this tick
};

struct flows {
	struct map all;                    // user -> struct flow
	uint64_t capacity, share;          // per second: of all, and of each one who wants more than he gets
	uint64_t tick;                     // when it began
	size_t turn;                       // position in all of whose turn it is
	struct flow_counts counts;
};

struct flows *flows_new(uint64_t capacity)
{
	struct flows *f = calloc(1, sizeof *f);

	if (f)
		f->capacity = f->share = capacity;
	return f;
}

void flows_free(struct flows *f)
{
	if (!f)
		return;
	map_fini(&f->all, free);
	free(f);
}

/* --- accounts --- */

static int64_t most(const struct flows *f)
{
	return (int64_t)(f->share / 1000 * (BURST_NS / 1000) / 1000);
}

static void fill(const struct flows *f, struct flow *w, uint64_t now)
{
	uint64_t span = now - w->filled < S_NS ? now - w->filled : S_NS;

	w->credit += (int64_t)(f->share / 1000 * (span / 1000) / 1000);
	if (w->credit > most(f))
		w->credit = most(f);
	if (w->credit < -(int64_t)f->capacity)
		w->credit = -(int64_t)f->capacity;    // nobody is shut out for longer than his work took
	w->filled = now;
}

/* What is left when those who got all they wanted are served is for the hungry, in equal parts. */
static void divide(struct flows *f, uint64_t now)
{
	uint64_t span = now - f->tick, sated = 0, hungry = 0;
	struct flow *w;
	const char *user;
	size_t pos = 0, gone = 0;
	struct map old = MAP_INIT;

	while ((w = map_next(&f->all, &pos, &user))) {
		fill(f, w, now);
		w->hungry |= w->waiting > 0;
		hungry += w->hungry;
		if (!w->hungry)
			sated += w->used;
		w->used = 0;
		w->hungry = false;
		if (!w->in_flight && now - w->seen > FORGET_NS && !map_put(&old, user, w))
			gone++;
	}
	sated = (uint64_t)((double)sated * S_NS / (double)(span + 1));            // per second
	f->share = f->capacity;
	if (hungry) {
		f->share = (sated < f->capacity ? f->capacity - sated : 0) / hungry;
		uint64_t equal = f->capacity / (f->all.count ? f->all.count : 1);
		if (f->share < equal)
			f->share = equal;
	}
	f->tick = now;
	for (pos = 0; gone && (w = map_next(&old, &pos, &user));)
		free(map_remove(&f->all, user));
	map_fini(&old, NULL);
}

static void tick(struct flows *f, uint64_t now)
{
	if (now - f->tick >= TICK_NS)
		divide(f, now);
}

static struct flow *flow_of(struct flows *f, const char *user, uint64_t now)
{
	struct flow *w = map_get(&f->all, user);

	if (w)
		return w;
	w = calloc(1, sizeof *w);
	if (!w || map_put(&f->all, user, w)) {
		free(w);
		return NULL;
	}
	*w = (struct flow){ .tail = &w->head, .filled = now, .credit = most(f), .seen = now, .typical = FIRST_COST_NS };
	return w;
}

/* --- requests --- */

static bool is_full(const struct flow *w)
{
	return w->waiting >= FLOW_WAITING_MAX || w->in_flight >= FLOW_IN_FLIGHT_MAX;
}

/* Many may go before the first one's cost is known. */
static void reserve(struct flow *w, struct flow_ticket *t)
{
	t->reserved = w->typical;
	w->credit -= (int64_t)t->reserved;
}

enum flow_answer flows_ask(struct flows *f, struct flow_ticket *t, const char *user, uint64_t now)
{
	struct flow *w;

	tick(f, now);
	w = flow_of(f, user, now);
	if (!w)
		return FLOW_GO;            // without memory nobody is kept waiting
	w->seen = now;
	fill(f, w, now);
	if (is_full(w)) {
		w->hungry = true;
		f->counts.refused_total++;
		return FLOW_REFUSE;
	}
	*t = (struct flow_ticket){ .flow = w, .since = now };
	w->in_flight++;
	f->counts.in_flight++;
	if (w->credit > 0 && !w->head) {
		reserve(w, t);
		return FLOW_GO;
	}
	w->hungry = true;
	*w->tail = t;
	w->tail = &t->next;
	w->waiting++;
	f->counts.waiting++;
	f->counts.waited_total++;
	return FLOW_WAIT;
}

static void dequeue(struct flows *f, struct flow *w, struct flow_ticket *t)
{
	struct flow_ticket **at = &w->head;

	while (*at && *at != t)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = t->next;
	if (w->tail == &t->next)
		w->tail = at;
	t->next = NULL;
	w->waiting--;
	f->counts.waiting--;
}

void flows_leave(struct flows *f, struct flow_ticket *t)
{
	struct flow *w = t->flow;

	if (!w)
		return;
	dequeue(f, w, t);
	if (t->reserved) {
		w->credit += (int64_t)t->reserved - (int64_t)t->spent;
		w->used += t->spent;
		f->counts.work_ns_total += t->spent;
		w->typical = (7 * w->typical + t->spent) / 8 + 1;
	}
	w->in_flight--;
	f->counts.in_flight--;
	t->flow = NULL;
}

/* When w's first one can go: it is out of debt, or has waited too long. */
static uint64_t when(const struct flows *f, const struct flow *w, uint64_t now)
{
	uint64_t late = w->head->since + FLOW_WAIT_NS, rate = f->share / 1000 + 1;      // nanoseconds in a millisecond
	uint64_t at = w->credit > 0 ? now : now + ((uint64_t)-w->credit / rate + 1) * (S_NS / 1000);

	return late < at ? late : at;
}

/* The one behind the last who had his turn, of those who can go now. */
static struct flow *whose_turn(struct flows *f, uint64_t now, uint64_t *at)
{
	struct flow *w, *first = NULL, *next = NULL;
	size_t pos = 0, first_pos = 0, next_pos = 0;

	while ((w = map_next(&f->all, &pos, NULL))) {
		if (!w->head)
			continue;
		fill(f, w, now);
		uint64_t ready = when(f, w, now);
		if (ready > now) {
			*at = ready < *at ? ready : *at;
		} else if (pos > f->turn && !next) {
			next = w;
			next_pos = pos;
		} else if (!first) {
			first = w;
			first_pos = pos;
		}
	}
	f->turn = next ? next_pos : first_pos;
	return next ? next : first;
}

struct flow_ticket *flows_next(struct flows *f, uint64_t now, uint64_t *at)
{
	struct flow *w;

	*at = FLOWS_NEVER;
	if (!f->counts.waiting)
		return NULL;
	tick(f, now);
	w = whose_turn(f, now, at);
	if (!w)
		return NULL;
	struct flow_ticket *t = w->head;
	t->late = w->credit <= 0;
	f->counts.refused_total += t->late;
	dequeue(f, w, t);
	if (!t->late)
		reserve(w, t);
	return t;
}

void flows_counts(const struct flows *f, struct flow_counts *c)
{
	*c = f->counts;
	c->users = f->all.count;
}
