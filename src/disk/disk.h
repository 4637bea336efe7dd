// SPDX-License-Identifier: Apache-2.0
// Opening disks: what disk.c offers the link filter and the commands.
#ifndef BH_DISK_DISK_H
#define BH_DISK_DISK_H

#include "disk/disk_internal.h"

struct disk_open {
	struct bh_disk *child;       // whose parent this is; NULL: a root
	bool read_only;
	bool threads_only, keep_descriptor;
	bool ignore_children;        // open for writing although clones exist (commit)
	bool short_data;             // although the data file was cut short (check); then clones do not matter either
	bool no_parent;              // a clone without its parent: only its own blocks can be read
	const char *at;
};

int disk_open(const char *path, const struct disk_open *o, struct bh_disk **d, struct err *e);
int disk_close(struct bh_disk *d, struct err *e);

/* Data file of a descriptor or raw path: opened and locked. -EBUSY, text in e, when another has it. */
int disk_lock(const char *data_path, bool exclusive, int *fd, struct err *e);
/* -EIO: a disk's data file has lost its end. */
int disk_length_check(const struct descriptor *desc, int data_fd, const char *data_path, struct err *e);
int disk_accept_open(struct bh_disk *d, const char *parent, struct err *e);   // copy.c: the parent as it is now
int disk_data_mtime(int fd, int64_t *ns);

#endif
