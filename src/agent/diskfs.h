// SPDX-License-Identifier: Apache-2.0
// File systems of disks while they are in use: growing with their disk, and standing still for a snapshot.
#ifndef BH_AGENT_DISKFS_H
#define BH_AGENT_DISKFS_H

#include <stdbool.h>

#include "control.h"

control_fn diskfs_grow_request;     // GrowDisk
control_fn diskfs_freeze_request;   // FreezeDisk

bool diskfs_read_only(const char *device);   // the device takes no writes
/* Make the ext4 at dir as large as its device; nothing to do is fine. 0 or -errno. */
int diskfs_grow(const char *dir, const char *device, struct err *e);

#endif
