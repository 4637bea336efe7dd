// SPDX-License-Identifier: Apache-2.0
// What a watch looks at. Watches that look at the same share one filter, so that a change is held against it once for all of
// them; filters stand in groups, so that a change is held only against those that name its resource, its namespace, its object
// or its node.
#ifndef BH_SERVER_WATCH_FILTER_H
#define BH_SERVER_WATCH_FILTER_H

#include <jansson.h>

#include "server/watch.h"

#define WATCH_RESOURCE_GROUPS 64    // of whole resources,
#define WATCH_EVERYTHING WATCH_RESOURCE_GROUPS   // of everything,
#define WATCH_NAME_GROUPS 4096      // and of one namespace of a resource, one object or one node's pods
#define WATCH_GROUPS (WATCH_RESOURCE_GROUPS + 1 + WATCH_NAME_GROUPS)

struct watch_filter {
	char *id;                        // the same for those that look at the same
	unsigned hash;                   // of it
	unsigned group;
	char *prefix;
	size_t prefix_len;
	bool exact;
	struct k8s_selector *labels, *fields;
	const char *node;                // of pods: only those on this node (what fields says); NULL: any

	// Under the set's lock.
	struct watch_filter *next, *prev;     // in its group
	struct watch *members;
	size_t armed;                    // how many of them are
};

/* An object with its labels, parsed at most once for all filters that look at it. */
struct watch_parsed { struct obj *obj; json_t *labels; bool known; };

/* Takes over o's selectors, on failure too. NULL: no memory. */
struct watch_filter *watch_filter_new(const struct watch_opts *o);
void watch_filter_free(struct watch_filter *f);    // NULL is fine
bool watch_filter_same(const struct watch_filter *a, const struct watch_filter *b);

/* Is the object, as it is, one of those it looks at? */
bool watch_filter_matches(const struct watch_filter *f, struct watch_parsed *p);
/* What the change is to those that look through it (EVENT_*); -1: nothing. before is only looked at when there are selectors. */
int watch_filter_event(const struct watch_filter *f, int type, struct watch_parsed *now, struct watch_parsed *before);
static inline bool watch_filter_selects(const struct watch_filter *f) { return f->labels || f->fields; }

/* The groups of those that may look at a change; returns how many. */
#define WATCH_GROUPS_OF_EVENT 6
int watch_filter_groups(const struct event *e, unsigned groups[WATCH_GROUPS_OF_EVENT]);

#endif
