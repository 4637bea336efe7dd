// SPDX-License-Identifier: Apache-2.0
#ifndef BH_DISK_CBT_H
#define BH_DISK_CBT_H

#include <bulkhead/iofilter.h>

/* Blocks of this size are tracked. */
#define CBT_BLOCK (64u << 10)

/* First run of [off, off + len) that is all changed or all unchanged since the point. -ENOENT: there is no such point. */
int cbt_changed(struct iof_layer *l, const char *point, uint64_t off, uint64_t len, uint64_t *run, bool *changed);
void cbt_points(struct iof_layer *l, void (*fn)(void *user, const char *name), void *user);
extern const struct iof_filter cbt_filter;

#endif
