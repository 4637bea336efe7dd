// SPDX-License-Identifier: Apache-2.0
#ifndef BH_DISK_COMPRESS_CODEC_H
#define BH_DISK_COMPRESS_CODEC_H

#include <stddef.h>
#include <stdint.h>

enum codec { CODEC_NONE = 0, CODEC_ZSTD = 1, CODEC_LZ4 = 2 };

struct codec_state;   // of one thread
struct codec_state *codec_new(void);
void codec_free(struct codec_state *c);

/* Bytes written to out, or 0 if it does not fit into max. */
size_t codec_pack(struct codec_state *c, enum codec which, int level, const void *in, size_t len, void *out, size_t max);
int codec_unpack(struct codec_state *c, enum codec which, const void *in, size_t len, void *out, size_t want);   // 0 or -EIO

#endif
