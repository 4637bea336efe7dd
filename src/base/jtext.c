// SPDX-License-Identifier: Apache-2.0
#include "base/jtext.h"

#include <string.h>

/* Behind the string whose opening quote is at p; NULL: it does not end. */
static const char *skip_string(const char *p, const char *end)
{
	const char *q = p + 1;

	while ((q = memchr(q, '"', end - q))) {
		const char *b = q;
		while (b > p + 1 && b[-1] == '\\')
			b--;
		if ((q - b) % 2 == 0)
			return q + 1;
		q++;
	}
	return NULL;
}

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
		p++;
	return p;
}

/* Behind the object or list that starts at p. */
static const char *skip_nested(const char *p, const char *end)
{
	unsigned depth = 0;

	while (p < end) {
		switch (*p) {
		case '"':
			p = skip_string(p, end);
			if (!p)
				return NULL;
			continue;
		case '{': case '[':
			depth++;
			break;
		case '}': case ']':
			if (--depth == 0)
				return p + 1;
			break;
		}
		p++;
	}
	return NULL;
}

static const char *skip_value(const char *p, const char *end)
{
	if (p == end)
		return NULL;
	if (*p == '"')
		return skip_string(p, end);
	if (*p == '{' || *p == '[')
		return skip_nested(p, end);
	while (p < end && !strchr(",}] \n\t\r", *p))
		p++;
	return p;
}

/* The value of a key of the object at p. */
static const char *find_member(const char *p, const char *end, const char *key, size_t key_len)
{
	if (p == end || *p != '{')
		return NULL;
	for (p = skip_space(p + 1, end); p < end && *p == '"'; p = skip_space(p, end)) {
		const char *name = p + 1, *behind = skip_string(p, end);
		if (!behind)
			return NULL;
		p = skip_space(behind, end);
		if (p == end || *p != ':')
			return NULL;
		p = skip_space(p + 1, end);
		if ((size_t)(behind - 1 - name) == key_len && !memcmp(name, key, key_len))
			return p < end ? p : NULL;
		p = skip_value(p, end);
		if (!p)
			return NULL;
		p = skip_space(p, end);
		if (p == end || *p != ',')
			return NULL;
		p++;
	}
	return NULL;
}

bool jtext_find(const char *text, size_t len, const char *path, const char **value, size_t *value_len)
{
	const char *end = text + len, *p = skip_space(text, end), *behind;

	for (;; path++) {
		size_t n = strcspn(path, ".");
		p = find_member(p, end, path, n);
		if (!p)
			return false;
		path += n;
		if (!*path)
			break;
	}
	behind = skip_value(p, end);
	if (!behind)
		return false;
	*value = p;
	*value_len = behind - p;
	return true;
}

json_t *jtext_get(const char *text, size_t len, const char *path)
{
	const char *value;
	size_t value_len;

	return jtext_find(text, len, path, &value, &value_len) ? json_loadb(value, value_len, JSON_DECODE_ANY, NULL) : NULL;
}
