// SPDX-License-Identifier: Apache-2.0
#include "server/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/registry.h"
#include "server/watch.h"

#define TURN_EVENTS 64
#define PAUSE_NS NS_PER_MS         // between changes that come fast: more are taken together, and nobody has to wake the thread for each
#define FAST_NS (2 * NS_PER_MS)    // since the one before
#define RETRY_NS NS_PER_S

struct source {
	struct loop *loop;
	const struct unit_source *ops;
	void *unit;
	struct watch *watch;      // NULL: to be opened
	bool armed;               // has nothing more in this turn
};

struct unit {
	const struct unit_ops *ops;
	void *state;
};

struct loop {
	struct server *srv;
	char name[16];
	struct unit *units;
	struct source *sources;
	int unit_count, source_count;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool woken, pausing, stopping;
};

static void wake(void *user)
{
	struct loop *l = user;

	pthread_mutex_lock(&l->lock);
	l->woken = true;
	if (!l->pausing)
		pthread_cond_signal(&l->cond);
	pthread_mutex_unlock(&l->lock);
}

static bool open_source(struct source *s)
{
	const struct k8s_kind *k = k8s_kind_find(s->ops->group, s->ops->version, s->ops->plural);
	char prefix[REG_KEY_MAX];
	struct watch_opts o = { .prefix = *s->ops->plural == '*' ? "" : reg_prefix(k, NULL, prefix), .initial = true, .hangup_fd = -1, .wake = wake,
				.user = s->loop };

	if (watch_open(s->loop->srv->store, &o, &s->watch)) {
		s->watch = NULL;
		return false;
	}
	if (s->ops->reset)
		s->ops->reset(s->unit);
	return true;
}

/* Hand over some of what is there: sources of the same kind go side by side, so that one parse serves them all (view.h).
 * Returns 1 if there is more, 0 if not, -1 if the source has to be opened again and could not be. */
static int drain_some(struct source *s, bool arm, bool *any)
{
	struct watch_event e;

	for (int i = 0; i < TURN_EVENTS; i++) {
		if (!s->watch && !open_source(s))
			return -1;
		switch (watch_next(s->watch, &e)) {
		case WATCH_EVENT:
			*any = true;
			s->ops->changed(s->unit, e.type, e.obj);
			obj_unref(e.obj);
			break;
		case WATCH_GONE:
		case WATCH_END:
			watch_close(s->watch);
			s->watch = NULL;
			if (s->loop->stopping)
				return 0;
			break;
		case WATCH_IDLE:
			if (!arm || watch_arm(s->watch, NULL))
				return 0;
			break;
		default:
			break;
		}
	}
	return 1;
}

/* Hand over everything that is there. arm: wake us when there is more. Returns false if something could not be opened. */
static bool drain(struct loop *l, bool arm, bool *any)
{
	bool more, all = true;

	do {
		more = false;
		for (int i = 0; i < l->source_count; i++) {
			struct source *s = &l->sources[i];
			int r = s->armed ? 0 : drain_some(s, arm, any);
			more |= r > 0;
			all &= r >= 0;
			s->armed = r <= 0;
		}
	} while (more);
	for (int i = 0; i < l->source_count; i++)
		l->sources[i].armed = false;
	return all;
}

/* Sleep until woken or until the time comes. */
static bool wait_for_work(struct loop *l, uint64_t until)
{
	struct timespec at = { until / NS_PER_S, until % NS_PER_S };
	bool stopping;

	pthread_mutex_lock(&l->lock);
	while (!l->woken && !l->stopping) {
		if (until == LOOP_NEVER)
			pthread_cond_wait(&l->cond, &l->lock);
		else if (pthread_cond_timedwait(&l->cond, &l->lock, &at) == ETIMEDOUT)
			break;
	}
	l->woken = false;
	stopping = l->stopping;
	pthread_mutex_unlock(&l->lock);
	return !stopping;
}

