// SPDX-License-Identifier: Apache-2.0
#include "codec.h"

#include <errno.h>
#include <lz4.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "pager.h"
#include "store.h"

struct contexts { ZSTD_CCtx *c; ZSTD_DCtx *d; };
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void contexts_free(void *p)
{
	struct contexts *x = p;
	ZSTD_freeCCtx(x->c);
	ZSTD_freeDCtx(x->d);
	free(x);
}

static void key_make(void)
{
	if (pthread_key_create(&key, contexts_free))
		abort();
}

/* This thread's; NULL: no memory. The main thread's are freed by nobody, and needed to the end. */
static struct contexts *contexts(void)
{
	pthread_once(&once, key_make);
	struct contexts *x = pthread_getspecific(key);
	if (x)
		return x;
	x = calloc(1, sizeof(*x));
	if (x && (!(x->c = ZSTD_createCCtx()) || !(x->d = ZSTD_createDCtx()) || pthread_setspecific(key, x))) {
		contexts_free(x);
		return NULL;
	}
	return x;
}

size_t codec_pack(int codec, const void *page, void *out, size_t room)
{
	struct contexts *x;
	size_t n;
	switch (codec) {
	case STORE_LZ4:
		return (size_t)LZ4_compress_default(page, out, PAGER_PAGE, (int)room);
	case STORE_ZSTD:
		x = contexts();
		n = x ? ZSTD_compressCCtx(x->c, out, room, page, PAGER_PAGE, 1) : 0;
		return ZSTD_isError(n) ? 0 : n;
	default:
		return 0;
	}
}

int codec_unpack(int codec, const void *in, size_t len, void *page)
{
	struct contexts *x;
	switch (codec) {
	case STORE_RAW:
		if (len != PAGER_PAGE)
			return -EBADMSG;
		memcpy(page, in, len);
		return 0;
	case STORE_LZ4:
		return LZ4_decompress_safe(in, page, (int)len, PAGER_PAGE) == (int)PAGER_PAGE ? 0 : -EBADMSG;
	case STORE_ZSTD:
		x = contexts();
		return x && ZSTD_decompressDCtx(x->d, page, PAGER_PAGE, in, len) == PAGER_PAGE ? 0 : -EBADMSG;
	default:
		return -EBADMSG;
	}
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

uint32_t codec_check(uint32_t seed, const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t lane[4] = { seed, ~(uint64_t)seed, seed * 3ull + 1, len }, v[4];
	for (; len >= 32; p += 32, len -= 32) {
		memcpy(v, p, 32);
		for (int i = 0; i < 4; i++)
			lane[i] = mix(lane[i], v[i]);
	}
	memset(v, 0, sizeof(v));
	memcpy(v, p, len);
	for (int i = 0; i < 4; i++)
		lane[i] = mix(lane[i], v[i]);
	uint64_t h = mix(mix(mix(lane[0], lane[1]), lane[2]), lane[3]);
	return (uint32_t)(h ^ h >> 32);
}
