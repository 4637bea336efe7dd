// SPDX-License-Identifier: Apache-2.0
#include "server/watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/jtext.h"
#include "base/own.h"

#define BOOKMARK_NS (60 * NS_PER_S)
#define FETCH_MAX 16          // events copied from the history at a time
#define RESOURCE_GROUPS 64    // lists of watches: by resource,
#define EVERYTHING RESOURCE_GROUPS   // of everything,
#define NAME_GROUPS 1024      // and of one object or one node's pods, by key or node
#define GROUPS (RESOURCE_GROUPS + 1 + NAME_GROUPS)

struct watch {
	struct store *st;
	struct watch *prev, *next;       // in its group
	char *prefix;
	size_t prefix_len;
	struct k8s_selector *labels, *fields;
	const char *node;                // of pods: only those on this node (what fields says); NULL: any
	bool exact, bookmarks, initial_end;
	int hangup_fd;
	void (*wake)(void *user);
	void *user;
	uint64_t id;

	struct obj **initial;            // not delivered yet: [initial_pos, initial_count)
	size_t initial_pos, initial_count;
	struct event fetched[FETCH_MAX]; // from the history, not delivered yet
	int fetched_pos, fetched_count;
	uint64_t fetched_rv;             // history has been looked through up to here

	// Under the set's lock.
	uint64_t pos;                    // everything up to here is delivered or does not concern this watch
	bool armed, bookmark_due, ended;
	uint64_t bookmark_ns, deadline_ns;
};

struct watch_set {
	struct store *st;
	pthread_mutex_t lock;
	struct watch *groups[GROUPS];
	size_t count;
	uint64_t next_id;
	uint64_t published;              // changes up to here have been offered to the armed watches
	uint64_t due_ns;                 // when the timer thread looks next at all watches
	int epoll_fd, event_fd;          // hang-ups, and a kick for the timer thread
	pthread_t timer;
	bool stopping;
};

/* --- what passes the filter --- */

/* An object with its labels, parsed at most once for all watches that look at it. */
struct parsed { struct obj *obj; json_t *labels; bool known; };

static const json_t *parsed_labels(struct parsed *p)
{
	if (!p->known)
		p->labels = jtext_get(obj_text(p->obj), p->obj->text_len, "metadata.labels");
	p->known = true;
	return p->labels;
}

static bool key_matches(const struct watch *w, const char *key)
{
	return w->exact ? !strcmp(key, w->prefix) : !strncmp(key, w->prefix, w->prefix_len);
}

static bool matches(const struct watch *w, struct parsed *p)
{
	if (!p->obj)
		return false;
	if (w->node && !obj_is_on(p->obj, w->node))
		return false;
	return (!w->labels || k8s_label_selector_match(w->labels, parsed_labels(p))) &&
	       (!w->fields || k8s_field_selector_match_text(w->fields, obj_text(p->obj), p->obj->text_len));
}

/* What the change means to this watch; -1: nothing. */
static int event_type(const struct watch *w, int type, struct parsed *now, struct parsed *before)
{
	bool is = type != EVENT_DELETED && matches(w, now), was = matches(w, before);

	return is && was ? EVENT_MODIFIED : is ? EVENT_ADDED : was ? EVENT_DELETED : -1;
}

static bool concerns(const struct watch *w, const struct event *e, struct parsed *now, struct parsed *before)
{
	return key_matches(w, obj_key(e->obj)) && event_type(w, e->type, now, before) >= 0;
}

/* --- reading --- */

static bool next_initial(struct watch *w, struct watch_event *out)
{
	while (w->initial_pos < w->initial_count) {
		struct parsed p = { .obj = w->initial[w->initial_pos] };
		bool match = key_matches(w, obj_key(p.obj)) && matches(w, &p);
		json_decref(p.labels);
		if (match) {
			*out = (struct watch_event){ .type = EVENT_ADDED, .obj = w->initial[w->initial_pos++] };
			out->rv = out->obj->rv;
			return true;
		}
		obj_unref(w->initial[w->initial_pos++]);
	}
	free(take(w->initial));
	w->initial_pos = w->initial_count = 0;
	return false;
}

static void set_ended(struct watch *w)
{
	struct watch_set *s = store_watches(w->st);

	pthread_mutex_lock(&s->lock);
	w->ended = true;
	pthread_mutex_unlock(&s->lock);
}

