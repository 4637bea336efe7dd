// SPDX-License-Identifier: Apache-2.0
#include "base/jwrite.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

static size_t plain(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && (unsigned char)text[n] >= 0x20 && text[n] != '"' && text[n] != '\\')
		n++;
	return n;
}

static int put_escaped(struct buf *b, unsigned char c)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	char text[8] = { '\\' };

	for (int i = 0; from[i]; i++)
		if (c == (unsigned char)from[i]) {
			text[1] = to[i];
			return buf_append(b, text, 2);
		}
	snprintf(text, sizeof text, "\\u%04X", c);
	return buf_append(b, text, 6);
}

int jwrite_string(struct buf *b, const char *text, size_t len)
{
	int r = buf_append(b, "\"", 1);

	while (!r && len) {
		size_t n = plain(text, len);
		r = buf_append(b, text, n);
		if (!r && n < len)
			r = put_escaped(b, text[n++]);
		text += n;
		len -= n;
	}
	return r ? r : buf_append(b, "\"", 1);
}

static int put_integer(struct buf *b, json_int_t value)
{
	char digits[24];

	return buf_append(b, digits, snprintf(digits, sizeof digits, "%" JSON_INTEGER_FORMAT, value));
}

static int put_real(struct buf *b, const json_t *value)
{
	char text[64];       // the shortest that reads back as the same takes at most 24
	size_t n = json_dumpb(value, text, sizeof text, JSON_ENCODE_ANY);

	return n && n <= sizeof text ? buf_append(b, text, n) : -ENOMEM;
}

static int put_object(struct buf *b, const json_t *object)
{
	bool first = true;
	const char *key;
	json_t *value;
	size_t len;
	int r = buf_append(b, "{", 1);

	json_object_keylen_foreach((json_t *)object, key, len, value) {
		if (!r && !first)
			r = buf_append(b, ",", 1);
		if (!r)
			r = jwrite_string(b, key, len);
		if (!r)
			r = buf_append(b, ":", 1);
		if (!r)
			r = jwrite(b, value);
		first = false;
	}
	return r ? r : buf_append(b, "}", 1);
}

static int put_list(struct buf *b, const json_t *list)
{
	size_t n = json_array_size(list);
	int r = buf_append(b, "[", 1);

	for (size_t i = 0; i < n && !r; i++) {
		if (i)
			r = buf_append(b, ",", 1);
		if (!r)
			r = jwrite(b, json_array_get(list, i));
	}
	return r ? r : buf_append(b, "]", 1);
}

int jwrite(struct buf *b, const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT: return put_object(b, value);
	case JSON_ARRAY: return put_list(b, value);
	case JSON_STRING: return jwrite_string(b, json_string_value(value), json_string_length(value));
	case JSON_INTEGER: return put_integer(b, json_integer_value(value));
	case JSON_REAL: return put_real(b, value);
	case JSON_TRUE: return buf_append(b, "true", 4);
	case JSON_FALSE: return buf_append(b, "false", 5);
	case JSON_NULL: return buf_append(b, "null", 4);
	}
	return -EINVAL;
}
