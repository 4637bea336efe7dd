// SPDX-License-Identifier: Apache-2.0
// The threads that take faults from the kernel and resolve them.
#ifndef BH_PAGERD_FAULT_H
#define BH_PAGERD_FAULT_H

#include "guest.h"

struct faults;

/* readers: threads that read faults and resolve those that need no waiting; workers: threads for those that do.
 * cluster: pages loaded at once at most (1 to 64). Sets g->epoll. Returns 0 or -errno. */
int faults_start(struct guests *g, uint32_t readers, uint32_t workers, uint32_t cluster, struct faults **f, struct err *e);
void faults_stop(struct faults *f);

/* Load a page that is not there and wake whoever waits. map: by which mapping (it must show the page). may_wait: this
 * thread may wait for the backing. Returns 0; -EINPROGRESS the backing may block and the caller may not; -errno. */
int fault_resolve(struct guest *guest, uint32_t map, uint32_t page, uint32_t cluster, bool may_wait);

#endif
