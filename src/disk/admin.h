// SPDX-License-Identifier: Apache-2.0
// Changes of disks as wholes, for the commands and the tests.
#ifndef BH_DISK_ADMIN_H
#define BH_DISK_ADMIN_H

#include <jansson.h>

#include "base/err.h"
#include "disk/descriptor.h"

/* Add a filter to a descriptor in memory, with the filter's attach. at: place from the top, -1: where its class belongs.
 * Returns the place or -errno. */
int admin_filter_add(struct descriptor *d, const char *type, const char *name, const json_t *settings, int at, struct err *e);

/* Fill d->parent from the disk at parent and mark that as having clones. *fd: its data file, locked; the caller's. */
int admin_parent(const char *parent, struct descriptor *d, uint64_t *size, uint32_t *block, int *fd, struct err *e);

#endif
