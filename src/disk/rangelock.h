// SPDX-License-Identifier: Apache-2.0
// Locks of byte ranges for requests: whole-block writes share, a read-modify-write excludes. A request that has to wait
// is queued and goes on by its step, on its own queue's thread. While a request is here, its hold_next, hold_prev, link, state,
// when and progress are the lock's.
#ifndef BH_DISK_RANGELOCK_H
#define BH_DISK_RANGELOCK_H

#include <bulkhead/iofilter.h>
#include <pthread.h>

struct rangelock {
	pthread_mutex_t lock;
	struct iof_req *held;                      // unordered
	struct iof_req *waiting, **waiting_tail;   // in order of arrival
	unsigned exclusives;                       // held or waiting
};

void rangelock_init(struct rangelock *k);
void rangelock_fini(struct rangelock *k);

/* Range [off, end). True: held now. False: then(l, r) is called once it is. */
bool rangelock_take(struct rangelock *k, struct iof_layer *l, struct iof_req *r, uint64_t off, uint64_t end, bool exclusive,
		    void (*then)(struct iof_layer *, struct iof_req *));
void rangelock_drop(struct rangelock *k, struct iof_req *r);

#endif
