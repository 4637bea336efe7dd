// SPDX-License-Identifier: Apache-2.0
// A thread that follows all changes of a key range in etcd, in order and without gaps, whichever member dies: a stream
// that breaks or is silent for too long is opened again at another member, from the revision behind the last one seen.
#ifndef BH_SERVER_ETCD_WATCH_H
#define BH_SERVER_ETCD_WATCH_H

#include "server/etcd_rpc.h"

struct etcd_watch;

struct etcd_watch_ops {
	/* The events of one answer; all of one revision are in the same call. */
	void (*events)(void *user, Etcd__Event *const *events, size_t n);
	/* Revisions after the last one seen are compacted away. Returns the revision to go on behind, or -errno: again later. */
	int64_t (*lost)(void *user);
	/* About once a second. */
	void (*tick)(void *user);
};

/* Follow keys from first to before last, revisions after `after`. */
int etcd_watch_start(const struct etcd_place *p, const char *first, const char *last, int64_t after,
		     const struct etcd_watch_ops *ops, void *user, struct etcd_watch **w, struct err *e);
void etcd_watch_stop(struct etcd_watch *w);    // NULL is fine
void etcd_watch_hurry(struct etcd_watch *w);   // somebody knows of a change that is late: try another member
#endif
