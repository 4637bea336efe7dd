// SPDX-License-Identifier: Apache-2.0
// The head of a node's HTTP answer: status line and headers. Strict and bounded; used only where an answer turns into a
// byte tunnel, which HTTP libraries do not hand over.
#ifndef BH_SERVER_HTTP_HEAD_H
#define BH_SERVER_HTTP_HEAD_H

#include <stddef.h>
#include <sys/types.h>

#define HTTP_HEAD_MAX 16384      // bytes, with the empty line
#define HTTP_HEADERS_MAX 64

struct http_header { const char *name, *value; };

struct http_head {
	int code;
	struct http_header headers[HTTP_HEADERS_MAX];   // point into text
	int count;
	long long content_length;    // -1: not given
	char *text;                  // owned
};

/* Parse what has come so far. Returns the length of the head with its empty line, 0 if it is not complete yet, or
 * -EBADMSG (malformed or too long) or -ENOMEM. */
ssize_t http_head_parse(const char *data, size_t len, struct http_head *h);
void http_head_fini(struct http_head *h);
const char *http_head_get(const struct http_head *h, const char *name);   // first value; NULL when absent

#endif
