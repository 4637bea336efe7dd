// SPDX-License-Identifier: Apache-2.0
// Watches: the one way in which anybody (an HTTP client, the scheduler, a controller) learns of changes.
//
// A watch holds no queue: it is a position (resourceVersion) in the store's history and a filter. While it has nothing
// to deliver it is armed, and the committer wakes it when a change passes its filter. A reader that is too slow falls
// off the end of the history and is told so (WATCH_GONE): memory does not depend on how slow it is.
#ifndef BH_SERVER_WATCH_H
#define BH_SERVER_WATCH_H

#include "k8s/selector.h"
#include "server/store.h"

struct watch_set;
struct watch;

struct watch_opts {
	const char *prefix;              // keys to watch: "pods/", "pods/ns/", "pods/ns/name"; "": all; copied
	bool exact;                      // prefix is a whole key
	struct k8s_selector *labels;     // NULL: all; taken over (on failure too)
	struct k8s_selector *fields;     // NULL: all; taken over (on failure too)
	uint64_t rv;                     // changes after this one
	bool initial;                    // deliver the objects of now first, as ADDED; rv is ignored
	bool initial_end;                // and a WATCH_SYNCED after them
	bool bookmarks;                  // deliver WATCH_BOOKMARK about once a minute
	uint64_t timeout_ns;             // 0: none; then WATCH_END
	int hangup_fd;                   // a socket whose hang-up ends the watch; -1: none
	void (*wake)(void *user);        // something to do: call watch_next again; must not block nor call watch_*
	void *user;
};

enum watch_result { WATCH_EVENT, WATCH_BOOKMARK, WATCH_SYNCED, WATCH_GONE, WATCH_END, WATCH_IDLE };

struct watch_event {
	int type;             // EVENT_*: as this watch sees it (an object that ceases to match is DELETED)
	struct obj *obj;      // a reference, the caller's
	uint64_t rv;          // of the change; for bookmarks: all changes up to here have been delivered
};

/* Returns 0, -EKEYEXPIRED (rv is older than the history), -ERANGE (rv not reached yet) or -ENOMEM. */
int watch_open(struct store *st, const struct watch_opts *o, struct watch **w);
void watch_close(struct watch *w);

/* The next thing to deliver; disarms the watch. WATCH_IDLE: nothing, and the watch is not armed. After GONE or END only watch_close. */
enum watch_result watch_next(struct watch *w, struct watch_event *out);

/* Some of what was there at the start may not be delivered yet. */
bool watch_is_starting(const struct watch *w);

/* After WATCH_IDLE: arm the watch. suspend (may be NULL) is called if it is armed, before wake can be.
 * Returns false when something has come in the meantime: call watch_next again. */
bool watch_arm(struct watch *w, void (*suspend)(void *user));

/* hangup_fd is somebody else's business from now on. */
void watch_forget_hangup(struct watch *w);

/* The store's side. */
struct watch_set *watch_set_new(struct store *st);
void watch_set_free(struct watch_set *s);
size_t watch_set_count(struct watch_set *s);
void watch_set_end_all(struct watch_set *s);     // every watch delivers WATCH_END, later ones too: the server is stopping
void watch_set_wake_all(struct watch_set *s, uint64_t rv);   // history begins anew at rv: everybody is to look at it
void watch_publish(struct watch_set *s, const struct event *events, size_t count);

#endif
