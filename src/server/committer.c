// SPDX-License-Identifier: Apache-2.0
// Writes on their way into the store: a queue, transactions made of what waits in it, and the acknowledgements. See store.h.
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/own.h"
#include "server/store_internal.h"
#include "server/view.h"
#include "server/watch.h"

#define BATCH_MAX 256   // writes in one transaction
#define TIDY_EVERY 256  // writes that came alone, before the committer looks whether there is housekeeping to do

/* 0 if the write may go into the batch; -EAGAIN if its object changes in this batch already: next one. */
static int check_write(struct store *st, struct store_write *const *batch, size_t n, const struct store_write *w)
{
	own_obj struct obj *now = store_get(st, obj_key(w->obj));

	for (size_t i = 0; i < n; i++)
		if (batch[i]->obj->key_len == w->obj->key_len && !strcmp(obj_key(batch[i]->obj), obj_key(w->obj)))
			return -EAGAIN;
	if (!w->expect)
		return now ? -EEXIST : 0;
	if (!now)
		return -ENOENT;
	if (now->rv != w->expect)
		return -ESTALE;
	w->obj->created_rv = now->created_rv;
	return 0;
}

static void finish(struct store_write *w, int result)
{
	w->result = result;
	if (result) {
		obj_unref(w->obj);
		w->out = NULL;
	}
	w->obj = NULL;
	w->done(w);
}

/* Make committed writes visible. Returns how many events there are. */
static size_t apply_batch(struct store *st, struct store_write *const *batch, size_t n, struct event *events)
{
	size_t count = 0;

	pthread_rwlock_wrlock(&st->lock);
	for (size_t i = 0; i < n; i++) {
		struct store_write *w = batch[i];
		if (w->result)
			continue;
		w->out = obj_ref(w->obj);
		obj_view_committed(w->obj);
		if (store_apply(st, w->obj, w->remove, &events[count++])) {
			log_error("store", "out of memory after a commit; restarting to read the file again");
			abort();
		}
	}
	pthread_rwlock_unlock(&st->lock);
	return count;
}

static void show_batch(struct store *st, struct store_write *const *batch, size_t n)
{
	struct event events[BATCH_MAX];
	size_t count = apply_batch(st, batch, n, events);

	for (size_t i = 0; i < n; i++)
		finish(batch[i], batch[i]->result);
	watch_publish(st->watches, events, count);
	for (size_t i = 0; i < count; i++) {
		obj_unref(events[i].obj);
		obj_unref(events[i].prev);
	}
}

/* The feed shows the changes, between those of other servers; then they are acknowledged. Who was refused because others
 * were faster finds here what they did. */
static void await_batch(struct store *st, struct store_write *const *batch, size_t n)
{
	uint64_t rv = 0;

	for (size_t i = 0; i < n; i++)
		if (batch[i]->basis > rv)
			rv = batch[i]->basis;
	follow_wait(st->follow, rv);
	for (size_t i = 0; i < n; i++) {
		batch[i]->out = batch[i]->result ? NULL : obj_ref(batch[i]->obj);
		if (!batch[i]->result)
			obj_unref(batch[i]->obj);
		finish(batch[i], batch[i]->result);
	}
}

static void commit_batch(struct store *st, struct store_write **batch, size_t n)
{
	struct err e = ERR_INIT;
	int r = st->ops->commit(st->backend, batch, n, &e);

	if (r) {
		log_error("store", "%s", e.text);
		for (size_t i = 0; i < n; i++)
			finish(batch[i], r);
	} else if (st->follow) {
		await_batch(st, batch, n);
	} else {
		show_batch(st, batch, n);
	}
}

/* Take what can go into one transaction from the list; refused writes are finished at once, the rest stays in order. */
static struct store_write *take_batch(struct store *st, struct store_write *list, struct store_write **batch, size_t *n)
{
	struct store_write *rest = NULL, **rest_last = &rest, *next;

