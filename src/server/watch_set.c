// SPDX-License-Identifier: Apache-2.0
// All watches of a store, by what they look at: who is woken by a change, by time, by a hang-up.
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/watch_internal.h"

#define BOOKMARK_NS (60 * NS_PER_S)

/* --- waking; all with the lock held --- */

static void wake(struct watch *w)
{
	if (w->armed) {
		watch_disarm(w);
		w->wake(w->user);
	}
}

/* Those who look through it are to look at e. */
static void tell(struct watch_filter *f, const struct event *e)
{
	for (struct watch *w = f->members; w && f->armed; w = w->next)
		if (w->armed && w->pos < e->rv) {
			w->pos = e->rv - 1;
			wake(w);
		}
}

static void offer(struct watch_set *s, const struct event *e)
{
	struct watch_parsed now = { .obj = e->obj }, before = { .obj = e->prev };
	unsigned groups[WATCH_GROUPS_OF_EVENT];
	int n = watch_filter_groups(e, groups);

	for (int i = 0; i < n; i++)
		for (struct watch_filter *f = s->groups[groups[i]]; f; f = f->next)
			if (f->armed && watch_filter_event(f, e->type, &now, &before) >= 0)
				tell(f, e);
	json_decref(now.labels);
	json_decref(before.labels);
}

void watch_publish(struct watch_set *s, const struct event *events, size_t count)
{
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < count; i++) {
		offer(s, &events[i]);
		s->published = events[i].rv;
	}
	pthread_mutex_unlock(&s->lock);
}

/* --- time and hang-ups --- */

static void end(struct watch *w)
{
	w->ended = true;
	wake(w);
}

/* Do something with every watch. */
static void each(struct watch_set *s, void (*what)(struct watch *w, void *arg), void *arg)
{
	for (int g = 0; g < WATCH_GROUPS; g++)
		for (struct watch_filter *f = s->groups[g]; f; f = f->next)
			for (struct watch *w = f->members; w; w = w->next)
				what(w, arg);
}

static void end_if_named(struct watch *w, void *id)
{
	if (w->id == *(const uint64_t *)id)
		end(w);
}

struct sweep { uint64_t now, next, published; };

static void wake_if_due(struct watch *w, void *arg)
{
	struct sweep *t = arg;

	if (w->deadline_ns && w->deadline_ns <= t->now && !w->ended)
		end(w);
	if (w->bookmark_ns && w->bookmark_ns <= t->now) {
		// An armed watch has nothing outstanding: it is as far as we are.
		if (w->armed && w->pos < t->published)
			w->pos = t->published;
		w->bookmark_ns = t->now + BOOKMARK_NS;
		w->bookmark_due = true;
		wake(w);
	}
	if (w->deadline_ns && !w->ended && w->deadline_ns < t->next)
		t->next = w->deadline_ns;
	if (w->bookmark_ns && w->bookmark_ns < t->next)
		t->next = w->bookmark_ns;
}

/* Wake what is due. Returns the time of the next one. */
static uint64_t sweep(struct watch_set *s, uint64_t now)
{
	struct sweep t = { .now = now, .next = UINT64_MAX, .published = s->published };

	each(s, wake_if_due, &t);
	return t.next;
}

/* Milliseconds until `next`, at least a second: timers may come late, and then many at once. */
static int sleep_ms(uint64_t now, uint64_t next)
{
	uint64_t ms = next <= now ? 0 : (next - now + NS_PER_MS - 1) / NS_PER_MS;

	return next == UINT64_MAX ? -1 : ms < 1000 ? 1000 : ms > 3600000 ? 3600000 : (int)ms;
}

static void *timer_main(void *arg)
{
	struct watch_set *s = arg;
	struct epoll_event ev[64];
	int timeout = -1;

	for (;;) {
		int n = epoll_wait(s->epoll_fd, ev, 64, timeout);
		uint64_t now = clock_mono_ns(), kicks;
		pthread_mutex_lock(&s->lock);
		for (int i = 0; i < n; i++)
			if (ev[i].data.u64)
				each(s, end_if_named, &ev[i].data.u64);
			else if (read(s->event_fd, &kicks, sizeof kicks) < 0)
				kicks = 0;
		s->due_ns = sweep(s, now);
		timeout = sleep_ms(now, s->due_ns);
		if (s->stopping) {
			pthread_mutex_unlock(&s->lock);
			return NULL;
		}
		pthread_mutex_unlock(&s->lock);
	}
}

