// SPDX-License-Identifier: Apache-2.0
// Operations that walk over a whole disk. None is made while the disk is in use; each can be killed and started again.
#ifndef BH_DISK_COPY_H
#define BH_DISK_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct bh_disk;
struct bh_disk_extent;

typedef void copy_progress(void *user, uint64_t done);

int disk_extent(struct bh_disk *d, uint64_t off, uint64_t len, struct bh_disk_extent *x);   // blocks; 0 or -errno

int disk_flatten(const char *path, copy_progress *p, void *user, struct err *e);     // a clone that stands alone
int disk_commit(const char *path, copy_progress *p, void *user, struct err *e);      // its blocks into the parent; it is empty afterwards
int disk_rebase(const char *path, const char *parent, copy_progress *p, void *user, struct err *e);   // same bytes, other parent
int disk_accept(const char *path, const char *parent, struct err *e);                // the parent as it is now

/* extent(): runs where a and b differ. */
int disk_compare(struct bh_disk *a, struct bh_disk *b, void (*extent)(void *user, uint64_t off, uint64_t len), void *user, struct err *e);

/* fault(): everything found wrong. repair: give space back that belongs to nothing. Returns faults or -errno. */
int disk_check(const char *path, bool repair, void (*fault)(void *user, const char *text), void *user, struct err *e);

#endif
