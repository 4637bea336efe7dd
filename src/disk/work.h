// SPDX-License-Identifier: Apache-2.0
// Threads behind the queues, one set per process: workers run what blocks, a timer delays. Started with the first
// disk, so that a process may take away its right to make threads afterwards.
#ifndef BH_DISK_WORK_H
#define BH_DISK_WORK_H

#include <bulkhead/iofilter.h>

#include "base/err.h"

int work_start(struct err *e);                           // once per process; further calls do nothing
void work_push(struct iof_req *r);                       // r->work(r->layer, r), then r->step on r's queue
void work_after(struct iof_req *r, uint64_t ns);         // r->step on r's queue after ns

#endif
