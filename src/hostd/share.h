// SPDX-License-Identifier: Apache-2.0
// Folders and files of the host in a VM that runs: bulkhead-share serves them over a stream to the VM's agent, without
// privileges beyond files, and ends with the VM. It outlives hostd.
#ifndef BH_HOSTD_SHARE_H
#define BH_HOSTD_SHARE_H

#include <stdbool.h>

#include "base/err.h"

struct agent_client;

/* Make path appear in the guest as share `name`; one that is there already is fine. program: bulkhead-share. Blocks. */
int share_start(const char *program, const char *vsock_path, const char *name, const char *path, bool read_only, struct err *e);

/* Make the image in the file disk_path appear like a disk with this serial number. */
int share_image(const char *program, const char *vsock_path, struct agent_client *agent, const char *serial, const char *disk_path,
		struct err *e);

#endif
