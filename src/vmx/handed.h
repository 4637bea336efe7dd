// SPDX-License-Identifier: Apache-2.0
// The files of a VM's disks, opened and locked by whoever may open them and handed over: what the disk library gets when it
// asks for a path in the jail.
#ifndef BULKHEAD_VMX_HANDED_H
#define BULKHEAD_VMX_HANDED_H

#include <stdbool.h>

#include "base/usock.h"
#include "vmx/config.h"

struct handed {
	struct vmx_file file[USOCK_FDS_MAX];
	unsigned count;
};

/* For bh_disk_set_opener; user: struct handed. Copies of a descriptor share its lock: one that may write is given once,
 * and never for reading, so that no disk is written by two or read by one while another writes it. */
int handed_open(void *user, const char *path, bool writable);
void handed_fini(struct handed *h);

#endif
