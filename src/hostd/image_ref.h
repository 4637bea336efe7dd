// SPDX-License-Identifier: Apache-2.0
// Image references: "nginx" -> docker.io/library/nginx:latest, as container runtimes read them. Pure; no allocation.
#ifndef BH_HOSTD_IMAGE_REF_H
#define BH_HOSTD_IMAGE_REF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define IMAGE_DIGEST_MAX 72      // "sha256:" + 64 digits + NUL
#define IMAGE_REF_MAX 704        // whole normalised reference + NUL

struct image_ref {
	char registry[256];              // "docker.io", "127.0.0.1:5000"
	char path[256];                  // "library/nginx"
	char tag[129];                   // "" when there is a digest
	char digest[IMAGE_DIGEST_MAX];   // "" when there is a tag
};

/* Normalise text. A reference with both tag and digest keeps the digest only: it alone says which image is meant.
 * Returns 0, or -EINVAL with what is wrong. */
int image_ref_parse(const char *text, struct image_ref *out, struct err *e);

char *image_ref_text(const struct image_ref *r, char out[IMAGE_REF_MAX]);      // "docker.io/library/nginx:latest"
char *image_ref_repository(const struct image_ref *r, char out[IMAGE_REF_MAX]); // "docker.io/library/nginx"

bool image_digest_valid(const char *text);   // "sha256:" and 64 lower-case hex digits
const char *image_digest_hex(const char *digest);   // the 64 digits
void image_digest_of(const void *data, size_t len, char out[IMAGE_DIGEST_MAX]);

/* Digest of what is left to read of fd. 0 or -errno. */
int image_digest_fd(int fd, char out[IMAGE_DIGEST_MAX]);

#endif
