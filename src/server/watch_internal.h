// SPDX-License-Identifier: Apache-2.0
// What one watch (watch.c) and the set of all (watch_set.c) share.
#ifndef BH_SERVER_WATCH_INTERNAL_H
#define BH_SERVER_WATCH_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/watch_filter.h"

#define WATCH_FETCH_MAX 16          // events copied from the history at a time

struct watch {
	struct store *st;
	struct watch_filter *filter;     // shared with others of the set
	bool bookmarks, initial_end;
	int hangup_fd;
	void (*wake)(void *user);
	void *user;
	uint64_t id;

	// The reader's.
	bool reading;                    // it is not armed, and the reader knows
	struct obj **initial;            // not delivered yet: [initial_pos, initial_count)
	size_t initial_pos, initial_count;
	struct event fetched[WATCH_FETCH_MAX]; // from the history, not delivered yet
	int fetched_pos, fetched_count;
	uint64_t fetched_rv;             // history has been looked through up to here
	uint64_t start_rv;               // what there was at the start, when that is from the history: up to here

	uint64_t pos;                    // everything up to here is delivered or does not concern this watch; the reader's while it
	                                 // is reading, else under the set's lock
	_Atomic bool bookmark_due, ended;     // set under the set's lock

	// Under the set's lock.
	struct watch *prev, *next;       // of its filter
	bool armed;
	uint64_t bookmark_ns, deadline_ns;
};

/* All watches of a store. */
struct watch_set {
	struct store *st;
	pthread_mutex_t lock;
	struct watch_filter *groups[WATCH_GROUPS];
	size_t count;
	uint64_t next_id;
	uint64_t published;              // changes up to here have been offered to the armed watches
	uint64_t due_ns;                 // when the timer thread looks next at all watches
	int epoll_fd, event_fd;          // hang-ups, and a kick for the timer thread
	pthread_t timer;
	bool stopping;
	bool ending;                     // whoever comes now is ended already
};

static inline void watch_disarm(struct watch *w)   // with the set's lock held
{
	w->filter->armed -= w->armed;
	w->armed = false;
}

/* w->filter is handed over to the set, or replaced by the one that others have. */
void watch_set_add(struct watch_set *s, struct watch *w, uint64_t timeout_ns);
void watch_set_remove(struct watch_set *s, struct watch *w);   // with its filter, if no other watch has it

#endif
