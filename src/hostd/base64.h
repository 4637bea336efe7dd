// SPDX-License-Identifier: Apache-2.0
// Base64 as Secrets carry it (RFC 4648, padding, line breaks tolerated).
#ifndef BH_HOSTD_BASE64_H
#define BH_HOSTD_BASE64_H

#include <stddef.h>

char *base64_decode(const char *text, size_t *len);   // heap, NUL behind *len bytes; NULL: malformed or no memory

#endif
