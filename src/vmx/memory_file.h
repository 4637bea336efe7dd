// SPDX-License-Identifier: Apache-2.0
// The memory of a saved VM as a sparse file: page n at n * 4096, pages of zeros are holes.
#ifndef BULKHEAD_VMX_MEMORY_FILE_H
#define BULKHEAD_VMX_MEMORY_FILE_H

#include "base/err.h"
#include "virtio/guest_mem.h"

/* Write it. fd: a file open for writing, at whatever length. Nothing may change the memory meanwhile. 0 or -errno. */
int memory_file_write(const struct guest_ram *ram, int fd, struct err *e);

/* Put a file that was written so into memory that nobody has touched. 0 or -errno. */
int memory_file_read(const struct guest_ram *ram, int fd, struct err *e);

#endif
