// SPDX-License-Identifier: Apache-2.0
// Limits on what a folder of the scratch disk may hold: ext4 project quotas. Needs a file system made with
// `mkfs.ext4 -O quota,project -E quotatype=prjquota` and mounted with prjquota.
#ifndef BH_AGENT_QUOTA_H
#define BH_AGENT_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* dir: empty folder; what will be made in it counts, and is limited unless bytes is 0. *project: its number.
 * 0, -ENOTSUP (this file system has no project quotas), -errno. */
int quota_limit_dir(const char *dir, uint64_t bytes, uint32_t *project, struct err *e);

uint64_t quota_used(const char *dir, uint32_t project);   // bytes; 0 when unknown

/* Does the file system on this device (ext4) have quotas, for which a module must be loaded before it is mounted? */
bool quota_on_device(const char *device);

#endif