static void kick_timer(struct watch_set *s)
{
	uint64_t one = 1;

	while (write(s->event_fd, &one, sizeof one) < 0 && errno == EINTR)
		;
}

/* --- members --- */

/* The filter of the set that looks at the same as f: f itself, if there is none. */
static struct watch_filter *join(struct watch_set *s, struct watch_filter *f)
{
	struct watch_filter **group = &s->groups[f->group];

	for (struct watch_filter *there = *group; there; there = there->next)
		if (watch_filter_same(there, f))
			return there;
	f->next = *group;
	if (f->next)
		f->next->prev = f;
	*group = f;
	return f;
}

void watch_set_add(struct watch_set *s, struct watch *w, uint64_t timeout_ns)
{
	struct watch_filter *own = w->filter;
	uint64_t now = clock_mono_ns();
	bool kick;

	pthread_mutex_lock(&s->lock);
	w->id = ++s->next_id;
	w->ended = s->ending;
	w->filter = join(s, own);
	w->next = w->filter->members;
	if (w->next)
		w->next->prev = w;
	w->filter->members = w;
	s->count++;
	if (w->bookmarks)
		w->bookmark_ns = now + BOOKMARK_NS;
	if (timeout_ns)
		w->deadline_ns = now + timeout_ns;
	kick = (w->bookmark_ns && w->bookmark_ns < s->due_ns) || (w->deadline_ns && w->deadline_ns < s->due_ns);
	pthread_mutex_unlock(&s->lock);
	if (w->filter != own)
		watch_filter_free(own);
	if (w->hangup_fd >= 0) {
		struct epoll_event ev = { .events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = w->id };
		epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, w->hangup_fd, &ev);
	}
	if (kick)
		kick_timer(s);
}

void watch_forget_hangup(struct watch *w)
{
	if (w->hangup_fd >= 0)
		epoll_ctl(store_watches(w->st)->epoll_fd, EPOLL_CTL_DEL, w->hangup_fd, NULL);
	w->hangup_fd = -1;
}

static void leave(struct watch_set *s, struct watch_filter *f)
{
	if (f->prev)
		f->prev->next = f->next;
	else
		s->groups[f->group] = f->next;
	if (f->next)
		f->next->prev = f->prev;
	watch_filter_free(f);
}

void watch_set_remove(struct watch_set *s, struct watch *w)
{
	watch_forget_hangup(w);
	pthread_mutex_lock(&s->lock);
	watch_disarm(w);
	if (w->prev)
		w->prev->next = w->next;
	else
		w->filter->members = w->next;
	if (w->next)
		w->next->prev = w->prev;
	if (!w->filter->members)
		leave(s, w->filter);
	s->count--;
	pthread_mutex_unlock(&s->lock);
}

size_t watch_set_count(struct watch_set *s)
{
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = s->count;
	pthread_mutex_unlock(&s->lock);
	return n;
}

static void end_any(struct watch *w, void *arg)
{
	(void)arg;
	end(w);
}

void watch_set_end_all(struct watch_set *s)
{
	pthread_mutex_lock(&s->lock);
	s->ending = true;
	each(s, end_any, NULL);
	pthread_mutex_unlock(&s->lock);
}

static void wake_any(struct watch *w, void *arg)
{
	(void)arg;
	wake(w);
}

void watch_set_wake_all(struct watch_set *s, uint64_t rv)
{
	pthread_mutex_lock(&s->lock);
	s->published = rv;
	each(s, wake_any, NULL);
	pthread_mutex_unlock(&s->lock);
}

struct watch_set *watch_set_new(struct store *st)
{
	struct watch_set *s = calloc(1, sizeof *s);
	struct epoll_event ev = { .events = EPOLLIN };

	if (!s)
		return NULL;
	s->st = st;
	s->due_ns = UINT64_MAX;
	pthread_mutex_init(&s->lock, NULL);
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->epoll_fd < 0 || s->event_fd < 0 || epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->event_fd, &ev) ||
	    pthread_create(&s->timer, NULL, timer_main, s)) {
		if (s->epoll_fd >= 0)
			close(s->epoll_fd);
		if (s->event_fd >= 0)
			close(s->event_fd);
		free(s);
		return NULL;
	}
	return s;
}

void watch_set_free(struct watch_set *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_mutex_unlock(&s->lock);
	kick_timer(s);
	pthread_join(s->timer, NULL);
	close(s->epoll_fd);
	close(s->event_fd);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
