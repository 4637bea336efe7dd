// SPDX-License-Identifier: Apache-2.0
#include "disk/filters/compress/codec.h"

#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <zstd.h>

struct codec_state { ZSTD_CCtx *c; ZSTD_DCtx *d; };

void codec_free(struct codec_state *c)
{
	if (!c) return;
	ZSTD_freeCCtx(c->c);
	ZSTD_freeDCtx(c->d);
	free(c);
}

struct codec_state *codec_new(void)
{
	struct codec_state *c = calloc(1, sizeof(*c));

	if (!c) return NULL;
	c->c = ZSTD_createCCtx();
	c->d = ZSTD_createDCtx();
	if (c->c && c->d) return c;
	codec_free(c);
	return NULL;
}

size_t codec_pack(struct codec_state *c, enum codec which, int level, const void *in, size_t len, void *out, size_t max)
{
	size_t n;
	int m;

	if (which == CODEC_ZSTD) {
		n = ZSTD_compressCCtx(c->c, out, max, in, len, level);
		return ZSTD_isError(n) ? 0 : n;
	}
	m = LZ4_compress_fast(in, out, (int)len, (int)max, level < 1 ? 1 : level);
	return m > 0 ? (size_t)m : 0;
}

int codec_unpack(struct codec_state *c, enum codec which, const void *in, size_t len, void *out, size_t want)
{
	if (which == CODEC_ZSTD) {
		size_t n = ZSTD_decompressDCtx(c->d, out, want, in, len);

		return ZSTD_isError(n) || n != want ? -EIO : 0;
	}
	return LZ4_decompress_safe(in, out, (int)len, (int)want) == (int)want ? 0 : -EIO;
}
