// SPDX-License-Identifier: Apache-2.0
// Compression and checksum of single pages. Any thread; contexts are kept for each thread.
#ifndef BH_PAGER_CODEC_H
#define BH_PAGER_CODEC_H

#include <stddef.h>
#include <stdint.h>

/* Compress a page into at most room bytes. codec: enum store_codec. Returns the length; 0: it does not fit, or no memory. */
size_t codec_pack(int codec, const void *page, void *out, size_t room);
/* The opposite. in can be anything. Returns 0, or -EBADMSG: it is not one page. */
int codec_unpack(int codec, const void *in, size_t len, void *page);

/* A checksum against accidents and stray writes, not against forgers. seed: of what came before. */
uint32_t codec_check(uint32_t seed, const void *data, size_t len);

#endif
