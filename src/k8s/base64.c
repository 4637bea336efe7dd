// SPDX-License-Identifier: Apache-2.0
// Base64; see base64.h.
#include "base64.h"

#include <stdint.h>
#include <stdlib.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decode into out, or only count when out is NULL. */
static long decode(const char *text, size_t len, unsigned char *out)
{
	uint32_t bits = 0;
	int have = 0, padding = 0;
	long n = 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\n' || text[i] == '\r')
			continue;
		int d = digit(text[i]);
		if (text[i] == '=' && have >= 2)
			padding++, d = 0;
		else if (d < 0 || padding)
			return -1;
		bits = bits << 6 | (uint32_t)d;
		if (++have < 4)
			continue;
		for (int b = 0; b < 3 - padding; b++, n++)
			if (out)
				out[n] = (unsigned char)(bits >> (16 - 8 * b));
		if (padding > 2)
			return -1;
		have = padding ? 4 : 0;   // 4: nothing may follow
		bits = 0;
		if (padding) {
			for (i++; i < len; i++)
				if (text[i] != '\n' && text[i] != '\r')
					return -1;
			return n;
		}
	}
	return have ? -1 : n;
}

long base64_decoded_len(const char *text, size_t len)
{
	return decode(text, len, NULL);
}

unsigned char *base64_decode(const char *text, size_t len, size_t *out_len)
{
	unsigned char *out = malloc(len / 4 * 3 + 4);
	long n = out ? decode(text, len, out) : -1;
	if (n < 0) {
		free(out);
		return NULL;
	}
	out[n] = '\0';
	*out_len = (size_t)n;
	return out;
}

char *base64_encode(const void *data, size_t len)
{
	const unsigned char *in = data;
	char *out = malloc((len + 2) / 3 * 4 + 1), *o = out;
	if (!out)
		return NULL;
	for (size_t i = 0; i < len; i += 3) {
		uint32_t bits = (uint32_t)in[i] << 16 | (uint32_t)(i + 1 < len ? in[i + 1] : 0) << 8 | (i + 2 < len ? in[i + 2] : 0);
		*o++ = alphabet[bits >> 18];
		*o++ = alphabet[bits >> 12 & 63];
		*o++ = i + 1 < len ? alphabet[bits >> 6 & 63] : '=';
		*o++ = i + 2 < len ? alphabet[bits & 63] : '=';
	}
	*o = '\0';
	return out;
}
