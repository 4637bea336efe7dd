// SPDX-License-Identifier: Apache-2.0
#include "server/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/jtext.h"
#include "base/own.h"
#include "server/watch_internal.h"

/* --- what passes the filter --- */

static const json_t *parsed_labels(struct watch_parsed *p)
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

static bool matches(const struct watch *w, struct watch_parsed *p)
{
	if (!p->obj)
		return false;
	if (w->node && !obj_is_on(p->obj, w->node))
		return false;
	return (!w->labels || k8s_label_selector_match(w->labels, parsed_labels(p))) &&
	       (!w->fields || k8s_field_selector_match_text(w->fields, obj_text(p->obj), p->obj->text_len));
}

/* What the change means to this watch; -1: nothing. */
static int event_type(const struct watch *w, int type, struct watch_parsed *now, struct watch_parsed *before)
{
	bool is = type != EVENT_DELETED && matches(w, now), was = matches(w, before);

	return is && was ? EVENT_MODIFIED : is ? EVENT_ADDED : was ? EVENT_DELETED : -1;
}

bool watch_concerns(const struct watch *w, const struct event *e, struct watch_parsed *now, struct watch_parsed *before)
{
	return key_matches(w, obj_key(e->obj)) && event_type(w, e->type, now, before) >= 0;
}

/* --- reading --- */

static bool next_initial(struct watch *w, struct watch_event *out)
{
	while (w->initial_pos < w->initial_count) {
		struct watch_parsed p = { .obj = w->initial[w->initial_pos] };
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
	struct watch_parsed now = { .obj = e->obj }, before = { .obj = e->prev };
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
		n = store_history(w->st, w->prefix, w->node, w->pos, w->fetched, WATCH_FETCH_MAX, &w->fetched_rv);
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
		w->armed = true;
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
		w->start_rv = store_rv(st);
		if (o->rv > w->start_rv)
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
