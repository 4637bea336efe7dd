// SPDX-License-Identifier: Apache-2.0
// A small epoll loop for processes that must stay small (vmx, the agent). One thread per loop; callbacks run on it.
#ifndef BH_EVLOOP_H
#define BH_EVLOOP_H

#include <stdbool.h>
#include <stdint.h>

struct evloop;
struct evwatch;   // one watched descriptor or timer

/* events: EPOLLIN etc. as epoll reported them. */
typedef void evloop_fn(struct evloop *l, struct evwatch *w, uint32_t events, void *user);

struct evloop *evloop_new(void);             // NULL: no memory or descriptors
void evloop_free(struct evloop *l);          // watches still there are removed; their descriptors are not closed

/* Watch fd (borrowed) for events (EPOLLIN...; level-triggered). NULL: no memory. */
struct evwatch *evloop_add(struct evloop *l, int fd, uint32_t events, evloop_fn *fn, void *user);
void evloop_modify(struct evwatch *w, uint32_t events);   // 0: keeps only errors and hang-ups
int evwatch_fd(const struct evwatch *w);

/* Stop watching and free w. Allowed inside any callback, for any watch: w's pending events are dropped. */
void evloop_remove(struct evwatch *w);

/* Call fn after delay_ms, then every repeat_ms (0: once; the watch stays until removed). */
struct evwatch *evloop_timer(struct evloop *l, uint64_t delay_ms, uint64_t repeat_ms, evloop_fn *fn, void *user);
void evloop_timer_set(struct evwatch *w, uint64_t delay_ms, uint64_t repeat_ms);   // delay 0: disarm

int evloop_run(struct evloop *l);            // until evloop_stop; 0 or -errno
int evloop_once(struct evloop *l, int timeout_ms);   // one batch of events (-1: waits for one); 0 or -errno
void evloop_stop(struct evloop *l);          // from a callback of this loop only

#endif