/* Turn a change into what this watch sees of it. */
static bool next_fetched(struct watch *w, struct watch_event *out)
{
	struct event *e = &w->fetched[w->fetched_pos++];
	struct parsed now = { .obj = e->obj }, before = { .obj = e->prev };
	int type = !w->exact || !strcmp(obj_key(e->obj), w->prefix) ? event_type(w, e->type, &now, &before) : -1;

	json_decref(now.labels);
	json_decref(before.labels);
	if (type >= 0) {
		// An object that no longer matches goes as it was when it did, under the change's resourceVersion.
		bool as_before = type == EVENT_DELETED && e->type != EVENT_DELETED;
		*out = (struct watch_event){ .type = type, .rv = e->rv };
		out->obj = as_before ? obj_copy_rv(e->prev, e->rv) : obj_ref(e->obj);
	}
	obj_unref(e->obj);
	obj_unref(e->prev);
	if (type >= 0 && !out->obj)
		set_ended(w);   // out of memory: no gap is allowed
	return type >= 0 && out->obj;
}

static bool take_flag(struct watch_set *s, bool *flag)
{
	bool was;

	pthread_mutex_lock(&s->lock);
	was = *flag;
	*flag = false;
	pthread_mutex_unlock(&s->lock);
	return was;
}

/* From here on the reader has the watch to itself, until it arms it. */
static bool begin_reading(struct watch_set *s, struct watch *w)
{
	bool ended;

	pthread_mutex_lock(&s->lock);
	w->armed = false;
	ended = w->ended;
	pthread_mutex_unlock(&s->lock);
	return !ended;
}

static void set_pos(struct watch_set *s, struct watch *w, uint64_t rv)
{
	pthread_mutex_lock(&s->lock);
	w->pos = rv;
	pthread_mutex_unlock(&s->lock);
}

enum watch_result watch_next(struct watch *w, struct watch_event *out)
{
	struct watch_set *s = store_watches(w->st);

	if (!begin_reading(s, w))
		return WATCH_END;
	if (w->initial && next_initial(w, out))
		return WATCH_EVENT;
	if (w->initial_end) {
		w->initial_end = false;
		*out = (struct watch_event){ .rv = w->pos };
		return WATCH_SYNCED;
	}
	for (;;) {
		int n;
		while (w->fetched_pos < w->fetched_count)
			if (next_fetched(w, out))
				return WATCH_EVENT;
		if (w->fetched_rv > w->pos)
			set_pos(s, w, w->fetched_rv);
		n = store_history(w->st, w->prefix, w->node, w->pos, w->fetched, FETCH_MAX, &w->fetched_rv);
		if (n < 0)
			return WATCH_GONE;
		w->fetched_pos = 0;
		w->fetched_count = n;
		if (!n)
			break;
	}
	set_pos(s, w, w->fetched_rv);
	*out = (struct watch_event){ .rv = w->fetched_rv };
	return take_flag(s, &w->bookmark_due) ? WATCH_BOOKMARK : WATCH_IDLE;
}

bool watch_arm(struct watch *w, void (*suspend)(void *user))
{
	struct watch_set *s = store_watches(w->st);
	bool arm;

	pthread_mutex_lock(&s->lock);
	// What is committed but not published yet will be offered to us; what has been published we must have seen.
	arm = w->pos >= s->published && !w->ended && !w->bookmark_due;
	if (arm) {
		if (suspend)
			suspend(w->user);
		w->armed = true;
	}
	pthread_mutex_unlock(&s->lock);
	return arm;
}

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
	return *key ? hash(key, '/') % RESOURCE_GROUPS : EVERYTHING;
}

static unsigned name_group(const char *name)
{
	return EVERYTHING + 1 + hash(name, '\0') % NAME_GROUPS;
}

static unsigned group_of(const struct watch *w)
{
	return w->exact ? name_group(w->prefix) : w->node ? name_group(w->node) : resource_group(w->prefix);
}

static void offer(struct watch *group, const struct event *e, struct parsed *now, struct parsed *before)
{
	for (struct watch *w = group; w; w = w->next)
		if (w->armed && w->pos < e->rv && concerns(w, e, now, before)) {
			w->pos = e->rv - 1;
			wake(w);
		}
}

