// SPDX-License-Identifier: Apache-2.0
#include "disk/work.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <time.h>

#include "base/clock.h"
#include "disk/disk_internal.h"

#define WORKERS 4

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t timer_cond;
static sem_t work_items;   // a condition variable can lose the wake-up of one of several waiters (glibc's bug 25847, before 2.41)
static struct iof_req *work_head, **work_tail = &work_head;
static struct iof_req *timers;   // earliest first
static bool started;

static struct iof_req *take_work(void)
{
	struct iof_req *r;

	while (sem_wait(&work_items) < 0 && errno == EINTR) continue;
	pthread_mutex_lock(&lock);
	r = work_head;
	work_head = r->next;
	if (!work_head) work_tail = &work_head;
	pthread_mutex_unlock(&lock);
	return r;
}

static void *worker(void *unused)
{
	(void)unused;
	for (;;) {
		struct iof_req *r = take_work();

		r->result = r->work(r->layer, r);
		queue_post(r);
	}
	return NULL;
}

void work_push(struct iof_req *r)
{
	r->next = NULL;
	pthread_mutex_lock(&lock);
	*work_tail = r;
	work_tail = &r->next;
	pthread_mutex_unlock(&lock);
	sem_post(&work_items);
}

static void *timer(void *unused)
{
	(void)unused;
	pthread_mutex_lock(&lock);
	for (;;) {
		struct iof_req *r = timers;

		if (!r) {
			pthread_cond_wait(&timer_cond, &lock);
		} else if (r->when <= clock_mono_ns()) {
			timers = r->next;
			pthread_mutex_unlock(&lock);
			queue_post(r);
			pthread_mutex_lock(&lock);
		} else {
			struct timespec t = { .tv_sec = (time_t)(r->when / NS_PER_S), .tv_nsec = (long)(r->when % NS_PER_S) };

			pthread_cond_timedwait(&timer_cond, &lock, &t);
		}
	}
	return NULL;
}

void work_after(struct iof_req *r, uint64_t ns)
{
	struct iof_req **p = &timers;

	r->when = clock_mono_ns() + ns;
	pthread_mutex_lock(&lock);
	while (*p && (*p)->when <= r->when) p = &(*p)->next;
	r->next = *p;
	*p = r;
	pthread_mutex_unlock(&lock);
	if (p == &timers) pthread_cond_signal(&timer_cond);
}

static int thread(void *(*fn)(void *), struct err *e)
{
	pthread_attr_t a;
	pthread_t t;
	int rc;

	pthread_attr_init(&a);
	pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&t, &a, fn, NULL);
	pthread_attr_destroy(&a);
	return rc ? err_sys(e, rc, "cannot start a thread for disks") : 0;
}

int work_start(struct err *e)
{
	pthread_condattr_t ca;
	sigset_t all, old;
	int rc = 0;

	pthread_mutex_lock(&lock);
	if (!started) {
		sem_init(&work_items, 0, 0);
		pthread_condattr_init(&ca);
		pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
		pthread_cond_init(&timer_cond, &ca);
		pthread_condattr_destroy(&ca);
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &old);   // signals are for the program's threads
		rc = thread(timer, e);
		for (int i = 0; i < WORKERS && !rc; i++) rc = thread(worker, e);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		started = rc == 0;
	}
	pthread_mutex_unlock(&lock);
	return rc;
}
