// SPDX-License-Identifier: Apache-2.0
// The thread of one device; see devthread.h.
#include "devthread.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/evloop.h"
#include "base/log.h"
#include "vmx/callfilter.h"

struct devthread {
	char name[16];
	struct evloop *loop;
	struct evwatch *watch;
	int call_fd;                 // eventfd: fn is to be run
	bool started;
	pthread_t thread;
	pthread_mutex_t calling;     // held from devthread_call's beginning to its end
	void (*fn)(void *arg);       // written before call_fd is, read after
	void *arg;
	sem_t done;
};

static void on_call(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)events;
	struct devthread *t = user;
	uint64_t n;
	if (read(evwatch_fd(w), &n, sizeof(n)) != sizeof(n))
		return;
	t->fn(t->arg);
	sem_post(&t->done);
}

struct devthread *devthread_new(const char *name)
{
	struct devthread *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	snprintf(t->name, sizeof(t->name), "%s", name);
	sem_init(&t->done, 0, 0);
	pthread_mutex_init(&t->calling, NULL);
	t->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	t->loop = evloop_new();
	if (t->loop && t->call_fd >= 0)
		t->watch = evloop_add(t->loop, t->call_fd, EPOLLIN, on_call, t);
	if (!t->watch) {
		devthread_free(t);
		return NULL;
	}
	return t;
}

struct evloop *devthread_loop(struct devthread *t) { return t->loop; }

static void *run(void *arg)
{
	struct devthread *t = arg;
	struct err e = ERR_INIT;
	pthread_setname_np(pthread_self(), t->name);
	if (callfilter_enter(CALLFILTER_DEVICE, &e)) {
		log_error("vmx", "%s thread=%s", e.text, t->name);
		_exit(1);   // at start, before anything is served: better no VM than one outside its jail
	}
	evloop_run(t->loop);
	return NULL;
}

int devthread_start(struct devthread *t, struct err *e)
{
	int rc = pthread_create(&t->thread, NULL, run, t);
	if (rc)
		return err_sys(e, rc, "start the thread of %s", t->name);
	t->started = true;
	return 0;
}

void devthread_call(struct devthread *t, void (*fn)(void *arg), void *arg)
{
	if (!t->started)
		return fn(arg);
	uint64_t one = 1;
	pthread_mutex_lock(&t->calling);
	t->fn = fn;
	t->arg = arg;
	if (write(t->call_fd, &one, sizeof(one)) == sizeof(one)) {
		while (sem_wait(&t->done) && errno == EINTR)
			;
	}
	pthread_mutex_unlock(&t->calling);
}

static void stop(void *loop) { evloop_stop(loop); }

void devthread_stop(struct devthread *t)
{
	if (!t->started)
		return;
	devthread_call(t, stop, t->loop);
	pthread_join(t->thread, NULL);
	t->started = false;
}

void devthread_free(struct devthread *t)
{
	if (!t)
		return;
	devthread_stop(t);
	evloop_free(t->loop);
	if (t->call_fd >= 0)
		close(t->call_fd);
	sem_destroy(&t->done);
	pthread_mutex_destroy(&t->calling);
	free(t);
}
