// SPDX-License-Identifier: Apache-2.0
// A guest's memory as a file: each distinct page once, pages of zeros not at all, 64 KiB at a time compressed. Read whole:
// what comes out is either what was written or an error.
//
//	struct head, then the map (compressed): for each guest page 0 (zeros) or 1 + the number of its distinct page,
//	then clusters of 16 distinct pages, each a zstd frame with its checksum behind its length.
#ifndef BH_HOSTD_TEMPLATE_IMAGE_H
#define BH_HOSTD_TEMPLATE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define DIGEST_MAX 65                 // SHA-256 in hexadecimal, with its NUL

struct template_image_stats { uint64_t pages, used, distinct, file_bytes; };

/* Write the memory behind fd (sparse, page n at n * 4096) to path, and its digest. 0 or -errno. */
int template_image_write(int fd, const char *path, char digest[DIGEST_MAX], struct template_image_stats *st, struct err *e);

/* The memory of so many bytes in a sealed memfd, the caller's. -EBADMSG: the file is not what was written (digest). -errno. */
int template_image_read(const char *path, const char *digest, uint64_t bytes, struct err *e);

/* Any file as it is, in a sealed memfd. The same errors. */
int template_file_read(const char *path, const char *digest, struct err *e);

/* SHA-256 of bytes, or of a file. 0 or -errno. */
int digest_bytes(const void *data, size_t len, char digest[DIGEST_MAX], struct err *e);
int digest_file(const char *path, char digest[DIGEST_MAX], struct err *e);

#endif
