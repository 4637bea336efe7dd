// SPDX-License-Identifier: Apache-2.0
// A growing byte buffer. Always NUL-terminated behind len, so data can be used as a string. Not thread-safe.
#ifndef BH_BUF_H
#define BH_BUF_H

#include <stdarg.h>
#include <stddef.h>

struct buf {
	char *data;    // owned; NULL while empty
	size_t len;    // bytes used
	size_t cap;    // bytes allocated
};

#define BUF_INIT { .data = NULL, .len = 0, .cap = 0 }
#define own_buf __attribute__((cleanup(buf_fini)))

void buf_fini(struct buf *b);                                    // frees; b is empty and usable afterwards
int buf_reserve(struct buf *b, size_t extra);                    // room for extra more bytes; 0 or -ENOMEM
int buf_append(struct buf *b, const void *data, size_t len);     // 0 or -ENOMEM
int buf_puts(struct buf *b, const char *text);                   // 0 or -ENOMEM
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));   // 0 or -ENOMEM
void buf_consume(struct buf *b, size_t len);                     // drop len bytes from the front (len <= b->len)
char *buf_take(struct buf *b);                                   // string now the caller's (never NULL unless ENOMEM); b empty

#endif
