// SPDX-License-Identifier: Apache-2.0
#include "server/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "server/watch_internal.h"

/* --- reading --- */

static bool next_initial(struct watch *w, struct watch_event *out)
{
	while (w->initial_pos < w->initial_count) {
		struct watch_parsed p = { .obj = w->initial[w->initial_pos] };
		bool match = watch_filter_matches(w->filter, &p);
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

/* Turn a change into what this watch sees of it. */
static bool next_fetched(struct watch *w, struct watch_event *out)
{
	struct event *e = &w->fetched[w->fetched_pos++];
	struct watch_parsed now = { .obj = e->obj }, before = { .obj = e->prev };
	int type = watch_filter_event(w->filter, e->type, &now, &before);

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
		w->ended = true;   // out of memory: no gap is allowed
	return type >= 0 && out->obj;
}

/* From here on the reader has the watch to itself, until it arms it. */
static void begin_reading(struct watch_set *s, struct watch *w)
{
	if (w->reading)
		return;
	pthread_mutex_lock(&s->lock);
	watch_disarm(w);
	pthread_mutex_unlock(&s->lock);
	w->reading = true;
}

/* More from the history. Returns how many events there are, or a negative errno. */
static int fetch(struct watch *w)
{
	const struct watch_filter *f = w->filter;
	int n;

	if (w->fetched_rv > w->pos)
		w->pos = w->fetched_rv;
	n = store_history(w->st, f->prefix, f->node, w->pos, watch_filter_selects(f), w->fetched, WATCH_FETCH_MAX, &w->fetched_rv);
	w->fetched_pos = 0;
	w->fetched_count = n > 0 ? n : 0;
	return n;
}

enum watch_result watch_next(struct watch *w, struct watch_event *out)
{
	struct watch_set *s = store_watches(w->st);

	begin_reading(s, w);
	if (w->ended)
		return WATCH_END;
	if (w->initial && next_initial(w, out))
		return WATCH_EVENT;
	if (w->initial_end) {
		w->initial_end = false;
		*out = (struct watch_event){ .rv = w->pos };
		return WATCH_SYNCED;
	}
	for (int n = 1; n;) {
		while (w->fetched_pos < w->fetched_count)
			if (next_fetched(w, out))
				return WATCH_EVENT;
		n = fetch(w);
		if (n < 0)
			return WATCH_GONE;
	}
	w->pos = w->fetched_rv;
	*out = (struct watch_event){ .rv = w->fetched_rv };
	return atomic_exchange(&w->bookmark_due, false) ? WATCH_BOOKMARK : WATCH_IDLE;
}

bool watch_is_starting(const struct watch *w)
{
	return w->initial || w->pos < w->start_rv;
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
		w->reading = false;
		w->armed = true;
		w->filter->armed++;
	}
	pthread_mutex_unlock(&s->lock);
	return arm;
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
	free(w);
}

static int start_position(struct store *st, const struct watch_opts *o, struct watch *w)
{
	struct store_list l;
	struct event e;
	uint64_t seen;
	int r;

	if (!o->initial) {
		w->start_rv = store_rv(st);
		if (o->rv > w->start_rv)
			return -ERANGE;
		w->pos = o->rv;
		r = store_history(st, w->filter->prefix, w->filter->node, o->rv, false, &e, 1, &seen);   // is it still there?
		if (r > 0)
			obj_unref(e.obj);
		return r < 0 ? r : 0;
	}
	r = w->filter->node ? store_list_node(st, w->filter->node, &l) : store_list(st, w->filter->prefix, NULL, 0, 0, &l);
	if (r)
		return r;
	w->pos = w->fetched_rv = l.rv;
	w->initial = l.objs;
	w->initial_count = l.count;
	return 0;
}

int watch_open(struct store *st, const struct watch_opts *o, struct watch **out)
{
	struct watch_filter *filter = watch_filter_new(o);
	struct watch *w = filter ? calloc(1, sizeof *w) : NULL;
	int r;

	if (!w) {
		watch_filter_free(filter);
		return -ENOMEM;
	}
	*w = (struct watch){ .st = st, .filter = filter, .bookmarks = o->bookmarks, .initial_end = o->initial && o->initial_end,
			     .hangup_fd = o->hangup_fd, .wake = o->wake, .user = o->user, .reading = true };
	r = start_position(st, o, w);
	if (r) {
		watch_filter_free(filter);
		watch_free(w);
		return r;
	}
	watch_set_add(store_watches(st), w, o->timeout_ns);
	*out = w;
	return 0;
}

void watch_close(struct watch *w)
{
	if (!w)
		return;
	watch_set_remove(store_watches(w->st), w);
	watch_free(w);
}
