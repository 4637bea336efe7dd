// SPDX-License-Identifier: Apache-2.0
// Is this host's KVM usable? A device node that opens says little: some KVMs run a few instructions and no Linux.
#ifndef BULKHEAD_KVM_PROBE_H
#define BULKHEAD_KVM_PROBE_H

#include <stdbool.h>

#include "base/err.h"

#define KVM_PROBE_MS 10000   // default limit: a stock kernel takes some tenths of a second where KVM is real

/* Run a tiny guest of a few instructions and then, with a kernel, boot that without a root file system and wait for
 * its panic about it. kernel_fd: an uncompressed vmlinux; -1: the tiny guest alone. limit_ms: of each guest.
 * Returns 0 usable, or -errno and a sentence that says why not. Blocks. */
int kvm_probe(int kernel_fd, int limit_ms, struct err *e);

#endif
