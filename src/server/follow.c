// SPDX-License-Identifier: Apache-2.0
#include "server/follow.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/store_internal.h"
#include "server/watch.h"

#define PART 256          // changes made visible at a time
#define LATE_NS (2 * NS_PER_S)
#define REFRESH_NS (8 * NS_PER_S)

struct follow {
	struct store *st;
	struct store_feed feed;
	pthread_t refresher;
	bool refreshing;                 // the thread runs
	pthread_mutex_t lock;            // the rest
	pthread_cond_t visible, asked;
	struct store_wait *first, **last;
	bool stopping;
};

/* --- the feed; the backend's thread --- */

static void announce(struct follow *f)
{
	pthread_mutex_lock(&f->lock);
	pthread_cond_broadcast(&f->visible);
	pthread_mutex_unlock(&f->lock);
}

/* Returns 0 and an event, or -ENOENT: nothing to tell. */
static int apply_change(struct store *st, struct store_change *c, struct event *out)
{
	const struct obj *last;

	if (c->obj)
		return store_apply(st, c->obj, false, out);
	last = *c->key ? index_get(st->index, c->key) : NULL;
	if (!last)
		return -ENOENT;
	c->obj = obj_copy_rv(last, c->rv);
	return c->obj ? store_apply(st, c->obj, true, out) : -ENOMEM;
}

static size_t apply_part(struct store *st, struct store_change *c, size_t n, struct event *events)
{
	size_t count = 0;

	pthread_rwlock_wrlock(&st->lock);
	for (size_t i = 0; i < n; i++) {
		int r = apply_change(st, &c[i], &events[count]);
		if (r == -ENOMEM) {
			log_error("store", "out of memory while following; restarting to read everything again");
			abort();
		}
		count += r == 0;
		atomic_store_explicit(&st->rv, c[i].rv, memory_order_release);
	}
	pthread_rwlock_unlock(&st->lock);
	return count;
}

static void changed(void *user, struct store_change *c, size_t n)
{
	struct follow *f = user;
	struct store *st = f->st;
	struct event events[PART];

	for (size_t at = 0; at < n; at += PART) {
		size_t count = apply_part(st, c + at, n - at < PART ? n - at : PART, events);
		announce(f);
		watch_publish(st->watches, events, count);
		for (size_t i = 0; i < count; i++) {
			obj_unref(events[i].obj);
			obj_unref(events[i].prev);
		}
	}
}

/* Watches cannot be told what was missed: they end, and their clients list again. */
static int reload(void *user)
{
	struct follow *f = user;
	struct store *st = f->st;
	struct history *history = NULL;
	struct index *x = NULL;
	struct node_index *nodes = NULL;
	struct err e = ERR_INIT;
	uint64_t rv = 0;
	int r = store_load(st, &x, &nodes, &rv, &e);

	if (!r && !(history = history_new(rv)))
		r = err_set(&e, ENOMEM, "store: out of memory");
	if (r) {
		log_error("store", "%s", e.text);
		node_index_free(nodes);
		index_free(x);
		return r;
	}
	pthread_rwlock_wrlock(&st->lock);
	node_index_free(st->nodes);
	index_free(st->index);
	history_free(st->history);
	st->index = x;
	st->nodes = nodes;
	st->history = history;
	atomic_store_explicit(&st->rv, rv, memory_order_release);
	pthread_rwlock_unlock(&st->lock);
	log_warn("store", "was away for longer than changes are kept; read %zu objects again", store_count(st));
	announce(f);
	watch_set_wake_all(st->watches, rv);
	return 0;
}

/* --- waiting --- */

static struct timespec after(uint64_t ns)
{
	uint64_t at = clock_mono_ns() + ns;

	return (struct timespec){ at / NS_PER_S, at % NS_PER_S };
}

/* f->lock is held. until_ns: monotonic. */
static bool wait_visible(struct follow *f, uint64_t rv, uint64_t until_ns)
{
	while (store_rv(f->st) < rv && !f->stopping && clock_mono_ns() < until_ns) {
		struct timespec late = after(LATE_NS);
		if (pthread_cond_timedwait(&f->visible, &f->lock, &late) == ETIMEDOUT && store_rv(f->st) < rv)
			f->st->ops->hurry(f->st->backend);
	}
	return store_rv(f->st) >= rv;
}

bool follow_wait(struct follow *f, uint64_t rv)
{
	bool is;

	pthread_mutex_lock(&f->lock);
	is = wait_visible(f, rv, UINT64_MAX);
	pthread_mutex_unlock(&f->lock);
	return is;
}

static int catch_up(struct follow *f, struct err *e)
{
	struct store *st = f->st;
	uint64_t rv;
	bool is;
	int r = st->ops->latest(st->backend, &rv, e);

	if (r)
		return r;
	pthread_mutex_lock(&f->lock);
	is = wait_visible(f, rv, clock_mono_ns() + REFRESH_NS);
	pthread_mutex_unlock(&f->lock);
	return is ? 0 : err_set(e, ETIMEDOUT, "store: changes of other servers do not arrive");
}

static void *refresher_main(void *arg)
{
	struct follow *f = arg;
	struct store_wait *list, *next;

	pthread_mutex_lock(&f->lock);
	while (f->first || !f->stopping) {
		struct err e = ERR_INIT;
		int r;
		if (!f->first) {
			pthread_cond_wait(&f->asked, &f->lock);
			continue;
		}
		list = f->first;
		f->first = NULL;
		f->last = &f->first;
		pthread_mutex_unlock(&f->lock);
		r = catch_up(f, &e);
		if (r)
			log_limited(LOG_LEVEL_WARN, "store", "%s", e.text);
		for (; list; list = next) {
			next = list->next;
			list->result = r;
			list->done(list);
		}
		pthread_mutex_lock(&f->lock);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

void store_refresh(struct store *st, struct store_wait *w)
{
	struct follow *f = st->follow;

	w->next = NULL;
	pthread_mutex_lock(&f->lock);
	*f->last = w;
	f->last = &w->next;
	pthread_cond_signal(&f->asked);
	pthread_mutex_unlock(&f->lock);
}

bool store_shared(const struct store *st)
{
	return st->follow;
}

/* --- starting and stopping --- */

void follow_stop(struct follow *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->stopping = true;
	pthread_cond_broadcast(&f->visible);
	pthread_cond_broadcast(&f->asked);
	pthread_mutex_unlock(&f->lock);
	if (f->refreshing)
		pthread_join(f->refresher, NULL);
	f->refreshing = false;
}

void follow_free(struct follow *f)
{
	if (!f)
		return;
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->visible);
	pthread_cond_destroy(&f->asked);
	free(f);
}

int follow_start(struct store *st, struct follow **out, struct err *e)
{
	struct follow *f = calloc(1, sizeof *f);
	pthread_condattr_t monotonic;
	int r;

	if (!f)
		return err_set(e, ENOMEM, "store: out of memory");
	f->st = st;
	f->last = &f->first;
	f->feed = (struct store_feed){ .changed = changed, .reload = reload, .user = f };
	pthread_mutex_init(&f->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&f->visible, &monotonic);
	pthread_cond_init(&f->asked, NULL);
	pthread_condattr_destroy(&monotonic);
	*out = f;   // the store frees it, when the backend that knows it is closed
	r = st->ops->follow(st->backend, &f->feed, e);
	if (!r)
		r = catch_up(f, e);
	if (!r && (r = -pthread_create(&f->refresher, NULL, refresher_main, f)))
		err_sys(e, -r, "store: start a thread");
	f->refreshing = !r;
	return r;
}
