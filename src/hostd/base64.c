// SPDX-License-Identifier: Apache-2.0
// Base64; see base64.h. The work is GnuTLS's.
#include "base64.h"

#include <stdlib.h>
#include <string.h>

#include <gnutls/gnutls.h>

char *base64_decode(const char *text, size_t *len)
{
	gnutls_datum_t in = {.data = (unsigned char *)text, .size = (unsigned)strlen(text)}, out = {0};
	if (in.size && gnutls_base64_decode2(&in, &out) != 0)
		return NULL;
	char *copy = malloc(out.size + 1);
	if (copy) {
		if (out.size)
			memcpy(copy, out.data, out.size);
		copy[out.size] = '\0';
		*len = out.size;
	}
	gnutls_free(out.data);
	return copy;
}
