// SPDX-License-Identifier: Apache-2.0
// Finding duplicate keys in JSON text, which a parsed value no longer shows; see schema.h. One pass, keys of the open
// objects on a stack; the text has passed a JSON parser before, so only its shape matters here.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/own.h"
#include "schema.h"

#define DEPTH_MAX 2048
#define FOUND_MAX 64

struct level {
	json_t *keys;        // of an object: those seen; NULL for a list
	const char *key;     // current key (borrowed from keys)
	size_t index;
};

struct scan {
	const char *at, *end;
	struct level stack[DEPTH_MAX];
	int depth;
};

static void scan_fini(struct scan *s)
{
	while (s->depth)
		json_decref(s->stack[--s->depth].keys);
}

/* Behind the closing quote, or NULL. at: behind the opening one. */
static const char *string_end(const char *at, const char *end)
{
	for (; at < end; at++) {
		if (*at == '"')
			return at + 1;
		if (*at == '\\')
			at++;
	}
	return NULL;
}

static void report(const struct scan *s, const char *key, json_t *found)
{
	own_buf struct buf path = BUF_INIT;
	if (json_array_size(found) >= FOUND_MAX)
		return;
	for (int i = 0; i + 1 < s->depth; i++)
		if (s->stack[i].keys)
			buf_printf(&path, "%s%s", path.len ? "." : "", s->stack[i].key ? s->stack[i].key : "");
		else
			buf_printf(&path, "[%zu]", s->stack[i].index);
	buf_printf(&path, "%s%s", path.len ? "." : "", key);
	if (path.data)
		json_array_append_new(found, json_sprintf("duplicate field \"%s\"", path.data));
}

/* A string of an object that is followed by ':' is a key. start..end: with quotes. */
static int on_string(struct scan *s, const char *start, const char *end, json_t *found)
{
	struct level *top = s->depth ? &s->stack[s->depth - 1] : NULL;
	const char *p = end;
	while (p < s->end && strchr(" \t\r\n", *p))
		p++;
	if (!top || !top->keys || p == s->end || *p != ':')
		return 0;
	json_error_t where;
	json_t *name = json_loadb(start, (size_t)(end - start), JSON_DECODE_ANY | JSON_ALLOW_NUL, &where);
	if (!json_is_string(name) || strlen(json_string_value(name)) != json_string_length(name)) {
		json_decref(name);
		return -EINVAL;
	}
	const char *key = json_string_value(name);
	if (json_object_get(top->keys, key))
		report(s, key, found);
	json_object_set_new(top->keys, key, json_true());
	top->key = json_object_iter_key(json_object_iter_at(top->keys, key));
	json_decref(name);
	return 0;
}

static int open_level(struct scan *s, bool object)
{
	if (s->depth == DEPTH_MAX)
		return -EINVAL;
	s->stack[s->depth] = (struct level){.keys = object ? json_object() : NULL};
	if (object && !s->stack[s->depth].keys)
		return -ENOMEM;
	s->depth++;
	return 0;
}

static int scan(struct scan *s, json_t *found)
{
	int rc = 0;
	while (!rc && s->at < s->end) {
		const char *c = s->at++;
		if (*c == '{' || *c == '[') {
			rc = open_level(s, *c == '{');
		} else if (*c == '}' || *c == ']') {
			if (!s->depth)
				return -EINVAL;
			json_decref(s->stack[--s->depth].keys);
		} else if (*c == ',' && s->depth) {
			s->stack[s->depth - 1].index++;
		} else if (*c == '"') {
			s->at = string_end(s->at, s->end);
			if (!s->at)
				return -EINVAL;
			rc = on_string(s, c, s->at, found);
		}
	}
	return rc ? rc : s->depth ? -EINVAL : 0;
}

int k8s_json_duplicates(const char *text, size_t len, json_t *found)
{
	own_free struct scan *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->at = text;
	s->end = text + len;
	int rc = scan(s, found);
	scan_fini(s);
	return rc;
}
