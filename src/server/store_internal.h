// SPDX-License-Identifier: Apache-2.0
// What store.c, committer.c and follow.c share.
#ifndef BH_SERVER_STORE_INTERNAL_H
#define BH_SERVER_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/follow.h"
#include "server/history.h"
#include "server/index.h"
#include "server/node_index.h"
#include "server/store.h"

struct store {
	const struct store_ops *ops;
	void *backend;
	struct watch_set *watches;
	struct follow *follow;       // NULL: nobody else changes the store

	pthread_rwlock_t lock;       // index, history
	struct index *index;
	struct node_index *nodes;    // of what is in the index
	struct history *history;
	_Atomic uint64_t rv;

	pthread_mutex_t queue_lock;  // the rest
	pthread_cond_t queue_cond;
	struct store_write *first, **last;
	bool committing;             // somebody is with the backend: the committer, or who writes alone
	bool tidy;                   // the backend has no housekeeping to do
	unsigned alone;              // writes that their own thread has committed
	bool stopping;
	pthread_t committer;
};

/* Read everything into new indexes. */
int store_load(struct store *st, struct index **x, struct node_index **nodes, uint64_t *rv, struct err *e);
/* Make one change visible: index, history, resourceVersion. st->lock is held. obj: the new state, or the last one of what
 * is removed; its reference is taken over. Fills *out, with references for the caller. Returns 0, -ENOENT or -ENOMEM. */
int store_apply(struct store *st, struct obj *o, bool remove, struct event *out);
/* The committer's thread (committer.c): until the store is stopping and nothing waits. */
void *store_committer(void *store);

#endif
