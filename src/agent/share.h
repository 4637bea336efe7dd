// SPDX-License-Identifier: Apache-2.0
// Folders and files of the host in the VM: a FUSE file system whose requests travel over a stream to hostd's side.
#ifndef BH_AGENT_SHARE_H
#define BH_AGENT_SHARE_H

#include <limits.h>

#include "control.h"
#include "stream.h"

/* StreamOpen with ShareOpen: mount it at RUN/share/NAME. From StreamReady on the stream carries FUSE messages. */
void share_open(struct agent *a, struct stream *s, const Bulkhead__Agent__ShareOpen *open);

/* AttachImage: the file of a share as the disk with this serial number. */
control_fn share_attach_image;

/* Where a share is mounted. 0; -EINVAL not a name; -ENOENT it is not there. */
int share_place(const struct agent *a, const char *name, char out[PATH_MAX], struct err *e);

#endif
