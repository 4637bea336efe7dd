// SPDX-License-Identifier: Apache-2.0
// The store: every object of the cluster in memory as text, every change durable before it is acknowledged, the latest
// changes kept as history for watches and consistent lists.
//
// Invariants:
// 1. All changes go through store_submit: one committer checks what each write expects, hands the batch to the backend,
//    and only after the backend says it is durable makes it visible and acknowledges it. It is a thread of the store, or
//    for a moment who writes while nobody else does (store_commit_alone): one at a time.
// 2. resourceVersion grows by every change, over all kinds. The index, the history and the watches show changes in
//    that order and completely.
// 3. History and deleted objects do not pile up: history is bounded by count and bytes, and is not in the file.
//
// Lock order: watch set, then index. The queue's lock is taken alone.
#ifndef BH_SERVER_STORE_H
#define BH_SERVER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "server/obj.h"

struct store;

struct store_write {
	struct obj *obj;        // in: new state, or the last state when remove; the reference becomes the store's
	uint64_t expect;        // in: resourceVersion that the object must have now; 0: it must not exist
	bool remove;            // in: delete the object
	json_t *tree;           // in: what obj was encoded from, for those who are told (view.h), or NULL; becomes the store's
	void (*done)(struct store_write *w);   // in: called on the committer thread; must not block; may free w
	void *user;             // in: for done
	int result;             // out: 0; -EEXIST or -ENOENT or -ESTALE (expectation not met); else the backend's -errno
	uint64_t basis;         // out, shared backends: the resourceVersion that the outcome, good or bad, rests on
	struct obj *out;        // out: the committed object (for remove: its last state); reference is done's; NULL on failure
	struct store_write *next;   // the store's
};

/* A change that a shared backend tells of. */
struct store_change {
	struct obj *obj;        // new state, the reference becomes the store's; NULL: deleted
	char key[1024];         // "": nothing of ours, only rv counts
	uint64_t rv;
};
struct store_feed {
	void (*changed)(void *user, struct store_change *c, size_t n);   // in order of rv
	int (*reload)(void *user);      // what changed is not known any more: load again (on the calling thread)
	void *user;
};

/* What keeps the objects: SQLite, etcd. open, load, commit and idle come from one thread at a time, but not always the same. */
struct store_ops {
	const char *name;
	/* where: a path or a list of URLs. */
	int (*open)(const char *where, void **handle, struct err *e);
	/* Give every object to each (the reference is each's; nonzero: stop, pass it on) and the latest resourceVersion to rv. */
	int (*load)(void *handle, int (*each)(void *user, struct obj *o), void *user, uint64_t *rv, struct err *e);
	/* Make the writes durable, in order, setting each obj's resourceVersion (and created_rv of new ones) and result.
	 * A backend failure of the whole batch returns -errno, with nothing changed. May block. */
	int (*commit)(void *handle, struct store_write *const *w, size_t n, struct err *e);
	/* Called when the committer has nothing to do: a little housekeeping. Returns true if there is more. */
	bool (*idle)(void *handle);
	/* Have the next resourceVersion be larger than rv. Nothing else is under way. */
	int (*skip)(void *handle, uint64_t rv, struct err *e);
	/* For a backend that several servers share; NULL: it is ours alone. After load: tell every change, our own too, from
	 * a thread of the backend until close. commit then only makes durable. */
	int (*follow)(void *handle, const struct store_feed *feed, struct err *e);
	int (*latest)(void *handle, uint64_t *rv, struct err *e);   // of all changes by anybody; may block
	void (*hurry)(void *handle);                                // the feed is behind
	void (*close)(void *handle);
};
extern const struct store_ops store_sqlite_ops, store_etcd_ops;

int store_open(const struct store_ops *ops, const char *where, struct store **st, struct err *e);
void store_close(struct store *st);   // writes already submitted are finished first; watches must be closed

uint64_t store_rv(const struct store *st);                       // latest visible resourceVersion
size_t store_count(const struct store *st);
struct obj *store_get(struct store *st, const char *key);        // a reference, or NULL

/* resourceVersions up to rv are not given out any more. Before anything else is done with an empty store. */
int store_skip(struct store *st, uint64_t rv, struct err *e);

void store_submit(struct store *st, struct store_write *w);      // never blocks; w lives until done
int store_commit(struct store *st, struct store_write *w);       // submit and wait (w->done and user are overwritten); w->result
/* If nobody else is writing: commit on this thread, which takes as long as the disk does but needs no other thread to wake up.
 * True: w->result is there (w->done was not called). False: nothing has happened; submit it. */
bool store_commit_alone(struct store *st, struct store_write *w);

/* Other servers change a shared store too: what this one shows may be behind what they have acknowledged. store_refresh
 * calls done when everything that was acknowledged before the call is visible here (result 0) or that cannot be found
 * out (-errno). One question serves all that wait. */
bool store_shared(const struct store *st);
struct store_wait {
	void (*done)(struct store_wait *w);    // on the store's thread; must not block; may free w
	int result;
	struct store_wait *next;    // the store's
};
void store_refresh(struct store *st, struct store_wait *w);

struct store_list {
	struct obj **objs;      // references; key order
	size_t count;
	size_t remaining;       // how many more there are behind the last
	uint64_t rv;            // the state that the list shows
};
void store_list_fini(struct store_list *l);

/* The objects whose keys start with prefix and come after `after` (NULL: all), at most limit (0: no limit).
 * rv 0: now; else the state at that resourceVersion: -EKEYEXPIRED when history does not reach back to it, -ERANGE
 * when it has not happened yet. */
int store_list(struct store *st, const char *prefix, const char *after, size_t limit, uint64_t rv, struct store_list *l);

/* The pods bound to a node (obj_node_name), of all namespaces, now. */
int store_list_node(struct store *st, const char *node, struct store_list *l);

struct watch_set;
struct watch_set *store_watches(struct store *st);

enum { EVENT_ADDED, EVENT_MODIFIED, EVENT_DELETED };
struct event {
	uint64_t rv;
	int type;
	struct obj *obj;        // new state; for DELETED the last one, with the deletion's resourceVersion
	struct obj *prev;       // state before; NULL for ADDED
};

/* Copy events after rv `after` whose keys start with prefix, at most max, with references, into out; *seen: the
 * resourceVersion up to which history was looked through. node: only those of pods that are or were on it; NULL: all.
 * before: with the states before them (else prev is NULL). Returns how many, or -EKEYEXPIRED. */
int store_history(struct store *st, const char *prefix, const char *node, uint64_t after, bool before, struct event *out, int max,
		  uint64_t *seen);

#endif
