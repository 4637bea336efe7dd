// SPDX-License-Identifier: Apache-2.0
// Limits on what a folder of the scratch disk may hold: ext4 project quotas. Needs a file system made with
// `mkfs.ext4 -O quota,project -E quotatype=prjquota` and mounted with prjquota.
#ifndef BH_AGENT_QUOTA_H
#define BH_AGENT_QUOTA_H

#include <stdint.h>

#include "base/err.h"

/* dir: empty folder; what will be made in it counts. 0, -ENOTSUP (this file system has no project quotas), -errno. */
int quota_limit_dir(const char *dir, uint64_t bytes, struct err *e);

#endif
