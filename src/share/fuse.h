// SPDX-License-Identifier: Apache-2.0
// Answers the guest kernel's FUSE requests from a folder of the host. The requests come from a guest: every length and name
// in them is checked before it is used. Names have one component; "." and ".." are refused; links are read for the guest,
// which follows them itself, and never followed here: no request reaches outside the folder.
#ifndef BH_SHARE_FUSE_H
#define BH_SHARE_FUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FUSE_REQUEST_MAX (1024 * 1024 + 8192)   // most bytes of a request, and room that an answer needs

struct fuse;

/* root_fd: the folder (O_PATH); taken. read_only: whatever writes is answered with -EROFS. NULL: no memory. */
struct fuse *fuse_new(int root_fd, bool read_only);
void fuse_free(struct fuse *f);

/* One whole request (its header's len is len). Writes the answer to out (FUSE_REQUEST_MAX bytes): its length; 0: none is
 * wanted; -EPROTO: this is no request. */
ssize_t fuse_answer(struct fuse *f, const void *request, size_t len, void *out);

#endif
