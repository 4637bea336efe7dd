// SPDX-License-Identifier: Apache-2.0
// Counters of all disks of the process, in per-processor areas.
#ifndef BH_DISK_COUNTERS_H
#define BH_DISK_COUNTERS_H

#include <bulkhead/disk.h>

void counters_done(const struct bh_disk_io *io, int result);   // queue threads

#endif
