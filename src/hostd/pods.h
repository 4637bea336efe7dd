// SPDX-License-Identifier: Apache-2.0
// All pods of this host: brings the API's list of pods and the folders under ROOT/pods together, one worker each.
#ifndef BH_HOSTD_PODS_H
#define BH_HOSTD_PODS_H

#include <jansson.h>

#include "base/err.h"
#include "host.h"
#include "streaming.h"

struct pods;

int pods_open(const struct host *h, struct pods **ps, struct err *e);   // adopts what is on disk; starts nothing new yet
int pods_watch(struct pods *ps, struct err *e);                          // follow the API from now on
void pods_close(struct pods *ps);                                       // workers end, VMs go on

json_t *pods_vms(struct pods *ps);      // for `bulkhead vm ls`: array of VMs with state, memory, start stages; new reference
unsigned pods_number_take(struct pods *ps);          // a VM number (1...), unique among living VMs; 0: none left
void pods_number_mark(struct pods *ps, unsigned n);
void pods_number_drop(struct pods *ps, unsigned n);

extern const struct streaming_ops pods_streaming_ops;   // ctx: struct pods *

#endif
