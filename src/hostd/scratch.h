// SPDX-License-Identifier: Apache-2.0
// Scratch disks: the writable ext4 disk of each pod, holding the containers' writable layers and emptyDir volumes.
// Formatted once per size (ROOT/scratch/), then handed out as linked clones, which are made at once and take no space.
#ifndef BH_HOSTD_SCRATCH_H
#define BH_HOSTD_SCRATCH_H

#include <stdint.h>

#include "base/err.h"

/* Make path (NAME.bhd, for bh_disk_open) of size_bytes (rounded up to 1 GiB), unless it is already there. Blocks; the first
 * disk of a size takes the time of mkfs.ext4. Safe from any thread. Returns 0 or -errno; on error nothing is left. */
int scratch_make(const char *root, const char *path, uint64_t size_bytes, struct err *e);

/* Bring the disk to another path in a folder at the same depth; it may be open. 0 or -errno. */
int scratch_move(const char *from, const char *to, struct err *e);
void scratch_remove(const char *path);   // absent is fine

#endif
