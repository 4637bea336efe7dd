// SPDX-License-Identifier: Apache-2.0
// SPDY/3.1 header blocks; see spdy_headers.h. Layout after decompression (SPDY/3, 2.6.10): u32 count, then for each
// header u32 length, name, u32 length, value (several values of one name are separated by NUL).
#include "spdy_headers.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "spdy_dictionary.h"

#define DICTIONARY_LEN (sizeof(spdy_dictionary) - 1)
#define BLOCK_MAX (64u << 10)   // decompressed

struct spdy_inflater { z_stream z; };
struct spdy_deflater { z_stream z; };

struct spdy_inflater *spdy_inflater_new(void)
{
	struct spdy_inflater *s = calloc(1, sizeof(*s));
	if (s && inflateInit(&s->z) != Z_OK) {
		free(s);
		return NULL;
	}
	return s;
}

void spdy_inflater_free(struct spdy_inflater *s)
{
	if (!s)
		return;
	inflateEnd(&s->z);
	free(s);
}

static int inflate_block(z_stream *z, const void *block, size_t len, struct buf *text)
{
	z->next_in = (void *)block;   // zlib does not write to it
	z->avail_in = (uInt)len;
	for (;;) {
		if (buf_reserve(text, 1024))
			return -ENOMEM;
		size_t room = text->cap - text->len - 1;
		z->next_out = (unsigned char *)text->data + text->len;
		z->avail_out = (uInt)room;
		int rc = inflate(z, Z_SYNC_FLUSH);
		text->len += room - z->avail_out;
		if (text->len > BLOCK_MAX)
			return -EPROTO;
		if (rc == Z_NEED_DICT && inflateSetDictionary(z, spdy_dictionary, DICTIONARY_LEN) == Z_OK)
			continue;
		if (rc == Z_MEM_ERROR)
			return -ENOMEM;
		if (rc != Z_OK && rc != Z_BUF_ERROR)   // Z_STREAM_END too: the stream lasts as long as the connection
			return -EPROTO;
		if (z->avail_out)
			return z->avail_in ? -EPROTO : 0;
	}
}

/* A cursor over the decompressed bytes. */
struct cursor { unsigned char *at; size_t left; };

static int take_u32(struct cursor *c, uint32_t *v)
{
	if (c->left < 4)
		return -EPROTO;
	*v = (uint32_t)c->at[0] << 24 | (uint32_t)c->at[1] << 16 | (uint32_t)c->at[2] << 8 | c->at[3];
	c->at += 4;
	c->left -= 4;
	return 0;
}

/* A length-prefixed string, moved over its length field so that there is room for a NUL behind it. */
static int take_string(struct cursor *c, const char **out)
{
	uint32_t len;
	if (take_u32(c, &len) || len > c->left)
		return -EPROTO;
	char *s = (char *)c->at - 4;
	memmove(s, c->at, len);
	s[len] = '\0';
	c->at += len;
	c->left -= len;
	*out = s;
	return 0;
}

int spdy_headers_read(struct spdy_inflater *s, const void *block, size_t len, struct buf *text, struct mux_headers *h)
{
	text->len = 0;
	int rc = inflate_block(&s->z, block, len, text);
	if (rc)
		return rc;
	struct cursor c = {(unsigned char *)text->data, text->len};
	uint32_t count;
	if (take_u32(&c, &count) || count > MUX_HEADERS_MAX)
		return -EPROTO;
	struct mux_headers got = {.count = count};
	for (size_t i = 0; i < count; i++) {
		if (take_string(&c, &got.list[i].name) || take_string(&c, &got.list[i].value))
			return -EPROTO;
		for (char *p = (char *)got.list[i].name; *p; p++)
			*p = (char)tolower((unsigned char)*p);
	}
	if (c.left)
		return -EPROTO;
	*h = got;
	return 0;
}

struct spdy_deflater *spdy_deflater_new(void)
{
	struct spdy_deflater *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	/* A small window: our blocks are short, and the default would cost 256 KiB per connection. */
	if (deflateInit2(&s->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(s);
		return NULL;
	}
	if (deflateSetDictionary(&s->z, spdy_dictionary, DICTIONARY_LEN) != Z_OK) {
		spdy_deflater_free(s);
		return NULL;
	}
	return s;
}

void spdy_deflater_free(struct spdy_deflater *s)
{
	if (!s)
		return;
	deflateEnd(&s->z);
	free(s);
}

static int put_u32(struct buf *b, uint32_t v)
{
	unsigned char raw[4] = {(unsigned char)(v >> 24), (unsigned char)(v >> 16), (unsigned char)(v >> 8), (unsigned char)v};
	return buf_append(b, raw, 4);
}

static int put_string(struct buf *b, const char *s)
{
	return put_u32(b, (uint32_t)strlen(s)) || buf_puts(b, s) ? -ENOMEM : 0;
}

int spdy_headers_write(struct spdy_deflater *s, const struct mux_headers *h, struct buf *out)
{
	struct buf plain = BUF_INIT;
	int rc = put_u32(&plain, (uint32_t)h->count);
	for (size_t i = 0; !rc && i < h->count; i++)
		rc = put_string(&plain, h->list[i].name) || put_string(&plain, h->list[i].value) ? -ENOMEM : 0;
	s->z.next_in = (unsigned char *)plain.data;
	s->z.avail_in = (uInt)plain.len;
	while (!rc) {
		rc = buf_reserve(out, 256);
		if (rc)
			break;
		size_t room = out->cap - out->len - 1;
		s->z.next_out = (unsigned char *)out->data + out->len;
		s->z.avail_out = (uInt)room;
		deflate(&s->z, Z_SYNC_FLUSH);
		out->len += room - s->z.avail_out;
		if (s->z.avail_out)
			break;
	}
	buf_fini(&plain);
	return rc;
}
