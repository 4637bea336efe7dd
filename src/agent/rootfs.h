// SPDX-License-Identifier: Apache-2.0
// Opening paths of a container's root or of a volume from outside, where its links may point anywhere.
#ifndef BH_AGENT_ROOTFS_H
#define BH_AGENT_ROOTFS_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* Append the regular file at path, links followed as if root were "/". 0, -ENOENT, -EFBIG, -errno. */
int rootfs_read(const char *root, const char *path, size_t max, struct buf *out, struct err *e);

/* Open the relative path beneath dir for use as a mount's source (O_PATH); folders that are missing are made (0755).
 * A path or a link that leads out is refused with -EINVAL. Returns a descriptor or -errno. */
int rootfs_open_beneath(const char *dir, const char *path, struct err *e);

#endif