/* Those that look at the object, at the node where it is and at the one where it was. */
static void offer_by_name(struct watch_set *s, const struct event *e, struct parsed *now, struct parsed *before)
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
		struct parsed now = { .obj = e->obj }, before = { .obj = e->prev };
		offer(s->groups[resource_group(obj_key(e->obj))], e, &now, &before);
		offer(s->groups[EVERYTHING], e, &now, &before);
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
	for (int g = 0; g < GROUPS; g++)
		for (struct watch *w = s->groups[g]; w; w = w->next)
			if (w->id == id)
				end(w);
}

/* Wake what is due. Returns the time of the next one. */
static uint64_t sweep(struct watch_set *s, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	for (int g = 0; g < GROUPS; g++)
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

/* --- opening and closing --- */

static void watch_free(struct watch *w)
{
	for (size_t i = w->initial_pos; i < w->initial_count; i++)
		obj_unref(w->initial[i]);
	for (int i = w->fetched_pos; i < w->fetched_count; i++) {
		obj_unref(w->fetched[i].obj);
		obj_unref(w->fetched[i].prev);
	}
	free(w->initial);
	k8s_selector_free(w->labels);
	k8s_selector_free(w->fields);
	free(w->prefix);
	free(w);
}

/* The one node whose pods it asks for. */
static const char *node_of(const struct watch *w)
{
	const char *node = w->fields ? k8s_field_selector_value(w->fields, "spec.nodeName") : NULL;

	return node && !strncmp(w->prefix, "pods/", 5) && obj_node_name(node) ? node : NULL;
}

static int start_position(struct store *st, const struct watch_opts *o, struct watch *w)
{
	struct store_list l;
	struct event e;
	uint64_t seen;
	int r;

	if (!o->initial) {
		if (o->rv > store_rv(st))
			return -ERANGE;
		w->pos = o->rv;
		r = store_history(st, w->prefix, w->node, o->rv, &e, 1, &seen);   // is it still there?
		if (r > 0) {
			obj_unref(e.obj);
			obj_unref(e.prev);
		}
		return r < 0 ? r : 0;
	}
	r = w->node ? store_list_node(st, w->node, &l) : store_list(st, w->prefix, NULL, 0, 0, &l);
	if (r)
		return r;
	w->pos = w->fetched_rv = l.rv;
	w->initial = l.objs;
	w->initial_count = l.count;
	return 0;
}

static void enlist(struct watch_set *s, struct watch *w, uint64_t timeout_ns)
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

int watch_open(struct store *st, const struct watch_opts *o, struct watch **out)
{
	struct watch *w = calloc(1, sizeof *w);
	int r = -ENOMEM;

	if (!w) {
		k8s_selector_free(o->labels);
		k8s_selector_free(o->fields);
		return -ENOMEM;
	}
	*w = (struct watch){ .st = st, .labels = o->labels, .fields = o->fields, .exact = o->exact, .bookmarks = o->bookmarks,
			     .initial_end = o->initial && o->initial_end, .hangup_fd = o->hangup_fd, .wake = o->wake,
			     .user = o->user, .prefix = strdup(o->prefix) };
	if (w->prefix) {
		w->prefix_len = strlen(w->prefix);
		w->node = node_of(w);
		r = start_position(st, o, w);
	}
	if (r) {
		watch_free(w);
		return r;
	}
	enlist(store_watches(st), w, o->timeout_ns);
	*out = w;
	return 0;
}

void watch_close(struct watch *w)
{
	struct watch_set *s;

	if (!w)
		return;
	s = store_watches(w->st);
	if (w->hangup_fd >= 0)
		epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, w->hangup_fd, NULL);
	pthread_mutex_lock(&s->lock);
	if (w->prev)
		w->prev->next = w->next;
	else
		s->groups[group_of(w)] = w->next;
	if (w->next)
		w->next->prev = w->prev;
	s->count--;
	pthread_mutex_unlock(&s->lock);
	watch_free(w);
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
	for (int g = 0; g < GROUPS; g++)
		for (struct watch *w = s->groups[g]; w; w = w->next)
			end(w);
	pthread_mutex_unlock(&s->lock);
}

void watch_set_wake_all(struct watch_set *s, uint64_t rv)
{
	pthread_mutex_lock(&s->lock);
	s->published = rv;
	for (int g = 0; g < GROUPS; g++)
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
