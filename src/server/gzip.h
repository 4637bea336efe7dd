// SPDX-License-Identifier: Apache-2.0
// An answer that is compressed while it is read.
#ifndef BH_SERVER_GZIP_H
#define BH_SERVER_GZIP_H

#include <microhttpd.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define GZIP_MIN 131072      // bytes: shorter answers are not worth it, as upstream

struct gzip;

/* read, free_fn, user: as MHD's; user becomes the gzip's. NULL: no memory, or too many are open: user is still the caller's. */
struct gzip *gzip_new(MHD_ContentReaderCallback read, MHD_ContentReaderFreeCallback free_fn, void *user);
/* The same of len bytes at data, which stay until free_fn(user). */
struct gzip *gzip_new_text(const char *data, size_t len, MHD_ContentReaderFreeCallback free_fn, void *user);

/* As MHD's callbacks, for a struct gzip. */
ssize_t gzip_read(void *gzip, uint64_t pos, char *out, size_t max);
void gzip_free(void *gzip);

#endif
