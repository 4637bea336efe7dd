// SPDX-License-Identifier: Apache-2.0
#include "server/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "server/store_internal.h"
#include "server/watch.h"

/* --- reading --- */

uint64_t store_rv(const struct store *st)
{
	return atomic_load_explicit(&st->rv, memory_order_acquire);
}

size_t store_count(const struct store *st)
{
	size_t n;

	pthread_rwlock_rdlock((pthread_rwlock_t *)&st->lock);
	n = index_count(st->index);
	pthread_rwlock_unlock((pthread_rwlock_t *)&st->lock);
	return n;
}

struct obj *store_get(struct store *st, const char *key)
{
	struct obj *o;

	pthread_rwlock_rdlock(&st->lock);
	o = obj_ref(index_get(st->index, key));
	pthread_rwlock_unlock(&st->lock);
	return o;
}

struct watch_set *store_watches(struct store *st)
{
	return st->watches;
}

void store_list_fini(struct store_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		obj_unref(l->objs[i]);
	free(l->objs);
	*l = (struct store_list){ 0 };
}

static int list_push(struct store_list *l, size_t *cap, struct obj *o)
{
	if (l->count == *cap) {
		size_t grown_cap = *cap ? 2 * *cap : 64;
		struct obj **grown = realloc(l->objs, grown_cap * sizeof *grown);
		if (!grown)
			return -ENOMEM;
		l->objs = grown;
		*cap = grown_cap;
	}
	l->objs[l->count++] = obj_ref(o);
	return 0;
}

/* What objects with the prefix were at rv, where they differ from now: first event after rv tells the state before it.
 * Sorted by key; one entry per key (obj NULL: did not exist). */
struct past { const char *key; struct obj *obj; size_t order; };

static int past_cmp(const void *a, const void *b)
{
	const struct past *x = a, *y = b;
	int c = strcmp(x->key, y->key);

	return c ? c : x->order < y->order ? -1 : 1;
}

static int past_collect(struct store *st, const char *prefix, uint64_t rv, struct past **out, size_t *count)
{
	size_t pos = history_find(st->history, rv), n = 0, kept = 0, len = strlen(prefix);
	struct past *p = calloc(history_count(st->history) - pos + 1, sizeof *p);
	const struct event *e;

	if (!p)
		return -ENOMEM;
	for (; (e = history_at(st->history, pos)); pos++)
		if (!strncmp(obj_key(e->obj), prefix, len)) {
			p[n] = (struct past){ .key = obj_key(e->obj), .obj = e->prev, .order = n };
			n++;
		}
	qsort(p, n, sizeof *p, past_cmp);
	for (size_t i = 0; i < n; i++)
		if (!kept || strcmp(p[kept - 1].key, p[i].key))
			p[kept++] = p[i];
	*out = p;
	*count = kept;
	return 0;
}

/* Merge the objects of now with the differences at rv, both in key order. Called with the lock held. */
static int list_locked(struct store *st, const char *prefix, const char *after, size_t limit, const struct past *past,
		       size_t past_count, struct store_list *l)
{
	struct index_pos pos = index_seek(st->index, after && strcmp(after, prefix) > 0 ? after : prefix);
	struct obj *now = index_next(st->index, &pos);
	size_t len = strlen(prefix), i = 0, cap = 0;

	while (i < past_count && after && strcmp(past[i].key, after) <= 0)
		i++;
	for (;;) {
		struct obj *o;
		int c;
		if (now && (strncmp(obj_key(now), prefix, len)))
			now = NULL;
		if (!now && i == past_count)
			return 0;
		c = !now ? 1 : i == past_count ? -1 : strcmp(obj_key(now), past[i].key);
		o = c < 0 ? now : past[i].obj;
		if (c >= 0)
			i++;
		if (o && !(after && strcmp(obj_key(o), after) <= 0)) {
			if (limit && l->count == limit)
				l->remaining++;
			else if (list_push(l, &cap, o))
				return -ENOMEM;
		}
		if (c <= 0)
			now = index_next(st->index, &pos);
	}
}

int store_list(struct store *st, const char *prefix, const char *after, size_t limit, uint64_t rv, struct store_list *out)
{
	struct store_list l = { 0 };
	struct past *past = NULL;
	size_t past_count = 0;
	int r = 0;

	pthread_rwlock_rdlock(&st->lock);
	l.rv = store_rv(st);
	if (rv > l.rv)
		r = -ERANGE;
	else if (rv && rv < history_start(st->history))
		r = -EKEYEXPIRED;
	else if (rv && rv < l.rv)
		r = past_collect(st, prefix, rv, &past, &past_count);
	if (!r)
		r = list_locked(st, prefix, after, limit, past, past_count, &l);
	pthread_rwlock_unlock(&st->lock);
	free(past);
	if (r) {
		store_list_fini(&l);
		return r;
	}
	if (rv)
		l.rv = rv;
	*out = l;
	return 0;
}

static int cmp_key(const void *a, const void *b)
{
	return strcmp(obj_key(*(struct obj *const *)a), obj_key(*(struct obj *const *)b));
}

int store_list_node(struct store *st, const char *node, struct store_list *out)
{
	struct store_list l = { 0 };
	struct obj *const *pods;
	size_t n, cap = 0;
	int r = 0;

	pthread_rwlock_rdlock(&st->lock);
	l.rv = store_rv(st);
	pods = node_index_get(st->nodes, node, &n);
	for (size_t i = 0; i < n && !r; i++)
		r = list_push(&l, &cap, pods[i]);
	pthread_rwlock_unlock(&st->lock);
	if (r) {
		store_list_fini(&l);
		return r;
	}
	if (l.count)
		qsort(l.objs, l.count, sizeof(*l.objs), cmp_key);
	*out = l;
	return 0;
}

