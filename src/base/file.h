// SPDX-License-Identifier: Apache-2.0
// Whole files and folders. All calls may block; safe from any thread.
#ifndef BH_FILE_H
#define BH_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "buf.h"
#include "err.h"

/* Append the file's bytes to out. max: most bytes accepted (-EFBIG above). Returns 0 or -errno, text in e. */
int file_read(const char *path, size_t max, struct buf *out, struct err *e);
int fd_read(int fd, const char *name, size_t max, struct buf *out, struct err *e);   // the rest of an open one; name: for messages

/* Replace path by data so that after a crash there is either the old or the new file: temporary file beside it,
 * fsync, rename, fsync of the folder. Returns 0 or -errno. */
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *e);

/* The same without the two fsyncs: whole after SIGKILL of the writer, but perhaps empty after a power loss. */
int file_replace(const char *path, const void *data, size_t len, mode_t mode, struct err *e);

int dir_make(const char *path, mode_t mode, struct err *e);      // mkdir -p; existing is fine
int dir_remove(const char *path, struct err *e);                 // rm -rf; does not cross mounts or follow links; absent is fine

/* Write all of data to a descriptor, through short writes and EINTR. Returns 0 or -errno. */
int fd_write_all(int fd, const void *data, size_t len);

/* Read exactly len bytes. Returns 0, -ENODATA at end of file before the first byte, -EPIPE in the middle, -errno. */
int fd_read_all(int fd, void *data, size_t len);

#endif
