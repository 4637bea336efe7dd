// SPDX-License-Identifier: Apache-2.0
// The store: every object of the cluster in memory as text, every change durable before it is acknowledged, the latest
// changes kept as history for watches and consistent lists.
//
// Invariants:
// 1. All changes go through store_submit: one committer thread checks what each write expects, hands the batch to the
//    backend, and only after the backend says it is durable makes it visible and acknowledges it.
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
	void (*done)(struct store_write *w);   // in: called on the committer thread; must not block; may free w
	void *user;             // in: for done
	int result;             // out: 0; -EEXIST or -ENOENT or -ESTALE (expectation not met); else the backend's -errno
	struct obj *out;        // out: the committed object (for remove: its last state); reference is done's; NULL on failure
	struct store_write *next;   // the store's
};

/* What keeps the objects: SQLite, etcd. All calls come from one thread at a time. */
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
	void (*close)(void *handle);
};
extern const struct store_ops store_sqlite_ops;

int store_open(const struct store_ops *ops, const char *where, struct store **st, struct err *e);
void store_close(struct store *st);   // writes already submitted are finished first; watches must be closed

uint64_t store_rv(const struct store *st);                       // latest visible resourceVersion
size_t store_count(const struct store *st);
struct obj *store_get(struct store *st, const char *key);        // a reference, or NULL

void store_submit(struct store *st, struct store_write *w);      // never blocks; w lives until done
int store_commit(struct store *st, struct store_write *w);       // submit and wait (w->done and user are overwritten); w->result

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
 * resourceVersion up to which history was looked through. Returns how many, or -EKEYEXPIRED. */
int store_history(struct store *st, const char *prefix, uint64_t after, struct event *out, int max, uint64_t *seen);

#endif
