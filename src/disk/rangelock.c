// SPDX-License-Identifier: Apache-2.0
#include "disk/rangelock.h"

#include "disk/disk_internal.h"

void rangelock_init(struct rangelock *k)
{
	pthread_mutex_init(&k->lock, NULL);
	k->held = k->waiting = NULL;
	k->waiting_tail = &k->waiting;
	k->exclusives = 0;
}

void rangelock_fini(struct rangelock *k) { pthread_mutex_destroy(&k->lock); }

// A waiting or held request has its range in when (start) and progress (end), and in state whether it excludes.
static bool conflict(const struct iof_req *a, const struct iof_req *b)
{
	return (a->state || b->state) && a->when < b->progress && b->when < a->progress;
}

static bool blocked(const struct rangelock *k, const struct iof_req *r, const struct iof_req *until)
{
	if (!k->exclusives) return false;
	for (const struct iof_req *h = k->held; h; h = h->hold_next)
		if (conflict(h, r)) return true;
	for (const struct iof_req *w = k->waiting; w && w != until; w = w->hold_next)   // no overtaking
		if (conflict(w, r)) return true;
	return false;
}

static void hold(struct rangelock *k, struct iof_req *r)
{
	r->hold_prev = NULL;
	r->hold_next = k->held;
	if (k->held) k->held->hold_prev = r;
	k->held = r;
}

bool rangelock_take(struct rangelock *k, struct iof_layer *l, struct iof_req *r, uint64_t off, uint64_t end, bool exclusive,
		    void (*then)(struct iof_layer *, struct iof_req *))
{
	bool wait;

	r->when = off;
	r->progress = end;
	r->state = exclusive;
	r->layer = l;
	r->step = then;
	pthread_mutex_lock(&k->lock);
	k->exclusives += exclusive;
	wait = blocked(k, r, NULL);
	if (!wait) {
		hold(k, r);
	} else {
		r->hold_next = NULL;
		*k->waiting_tail = r;
		k->waiting_tail = &r->hold_next;
	}
	pthread_mutex_unlock(&k->lock);
	return !wait;
}

/* Requests whose turn has come, by link: they are in the held list already, and posting uses next. */
static struct iof_req *grant(struct rangelock *k)
{
	struct iof_req **p = &k->waiting, *r, *granted = NULL;

	while ((r = *p)) {
		if (blocked(k, r, r)) {
			p = &r->hold_next;
			continue;
		}
		*p = r->hold_next;
		if (!*p) k->waiting_tail = p;
		hold(k, r);
		r->link = granted;
		granted = r;
	}
	return granted;
}

void rangelock_drop(struct rangelock *k, struct iof_req *r)
{
	struct iof_req *g = NULL, *next;

	pthread_mutex_lock(&k->lock);
	if (r->hold_next) r->hold_next->hold_prev = r->hold_prev;
	if (r->hold_prev) r->hold_prev->hold_next = r->hold_next;
	else k->held = r->hold_next;
	k->exclusives -= (unsigned)r->state;
	if (k->waiting) g = grant(k);
	pthread_mutex_unlock(&k->lock);
	for (; g; g = next) {
		next = g->link;
		iof->resume(g->layer, g, g->step);
	}
}
