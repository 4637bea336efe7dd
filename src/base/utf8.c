// SPDX-License-Identifier: Apache-2.0
// See utf8.h. RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
#include "utf8.h"

#include <stddef.h>

/* Bytes of the valid sequence at s, 0 if there is none. */
static size_t sequence(const unsigned char *s)
{
	static const struct { unsigned char first_min, first_max, second_min, second_max, len; } forms[] = {
		{0x01, 0x7f, 0, 0, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4}};
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		size_t n = forms[i].len, k;
		if (s[0] < forms[i].first_min || s[0] > forms[i].first_max)
			continue;
		if (n > 1 && (s[1] < forms[i].second_min || s[1] > forms[i].second_max))
			return 0;
		for (k = 2; k < n; k++)
			if (s[k] < 0x80 || s[k] > 0xbf)   // the terminating NUL stops this in time
				return 0;
		return n;
	}
	return 0;
}

char *utf8_clean(char *text)
{
	for (unsigned char *s = (unsigned char *)text; s && *s;) {
		size_t n = sequence(s);
		if (!n)
			*s = '?';
		s += n ? n : 1;
	}
	return text;
}