static bool event_is_on(const struct event *e, const char *node)
{
	return obj_is_on(e->obj, node) || (e->prev && obj_is_on(e->prev, node));
}

int store_history(struct store *st, const char *prefix, const char *node, uint64_t after, bool before, struct event *out, int max,
		  uint64_t *seen)
{
	size_t len = strlen(prefix), pos;
	const struct event *e;
	int n = 0;

	pthread_rwlock_rdlock(&st->lock);
	if (after < history_start(st->history)) {
		pthread_rwlock_unlock(&st->lock);
		return -EKEYEXPIRED;
	}
	*seen = store_rv(st);
	for (pos = history_find(st->history, after); (e = history_at(st->history, pos)); pos++) {
		if (strncmp(obj_key(e->obj), prefix, len) || (node && !event_is_on(e, node)))
			continue;
		if (n == max) {
			*seen = out[n - 1].rv;
			break;
		}
		out[n] = *e;
		obj_ref(e->obj);
		out[n++].prev = before ? obj_ref(e->prev) : NULL;
	}
	pthread_rwlock_unlock(&st->lock);
	return n;
}

/* --- writing --- */

int store_apply(struct store *st, struct obj *o, bool remove, struct event *out)
{
	struct event e = { .obj = o, .rv = o->rv };

	if (remove) {
		e.prev = index_remove(st->index, obj_key(o));
		e.type = EVENT_DELETED;
	} else if (index_put(st->index, obj_ref(o), &e.prev)) {
		obj_unref(o);
		return -ENOMEM;
	} else {
		e.type = e.prev ? EVENT_MODIFIED : EVENT_ADDED;
	}
	if (node_index_change(st->nodes, e.prev, remove ? NULL : o))
		return -ENOMEM;
	*out = e;
	obj_ref(e.obj);
	obj_ref(e.prev);
	history_append(st->history, &e, index_bytes(st->index));
	atomic_store_explicit(&st->rv, e.rv, memory_order_release);
	return 0;
}

int store_skip(struct store *st, uint64_t rv, struct err *e)
{
	return st->ops->skip(st->backend, rv, e);
}

/* --- opening --- */

struct loading { struct index *index; struct node_index *nodes; };

static int load_one(void *user, struct obj *o)
{
	struct loading *l = user;
	struct obj *old = NULL;
	int r = index_put(l->index, o, &old);

	if (r)
		obj_unref(o);
	else
		r = node_index_change(l->nodes, old, o);
	obj_unref(old);
	return r;
}

int store_load(struct store *st, struct index **x, struct node_index **nodes, uint64_t *rv, struct err *e)
{
	struct loading l = { index_new(), node_index_new() };

	*x = l.index;
	*nodes = l.nodes;
	if (!l.index || !l.nodes)
		return err_set(e, ENOMEM, "store: out of memory");
	return st->ops->load(st->backend, load_one, &l, rv, e);
}

static int load_all(struct store *st, struct err *e)
{
	uint64_t rv = 0;
	int r = store_load(st, &st->index, &st->nodes, &rv, e);

	if (r)
		return r;
	st->history = history_new(rv);
	st->watches = watch_set_new(st);
	if (!st->history || !st->watches)
		return err_set(e, ENOMEM, "store: out of memory");
	st->rv = rv;
	return 0;
}

static void store_free(struct store *st)
{
	if (st->backend)
		st->ops->close(st->backend);
	follow_free(st->follow);
	watch_set_free(st->watches);
	history_free(st->history);
	node_index_free(st->nodes);
	index_free(st->index);
	pthread_rwlock_destroy(&st->lock);
	pthread_mutex_destroy(&st->queue_lock);
	pthread_cond_destroy(&st->queue_cond);
	free(st);
}

int store_open(const struct store_ops *ops, const char *where, struct store **out, struct err *e)
{
	struct store *st = calloc(1, sizeof *st);
	pthread_rwlockattr_t prefer_writer;
	int r;

	if (!st)
		return err_set(e, ENOMEM, "store: out of memory");
	st->ops = ops;
	st->last = &st->first;
	pthread_rwlockattr_init(&prefer_writer);
	pthread_rwlockattr_setkind_np(&prefer_writer, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&st->lock, &prefer_writer);
	pthread_rwlockattr_destroy(&prefer_writer);
	pthread_mutex_init(&st->queue_lock, NULL);
	pthread_cond_init(&st->queue_cond, NULL);
	r = ops->open(where, &st->backend, e);
	if (!r)
		r = load_all(st, e);
	if (!r && ops->follow)
		r = follow_start(st, &st->follow, e);
	if (!r && (r = -pthread_create(&st->committer, NULL, store_committer, st)))
		err_sys(e, -r, "store: start the committer thread");
	if (r) {
		follow_stop(st->follow);
		store_free(st);
		return r;
	}
	*out = st;
	return 0;
}

void store_close(struct store *st)
{
	if (!st)
		return;
	pthread_mutex_lock(&st->queue_lock);
	st->stopping = true;
	pthread_cond_signal(&st->queue_cond);
	pthread_mutex_unlock(&st->queue_lock);
	follow_stop(st->follow);
	pthread_join(st->committer, NULL);
	store_free(st);
}