	for (*n = 0; list; list = next) {
		int r = *n == BATCH_MAX ? -EAGAIN : check_write(st, batch, *n, list);
		next = list->next;
		if (r == -EAGAIN) {
			list->next = NULL;
			*rest_last = list;
			rest_last = &list->next;
		} else if (r) {
			finish(list, r);
		} else {
			batch[(*n)++] = list;
		}
	}
	return rest;
}

static void tidy_up(struct store *st)
{
	bool more;

	st->committing = true;
	pthread_mutex_unlock(&st->queue_lock);
	more = st->ops->idle(st->backend);
	pthread_mutex_lock(&st->queue_lock);
	st->committing = false;
	st->tidy = !more;
}

static struct store_write *wait_for_writes(struct store *st)
{
	struct store_write *list;

	pthread_mutex_lock(&st->queue_lock);
	st->committing = false;
	while (st->committing || (!st->first && !st->stopping)) {
		if (!st->committing && !st->tidy && st->ops->idle)
			tidy_up(st);
		else
			pthread_cond_wait(&st->queue_cond, &st->queue_lock);
	}
	list = st->first;
	st->first = NULL;
	st->last = &st->first;
	st->committing = list != NULL;
	st->tidy = false;
	pthread_mutex_unlock(&st->queue_lock);
	return list;
}

void *store_committer(void *arg)
{
	struct store *st = arg;
	struct store_write *list, *batch[BATCH_MAX];
	size_t n;

	while ((list = wait_for_writes(st)))
		while (list) {
			list = take_batch(st, list, batch, &n);
			if (n)
				commit_batch(st, batch, n);
		}
	return NULL;
}

void store_submit(struct store *st, struct store_write *w)
{
	struct obj_view old = { .tree = take(w->tree) };

	w->next = NULL;
	w->out = NULL;
	w->basis = 0;
	if (!st->follow)                 // else what the feed tells of is another copy
		obj_view_give(w->obj, old.tree, &old);
	pthread_mutex_lock(&st->queue_lock);
	*st->last = w;
	st->last = &w->next;
	pthread_cond_signal(&st->queue_cond);
	pthread_mutex_unlock(&st->queue_lock);
	obj_view_free(&old);             // takes a while: the committer is at work by now
}

static void nobody_waits(struct store_write *w)
{
	(void)w;
}

/* Be the committer for one write, if the place is free. */
static bool begin_alone(struct store *st)
{
	bool vacant;

	pthread_mutex_lock(&st->queue_lock);
	vacant = !st->follow && !st->committing && !st->first && !st->stopping;
	if (vacant)
		st->committing = true;
	pthread_mutex_unlock(&st->queue_lock);
	return vacant;
}

static void end_alone(struct store *st)
{
	pthread_mutex_lock(&st->queue_lock);
	st->committing = false;
	st->tidy = false;
	if (st->first || st->stopping || ++st->alone % TIDY_EVERY == 0)
		pthread_cond_signal(&st->queue_cond);
	pthread_mutex_unlock(&st->queue_lock);
}

bool store_commit_alone(struct store *st, struct store_write *w)
{
	struct obj_view old = { 0 };
	struct store_write *one;
	size_t n;

	if (!begin_alone(st))
		return false;
	w->next = NULL;
	w->done = nobody_waits;
	obj_view_give(w->obj, take(w->tree), &old);
	take_batch(st, w, &one, &n);
	if (n)
		commit_batch(st, &one, n);
	end_alone(st);
	obj_view_free(&old);
	return true;
}

static void commit_done(struct store_write *w)
{
	sem_post(w->user);
}

int store_commit(struct store *st, struct store_write *w)
{
	sem_t sem;

	if (store_commit_alone(st, w))
		return w->result;
	sem_init(&sem, 0, 0);
	w->done = commit_done;
	w->user = &sem;
	store_submit(st, w);
	while (sem_wait(&sem))
		;
	sem_destroy(&sem);
	return w->result;
}
