// SPDX-License-Identifier: Apache-2.0
#include "server/gzip.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/own.h"

#define LEVEL 1               // upstream's: the wire is faster than the processor
#define WINDOW (15 + 16)      // the largest, in gzip's format
#define MEMORY 8
#define PIECE 16384
#define OPEN_MAX 256          // each takes 270 KB until its reader has it all; those beyond go uncompressed

struct gzip {
	z_stream z;
	MHD_ContentReaderCallback read;
	MHD_ContentReaderFreeCallback free_fn;
	void *user;
	uint64_t pos;         // of what was read
	bool over;            // nothing more to read
	bool done;            // all has been given
	char in[PIECE];
};

static atomic_uint open_count;

struct gzip *gzip_new(MHD_ContentReaderCallback read, MHD_ContentReaderFreeCallback free_fn, void *user)
{
	struct gzip *g = open_count < OPEN_MAX ? calloc(1, sizeof *g) : NULL;

	if (!g)
		return NULL;
	g->read = read;
	g->free_fn = free_fn;
	g->user = user;
	if (deflateInit2(&g->z, LEVEL, Z_DEFLATED, WINDOW, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(g);
		return NULL;
	}
	open_count++;
	return g;
}

/* The next piece to be compressed: as the reader's answer, but 0 at the end. */
static ssize_t fill(struct gzip *g)
{
	ssize_t n = g->read(g->user, g->pos, g->in, sizeof g->in);

	g->over = n == MHD_CONTENT_READER_END_OF_STREAM;
	if (n > 0) {
		g->z.next_in = (Bytef *)g->in;
		g->z.avail_in = (uInt)n;
		g->pos += (uint64_t)n;
	}
	return n;
}

ssize_t gzip_read(void *gzip, uint64_t pos, char *out, size_t max)
{
	struct gzip *g = gzip;

	(void)pos;
	g->z.next_out = (Bytef *)out;
	g->z.avail_out = (uInt)max;
	while (g->z.avail_out && !g->done) {
		ssize_t n = g->z.avail_in || g->over ? 1 : fill(g);
		if (n <= 0 && !g->over) {     // it waits, or has failed
			if (g->z.avail_out < max)
				break;
			return n;
		}
		g->done = deflate(&g->z, g->over ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_END;
	}
	return g->z.avail_out < max ? (ssize_t)(max - g->z.avail_out) : MHD_CONTENT_READER_END_OF_STREAM;
}

void gzip_free(void *gzip)
{
	struct gzip *g = gzip;

	deflateEnd(&g->z);
	open_count--;
	g->free_fn(g->user);
	free(g);
}

/* --- of a text --- */

struct text {
	const char *data;
	size_t len;
	MHD_ContentReaderFreeCallback free_fn;
	void *user;
};

static ssize_t read_text(void *cls, uint64_t pos, char *out, size_t max)
{
	const struct text *t = cls;
	size_t n = pos < t->len ? t->len - (size_t)pos : 0;

	if (!n)
		return MHD_CONTENT_READER_END_OF_STREAM;
	n = n < max ? n : max;
	memcpy(out, t->data + pos, n);
	return (ssize_t)n;
}

static void free_text(void *cls)
{
	struct text *t = cls;

	t->free_fn(t->user);
	free(t);
}

struct gzip *gzip_new_text(const char *data, size_t len, MHD_ContentReaderFreeCallback free_fn, void *user)
{
	own_free struct text *t = malloc(sizeof *t);
	struct gzip *g;

	if (!t)
		return NULL;
	*t = (struct text){ data, len, free_fn, user };
	g = gzip_new(read_text, free_text, t);
	if (g)
		t = NULL;
	return g;
}
