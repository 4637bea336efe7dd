// SPDX-License-Identifier: Apache-2.0
// Work shared by threads; see image_flight.h. One lock for all flights: it is held for moments only.
#include "image_flight.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POLL_NS 50000000L   // how soon a waiting thread notices its cancel flag

struct flight {
	struct flights *table;
	struct flight *next;
	char *key;
	unsigned users;            // threads inside, the worker too
	bool done;                 // no longer in the table
	int rc;
	struct err err;
	const char *stage;         // last report
	uint64_t stage_done, stage_total;
	const struct flight_job *worker;
};

struct flights {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct flight *first;
};

struct flights *flights_new(void)
{
	struct flights *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->changed, &attr);
	pthread_condattr_destroy(&attr);
	return t;
}

void flights_free(struct flights *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->changed);
	free(t);
}

static void flight_put(struct flight *f)   // under the lock
{
	if (--f->users)
		return;
	free(f->key);
	free(f);
}

void flight_report(struct flight *f, const char *stage, uint64_t done, uint64_t total)
{
	struct flights *t = f->table;
	pthread_mutex_lock(&t->lock);
	f->stage = stage, f->stage_done = done, f->stage_total = total;
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->lock);
	if (f->worker->progress)
		f->worker->progress(f->worker->user, stage, done, total);
}

/* Wait for f to end, passing its reports on. Under the lock, which is dropped around the callback. */
static int follow(struct flights *t, struct flight *f, const struct flight_job *job)
{
	const char *stage = NULL;
	uint64_t done = 0;
	while (!f->done) {
		if (job->cancel && *job->cancel)
			return -ECANCELED;
		if (job->progress && f->stage && (f->stage != stage || f->stage_done != done)) {
			uint64_t total = f->stage_total;
			stage = f->stage, done = f->stage_done;
			pthread_mutex_unlock(&t->lock);
			job->progress(job->user, stage, done, total);
			pthread_mutex_lock(&t->lock);
			continue;
		}
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += POLL_NS;
		if (until.tv_nsec >= 1000000000L)
			until.tv_sec++, until.tv_nsec -= 1000000000L;
		pthread_cond_timedwait(&t->changed, &t->lock, &until);
	}
	return 0;
}

static void lead(struct flights *t, struct flight *f, const struct flight_job *job)
{
	pthread_mutex_unlock(&t->lock);
	struct err e = ERR_INIT;
	int rc = job->work(job->ctx, f, &e);
	pthread_mutex_lock(&t->lock);
	f->rc = rc, f->err = e, f->done = true;
	struct flight **p = &t->first;
	while (*p != f)
		p = &(*p)->next;
	*p = f->next;
	pthread_cond_broadcast(&t->changed);
}

static struct flight *flight_find(struct flights *t, const char *key)
{
	struct flight *f = t->first;
	while (f && strcmp(f->key, key))
		f = f->next;
	return f;
}

static struct flight *flight_add(struct flights *t, const struct flight_job *job)
{
	struct flight *f = calloc(1, sizeof(*f));
	if (!f || !(f->key = strdup(job->key))) {
		free(f);
		return NULL;
	}
	f->table = t, f->worker = job, f->next = t->first;
	t->first = f;
	return f;
}

int flight_run(struct flights *t, const struct flight_job *job, struct err *e)
{
	for (;;) {
		pthread_mutex_lock(&t->lock);
		struct flight *f = flight_find(t, job->key);
		bool leader = !f;
		if (leader && !(f = flight_add(t, job))) {
			pthread_mutex_unlock(&t->lock);
			return err_sys(e, ENOMEM, "wait for the same work");
		}
		f->users++;
		int rc = 0;
		if (leader)
			lead(t, f, job);
		else
			rc = follow(t, f, job);
		struct err own = rc ? (struct err){.code = -rc, .text = "cancelled"} : f->err;
		rc = rc ? rc : f->rc;
		flight_put(f);
		pthread_mutex_unlock(&t->lock);
		if (rc == -ECANCELED && !leader && !(job->cancel && *job->cancel))
			continue;   // the worker gave up, we did not
		if (rc && e)
			*e = own;
		return rc;
	}
}
