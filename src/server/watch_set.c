// SPDX-License-Identifier: Apache-2.0
// All watches of a store, in lists by what they look at: who is woken by a change, by time, by a hang-up.
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
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
		w->armed = false;
		w->wake(w->user);
	}
}

static unsigned hash(const char *text, char until)
{
	unsigned h = 5381;

	for (; *text && *text != until; text++)
		h = h * 33 + (unsigned char)*text;
	return h;
}

static unsigned resource_group(const char *key)
{
	return *key ? hash(key, '/') % WATCH_RESOURCE_GROUPS : WATCH_EVERYTHING;
}

static unsigned name_group(const char *name)
{
	return WATCH_EVERYTHING + 1 + hash(name, '\0') % WATCH_NAME_GROUPS;
}

static unsigned group_of(const struct watch *w)
{
	return w->exact ? name_group(w->prefix) : w->node ? name_group(w->node) : resource_group(w->prefix);
}

static void offer(struct watch *group, const struct event *e, struct watch_parsed *now, struct watch_parsed *before)
{
	for (struct watch *w = group; w; w = w->next)
		if (w->armed && w->pos < e->rv && watch_concerns(w, e, now, before)) {
			w->pos = e->rv - 1;
			wake(w);
		}
}

/* Those that look at the object, at the node where it is and at the one where it was. */
static void offer_by_name(struct watch_set *s, const struct event *e, struct watch_parsed *now, struct watch_parsed *before)
{
	char node[OBJ_NODE_MAX];
	unsigned key = name_group(obj_key(e->obj)), is = key, was = key;

	offer(s->groups[key], e, now, before);
	if (e->obj->node_len)
		is = name_group(obj_node(e->obj, node));
	if (e->prev && e->prev->node_len)
		was = name_group(obj_node(e->prev, node));
	if (is != key)
		offer(s->groups[is], e, now, before);
	if (was != key && was != is)
		offer(s->groups[was], e, now, before);
}

void watch_publish(struct watch_set *s, const struct event *events, size_t count)
{
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < count; i++) {
		const struct event *e = &events[i];
		struct watch_parsed now = { .obj = e->obj }, before = { .obj = e->prev };
		offer(s->groups[resource_group(obj_key(e->obj))], e, &now, &before);
		offer(s->groups[WATCH_EVERYTHING], e, &now, &before);
		offer_by_name(s, e, &now, &before);
		json_decref(now.labels);
		json_decref(before.labels);
		s->published = e->rv;
	}
	pthread_mutex_unlock(&s->lock);
}

/* --- time and hang-ups --- */

static void end(struct watch *w)
{
	w->ended = true;
	wake(w);
}

static void end_by_id(struct watch_set *s, uint64_t id)
{
	for (int g = 0; g < WATCH_GROUPS; g++)
		for (struct watch *w = s->groups[g]; w; w = w->next)
			if (w->id == id)
				end(w);
}

/* Wake what is due. Returns the time of the next one. */
static uint64_t sweep(struct watch_set *s, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	for (int g = 0; g < WATCH_GROUPS; g++)
		for (struct watch *w = s->groups[g]; w; w = w->next) {
			if (w->deadline_ns && w->deadline_ns <= now && !w->ended)
				end(w);
			if (w->bookmark_ns && w->bookmark_ns <= now) {
				// An armed watch has nothing outstanding: it is as far as we are.
				if (w->armed && w->pos < s->published)
					w->pos = s->published;
				w->bookmark_ns = now + BOOKMARK_NS;
				w->bookmark_due = true;
				wake(w);
			}
			if (w->deadline_ns && !w->ended && w->deadline_ns < next)
				next = w->deadline_ns;
			if (w->bookmark_ns && w->bookmark_ns < next)
				next = w->bookmark_ns;
		}
	return next;
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
				end_by_id(s, ev[i].data.u64);
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

void watch_set_add(struct watch_set *s, struct watch *w, uint64_t timeout_ns)
{
	struct watch **group = &s->groups[group_of(w)];
	uint64_t now = clock_mono_ns();
	bool kick;

	pthread_mutex_lock(&s->lock);
	w->id = ++s->next_id;
	w->next = *group;
	if (w->next)
		w->next->prev = w;
	*group = w;
	s->count++;
	if (w->bookmarks)
		w->bookmark_ns = now + BOOKMARK_NS;
	if (timeout_ns)
		w->deadline_ns = now + timeout_ns;
	kick = (w->bookmark_ns && w->bookmark_ns < s->due_ns) || (w->deadline_ns && w->deadline_ns < s->due_ns);
	pthread_mutex_unlock(&s->lock);
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

void watch_set_remove(struct watch_set *s, struct watch *w)
{
	watch_forget_hangup(w);
	pthread_mutex_lock(&s->lock);
	if (w->prev)
		w->prev->next = w->next;
	else
		s->groups[group_of(w)] = w->next;
	if (w->next)
		w->next->prev = w->prev;
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

void watch_set_end_all(struct watch_set *s)
{
	pthread_mutex_lock(&s->lock);
	for (int g = 0; g < WATCH_GROUPS; g++)
		for (struct watch *w = s->groups[g]; w; w = w->next)
			end(w);
	pthread_mutex_unlock(&s->lock);
}

void watch_set_wake_all(struct watch_set *s, uint64_t rv)
{
	pthread_mutex_lock(&s->lock);
	s->published = rv;
	for (int g = 0; g < WATCH_GROUPS; g++)
		for (struct watch *w = s->groups[g]; w; w = w->next)
			wake(w);
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
