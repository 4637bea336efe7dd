// SPDX-License-Identifier: Apache-2.0
// A small epoll loop; see evloop.h. A removed watch stays allocated until the batch it might still appear in is done.
#include "evloop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define BATCH 32

struct evwatch {
	struct evloop *loop;
	int fd;
	bool timer;               // fd is ours: read on expiry, closed on removal
	bool removed;
	evloop_fn *fn;
	void *user;
	struct evwatch *prev, *next;
};

struct evloop {
	int epfd;
	bool stop;
	struct evwatch *watches;  // live
	struct evwatch *removed;  // freed after the current batch
};

struct evloop *evloop_new(void)
{
	struct evloop *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0) {
		free(l);
		return NULL;
	}
	return l;
}

static void reap(struct evloop *l)
{
	while (l->removed) {
		struct evwatch *w = l->removed;
		l->removed = w->next;
		free(w);
	}
}

void evloop_free(struct evloop *l)
{
	if (!l)
		return;
	while (l->watches)
		evloop_remove(l->watches);
	reap(l);
	close(l->epfd);
	free(l);
}

struct evwatch *evloop_add(struct evloop *l, int fd, uint32_t events, evloop_fn *fn, void *user)
{
	struct evwatch *w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	*w = (struct evwatch){.loop = l, .fd = fd, .fn = fn, .user = user, .next = l->watches};
	struct epoll_event ev = {.events = events, .data.ptr = w};
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev)) {
		free(w);
		return NULL;
	}
	if (l->watches)
		l->watches->prev = w;
	l->watches = w;
	return w;
}

void evloop_modify(struct evwatch *w, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};
	epoll_ctl(w->loop->epfd, EPOLL_CTL_MOD, w->fd, &ev);
}

int evwatch_fd(const struct evwatch *w) { return w->fd; }

void evloop_remove(struct evwatch *w)
{
	struct evloop *l = w->loop;
	if (w->removed)
		return;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, w->fd, NULL);
	if (w->timer)
		close(w->fd);
	if (w->prev)
		w->prev->next = w->next;
	else
		l->watches = w->next;
	if (w->next)
		w->next->prev = w->prev;
	w->removed = true;
	w->next = l->removed;
	l->removed = w;
}

struct evwatch *evloop_timer(struct evloop *l, uint64_t delay_ms, uint64_t repeat_ms, evloop_fn *fn, void *user)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0)
		return NULL;
	struct evwatch *w = evloop_add(l, fd, EPOLLIN, fn, user);
	if (!w) {
		close(fd);
		return NULL;
	}
	w->timer = true;
	evloop_timer_set(w, delay_ms, repeat_ms);
	return w;
}

void evloop_timer_set(struct evwatch *w, uint64_t delay_ms, uint64_t repeat_ms)
{
	struct itimerspec t = {
		.it_value = {.tv_sec = (time_t)(delay_ms / 1000), .tv_nsec = (long)(delay_ms % 1000) * 1000000},
		.it_interval = {.tv_sec = (time_t)(repeat_ms / 1000), .tv_nsec = (long)(repeat_ms % 1000) * 1000000},
	};
	timerfd_settime(w->fd, 0, &t, NULL);
}

int evloop_once(struct evloop *l, int timeout_ms)
{
	struct epoll_event ev[BATCH];
	int n = epoll_wait(l->epfd, ev, BATCH, timeout_ms);
	if (n < 0 && errno != EINTR)
		return -errno;
	for (int i = 0; i < n && !l->stop; i++) {
		struct evwatch *w = ev[i].data.ptr;
		if (w->removed)
			continue;
		uint64_t expirations;
		if (w->timer && read(w->fd, &expirations, sizeof(expirations)) < 0)
			continue;   // re-armed by an earlier callback of this batch
		w->fn(l, w, ev[i].events, w->user);
	}
	reap(l);
	return 0;
}

int evloop_run(struct evloop *l)
{
	l->stop = false;
	while (!l->stop) {
		int rc = evloop_once(l, -1);
		if (rc)
			return rc;
	}
	return 0;
}

void evloop_stop(struct evloop *l) { l->stop = true; }
