// SPDX-License-Identifier: Apache-2.0
// Ends of processes. The agent is the parent of everything that has lost its own: it reaps all, and tells those who
// asked for a process.
#ifndef BH_AGENT_REAPER_H
#define BH_AGENT_REAPER_H

#include <sys/types.h>

struct evloop;
struct reaper;

/* status: as from waitpid. The pid is free for reuse by the kernel after this call. */
typedef void reaper_fn(void *user, pid_t pid, int status);

struct reaper *reaper_new(struct evloop *l);    // blocks SIGCHLD; NULL: no memory or descriptors
void reaper_free(struct reaper *r);             // NULL allowed

/* Call fn once when pid ends. If it ended since reaper_expect, fn is called at once. 0 or -ENOMEM. */
int reaper_watch(struct reaper *r, pid_t pid, reaper_fn *fn, void *user);
void reaper_forget(struct reaper *r, pid_t pid);

/* Between these, ends of unknown processes are remembered: their numbers arrive later (in a pid file). */
void reaper_expect(struct reaper *r);
void reaper_expected(struct reaper *r);

#endif
