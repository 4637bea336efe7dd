// SPDX-License-Identifier: Apache-2.0
// Where the disk library opens a disk's own files: by path, or through the process's opener (bulkhead/disk.h).
#ifndef BH_DISK_FILES_H
#define BH_DISK_FILES_H

#include <stdbool.h>

/* create: make it when absent (writable ones only). Returns a descriptor, close-on-exec, at the file's beginning, or -errno. */
int files_open(const char *path, bool writable, bool create);

#endif
