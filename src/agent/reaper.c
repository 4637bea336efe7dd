// SPDX-License-Identifier: Apache-2.0
// Reaping; see reaper.h.
#include "reaper.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/evloop.h"

struct process {
	pid_t pid;
	reaper_fn *fn;      // NULL: ended and remembered
	void *user;
	int status;
	struct process *next;
};

struct reaper {
	int fd;
	struct evwatch *watch;
	struct process *processes;
	unsigned expecting;
};

static struct process **find(struct reaper *r, pid_t pid)
{
	struct process **p = &r->processes;
	while (*p && (*p)->pid != pid)
		p = &(*p)->next;
	return p;
}

static void unlink_free(struct process **p)
{
	struct process *gone = *p;
	*p = gone->next;
	free(gone);
}

static int add(struct reaper *r, pid_t pid, reaper_fn *fn, void *user, int status)
{
	struct process *p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	*p = (struct process){.pid = pid, .fn = fn, .user = user, .status = status, .next = r->processes};
	r->processes = p;
	return 0;
}

static void on_child(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct reaper *r = user;
	struct signalfd_siginfo si;
	(void)l, (void)w, (void)events;
	while (read(r->fd, &si, sizeof(si)) > 0)
		;
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
		struct process **p = find(r, pid);
		if (*p && (*p)->fn) {
			reaper_fn *fn = (*p)->fn;
			void *fn_user = (*p)->user;
			unlink_free(p);
			fn(fn_user, pid, status);
		} else if (r->expecting) {
			if (*p)
				unlink_free(p);   // an older process of the same number
			add(r, pid, NULL, NULL, status);
		}
	}
}

struct reaper *reaper_new(struct evloop *l)
{
	struct reaper *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	r->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (r->fd >= 0)
		r->watch = evloop_add(l, r->fd, EPOLLIN, on_child, r);
	if (!r->watch) {
		if (r->fd >= 0)
			close(r->fd);
		free(r);
		return NULL;
	}
	return r;
}

void reaper_free(struct reaper *r)
{
	if (!r)
		return;
	while (r->processes)
		unlink_free(&r->processes);
	evloop_remove(r->watch);
	close(r->fd);
	free(r);
}

int reaper_watch(struct reaper *r, pid_t pid, reaper_fn *fn, void *user)
{
	struct process **p = find(r, pid);
	if (*p && !(*p)->fn) {
		int status = (*p)->status;
		unlink_free(p);
		fn(user, pid, status);
		return 0;
	}
	return add(r, pid, fn, user, 0);
}

void reaper_forget(struct reaper *r, pid_t pid)
{
	struct process **p = find(r, pid);
	if (*p)
		unlink_free(p);
}

void reaper_expect(struct reaper *r) { r->expecting++; }

void reaper_expected(struct reaper *r)
{
	if (--r->expecting)
		return;
	for (struct process **p = &r->processes; *p;) {
		if ((*p)->fn)
			p = &(*p)->next;
		else
			unlink_free(p);
	}
}
