// SPDX-License-Identifier: Apache-2.0
// The named points of an open disk's filter cbt, which may come, change and go meanwhile. Any thread.
#ifndef BH_DISK_POINTS_H
#define BH_DISK_POINTS_H

#include <bulkhead/disk.h>

void points_each(struct bh_disk *d, void (*fn)(void *user, const char *name), void *user);

/* First run of [off, off + len) that is all changed or all unchanged since the point. -ENOENT: there is no such point. It
 * never waits for requests, so that threads with a queue may call it. */
int points_changed(struct bh_disk *d, const char *point, uint64_t off, uint64_t len, uint64_t *run, bool *changed);

#endif
