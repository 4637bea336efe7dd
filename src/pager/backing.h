// SPDX-License-Identifier: Apache-2.0
// What backings made of files share.
#ifndef BH_PAGER_BACKING_H
#define BH_PAGER_BACKING_H

#include "pager_internal.h"

/* Check that fd is a file of whole pages and duplicate it: *own is the caller's. */
int backing_image(int fd, int *own, uint64_t *pages, struct err *e);
bool backing_file_same(int fd, uint64_t page, const void *data);

#endif
