// SPDX-License-Identifier: Apache-2.0
// All pods of this host: brings the API's list of pods and the folders under ROOT/pods together, one worker each.
#ifndef BH_HOSTD_PODS_H
#define BH_HOSTD_PODS_H

#include <jansson.h>

#include "base/err.h"
#include "host.h"
#include "pods_evict.h"
#include "streaming.h"

struct pods;

int pods_open(const struct host *h, struct pods **ps, struct err *e);   // adopts what is on disk; starts nothing new yet
void pods_adopt(struct pods *ps);                                        // start the workers of what was adopted
int pods_watch(struct pods *ps, struct err *e);                          // follow the API from now on
void pods_close(struct pods *ps);                                       // workers end, VMs go on

/* What the manifest folder says: static pods (array), names of files that are not understood, whose pods stay. True: some
 * wait for others to end; say it again soon. */
bool pods_static_set(struct pods *ps, const json_t *wanted, const json_t *unclear);

json_t *pods_vms(struct pods *ps);      // for `bulkhead vm ls`: array of VMs with state, memory, start stages; new reference
struct vm;
void pods_vm_ask(json_t *row, struct vm *vm);        // add what the VM says; blocks for a round trip
json_t *pods_vm_memory(struct vm *vm);               // resident, shared, compressed, ballooned bytes; new reference
struct pager_stats;
json_t *pods_fault_latency(const struct pager_stats *s);   // array of {belowNs, faults}; new reference
unsigned pods_number_take(struct pods *ps);          // a VM number (1...), unique among living VMs; 0: none left
void pods_number_drop(struct pods *ps, unsigned n);
/* Its VM was killed and is still there: nobody gets the number before gone (vm_gone_fd; taken over) says that it is not, dropped or not. */
void pods_number_hold(struct pods *ps, unsigned n, int gone, const char *who);
/* End the VM that an earlier hostd left in vm_dir, if there is one; one that stays keeps its number as with pods_number_hold. */
void pods_end_leftover(const struct host *h, const char *vm_dir, const char *who);

/* The VM that has this volume of the store open: a reference (vm_put), with the disk's serial number; NULL: none. */
struct vm *pods_volume_vm(struct pods *ps, const char *volume, char serial[21]);
/* Is it used by a pod other than the one with this uid, in a way that excludes ours? who: "ns/name". */
bool pods_volume_user(struct pods *ps, const char *volume, const char *uid, bool writes, char *who, size_t who_len);

/* The host is short of this resource ("memory", "ephemeral-storage"): the pod that is missed least goes. */
void pods_evict_one(struct pods *ps, enum evict_for what);

extern const struct streaming_ops pods_streaming_ops;   // ctx: struct pods *

#endif
