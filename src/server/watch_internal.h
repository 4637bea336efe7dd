// SPDX-License-Identifier: Apache-2.0
// What one watch (watch.c) and the set of all (watch_set.c) share.
#ifndef BH_SERVER_WATCH_INTERNAL_H
#define BH_SERVER_WATCH_INTERNAL_H

#include <jansson.h>
#include <pthread.h>

#include "server/watch.h"

#define WATCH_FETCH_MAX 16          // events copied from the history at a time
#define WATCH_RESOURCE_GROUPS 64    // lists of watches: by resource,
#define WATCH_EVERYTHING WATCH_RESOURCE_GROUPS   // of everything,
#define WATCH_NAME_GROUPS 1024      // and of one object or one node's pods, by key or node
#define WATCH_GROUPS (WATCH_RESOURCE_GROUPS + 1 + WATCH_NAME_GROUPS)

struct watch {
	struct store *st;
	struct watch *prev, *next;       // in its group
	char *prefix;
	size_t prefix_len;
	struct k8s_selector *labels, *fields;
	const char *node;                // of pods: only those on this node (what fields says); NULL: any
	bool exact, bookmarks, initial_end;
	int hangup_fd;
	void (*wake)(void *user);
	void *user;
	uint64_t id;

	struct obj **initial;            // not delivered yet: [initial_pos, initial_count)
	size_t initial_pos, initial_count;
	struct event fetched[WATCH_FETCH_MAX]; // from the history, not delivered yet
	int fetched_pos, fetched_count;
	uint64_t fetched_rv;             // history has been looked through up to here
	uint64_t start_rv;               // what there was at the start, when that is from the history: up to here

	// Under the set's lock.
	uint64_t pos;                    // everything up to here is delivered or does not concern this watch
	bool armed, bookmark_due, ended;
	uint64_t bookmark_ns, deadline_ns;
};

/* All watches of a store. */
struct watch_set {
	struct store *st;
	pthread_mutex_t lock;
	struct watch *groups[WATCH_GROUPS];
	size_t count;
	uint64_t next_id;
	uint64_t published;              // changes up to here have been offered to the armed watches
	uint64_t due_ns;                 // when the timer thread looks next at all watches
	int epoll_fd, event_fd;          // hang-ups, and a kick for the timer thread
	pthread_t timer;
	bool stopping;
};

/* An object with its labels, parsed at most once for all watches that look at it. */
struct watch_parsed { struct obj *obj; json_t *labels; bool known; };

/* Does the change mean anything to this watch? */
bool watch_concerns(const struct watch *w, const struct event *e, struct watch_parsed *now, struct watch_parsed *before);

void watch_set_add(struct watch_set *s, struct watch *w, uint64_t timeout_ns);
void watch_set_remove(struct watch_set *s, struct watch *w);

#endif