/* A moment in which changes gather; the thread is not woken by them. */
static bool pause_for_more(struct loop *l, uint64_t until)
{
	uint64_t end = clock_mono_ns() + PAUSE_NS;
	struct timespec at;
	bool stopping;

	if (until < end)
		end = until;
	at = (struct timespec){ end / NS_PER_S, end % NS_PER_S };
	pthread_mutex_lock(&l->lock);
	l->pausing = true;
	while (!l->stopping && pthread_cond_timedwait(&l->cond, &l->lock, &at) != ETIMEDOUT)
		;
	l->pausing = false;
	stopping = l->stopping;
	pthread_mutex_unlock(&l->lock);
	return !stopping;
}

static void *loop_main(void *arg)
{
	struct loop *l = arg;
	bool arm = true, any, fast;
	uint64_t next, now, last = 0;

	for (;;) {
		next = LOOP_NEVER;
		any = false;
		if (!drain(l, arm, &any))
			next = clock_mono_ns() + RETRY_NS;
		for (int i = 0; i < l->unit_count; i++) {
			uint64_t at = l->units[i].ops->work(l->units[i].state, clock_mono_ns());
			if (at < next)
				next = at;
		}
		now = clock_mono_ns();
		fast = any && now - last < FAST_NS;
		if (any)
			last = now;
		if (fast ? !pause_for_more(l, next) : arm && !wait_for_work(l, next))
			return NULL;
		arm = !fast;      // what comes next is looked for; when it does not come, we are to be woken
	}
}

static void loop_free(struct loop *l)
{
	for (int i = 0; i < l->source_count; i++)
		watch_close(l->sources[i].watch);
	for (int i = 0; i < l->unit_count; i++)
		l->units[i].ops->close(l->units[i].state);
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->cond);
	free(l->units);
	free(l->sources);
	free(l);
}

static int make_room(struct loop *l, const struct unit_ops *const *ops)
{
	size_t units = 0, sources = 0;

	for (; *ops; ops++, units++)
		for (const struct unit_source *s = (*ops)->sources; s->plural; s++)
			sources++;
	l->units = calloc(units + 1, sizeof *l->units);
	l->sources = calloc(sources + 1, sizeof *l->sources);
	return l->units && l->sources ? 0 : -ENOMEM;
}

static int add_unit(struct loop *l, const struct unit_ops *ops, struct err *e)
{
	struct unit *u = &l->units[l->unit_count];
	int r = ops->open(l->srv, &u->state, e);

	if (r)
		return err_wrap(e, "start %s", ops->name);
	u->ops = ops;
	l->unit_count++;
	for (const struct unit_source *s = ops->sources; s->plural; s++)
		l->sources[l->source_count++] = (struct source){ .loop = l, .ops = s, .unit = u->state };
	return 0;
}

int loop_start(struct server *srv, const char *name, const struct unit_ops *const *ops, struct loop **out, struct err *e)
{
	struct loop *l = calloc(1, sizeof *l);
	pthread_condattr_t monotonic;
	int r = 0;

	if (!l)
		return err_set(e, ENOMEM, "out of memory");
	l->srv = srv;
	strncpy(l->name, name, sizeof l->name - 1);
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&l->cond, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (make_room(l, ops))
		r = err_set(e, ENOMEM, "out of memory");
	for (; *ops && !r; ops++)
		r = add_unit(l, *ops, e);
	if (!r && (r = -pthread_create(&l->thread, NULL, loop_main, l)))
		err_sys(e, -r, "start the %s thread", name);
	if (r) {
		loop_free(l);
		return r;
	}
	pthread_setname_np(l->thread, l->name);
	*out = l;
	return 0;
}

void loop_stop(struct loop *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->stopping = true;
	pthread_cond_signal(&l->cond);
	pthread_mutex_unlock(&l->lock);
	pthread_join(l->thread, NULL);
	loop_free(l);
}
