// SPDX-License-Identifier: Apache-2.0
// Header blocks of SPDY/3.1: names and values, zlib-compressed with a shared dictionary. One inflate and one deflate
// context per connection, so every block must go through here in order, wanted or not.
#ifndef BH_HOSTD_SPDY_HEADERS_H
#define BH_HOSTD_SPDY_HEADERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "streaming_mux.h"

struct spdy_inflater;
struct spdy_deflater;

struct spdy_inflater *spdy_inflater_new(void);     // NULL: no memory
void spdy_inflater_free(struct spdy_inflater *z);  // NULL allowed

/* Decompress and parse one block. text: holds the strings that h points to; emptied first. Returns 0, -EPROTO (not a
 * header block, or larger than 64 KiB) or -ENOMEM. After an error the context is of no more use. */
int spdy_headers_read(struct spdy_inflater *z, const void *block, size_t len, struct buf *text, struct mux_headers *h);

struct spdy_deflater *spdy_deflater_new(void);
void spdy_deflater_free(struct spdy_deflater *z);

/* Append the compressed block of h to out. Returns 0 or -ENOMEM. */
int spdy_headers_write(struct spdy_deflater *z, const struct mux_headers *h, struct buf *out);

#endif
