// SPDX-License-Identifier: Apache-2.0
// Files of filters beside a disk (NAME.<suffix>). Reached through a table, which the powercut filter replaces by one
// that keeps what was not synced in memory and can lose it.
#ifndef BH_DISK_SIDEFILE_H
#define BH_DISK_SIDEFILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct bh_disk;
struct iof_file;

struct side_ops {   // handle: what open set. 0 or -errno
	int (*open)(void *user, const char *path, int writable, void **handle, struct err *e);
	void (*close)(void *user, void *handle);
	int (*read)(void *user, void *handle, void *buf, size_t len, uint64_t off);
	int (*write)(void *user, void *handle, const void *buf, size_t len, uint64_t off);
	int (*sync)(void *user, void *handle);
	int (*discard)(void *user, void *handle, uint64_t off, uint64_t len);
	int (*next)(void *user, void *handle, uint64_t off, uint64_t *data, uint64_t *end);
};

extern const struct side_ops side_real;

int side_open(struct bh_disk *d, const char *suffix, struct iof_file **f, struct err *e);
int side_open_path(struct bh_disk *d, const char *path, struct iof_file **f, struct err *e);   // elsewhere than beside the disk
void side_close(struct iof_file *f);
int side_read(struct iof_file *f, void *buf, size_t len, uint64_t off);
int side_write(struct iof_file *f, const void *buf, size_t len, uint64_t off);
int side_sync(struct iof_file *f);
int side_discard(struct iof_file *f, uint64_t off, uint64_t len);
int side_next(struct iof_file *f, uint64_t off, uint64_t *data, uint64_t *end);

#endif
