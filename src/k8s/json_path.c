// SPDX-License-Identifier: Apache-2.0
// JSONPath; see json_path.h. One step at a time; a step that fans out tries its elements in order.
#include "json_path.h"

#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"

#define NAME_MAX_BYTES 256

enum step { STEP_END, STEP_NAME, STEP_INDEX, STEP_ALL, STEP_FILTER, STEP_WRONG };

struct token {
	enum step step;
	char name[NAME_MAX_BYTES];    // of a field; of a filter's field
	char value[NAME_MAX_BYTES];   // of a filter
	long index;
};

/* Copy up to stop (not escaped) into out; returns behind what was read, or NULL. */
static const char *copy_until(const char *p, const char *stop, char out[NAME_MAX_BYTES])
{
	size_t n = 0;
	for (; *p && !strchr(stop, *p); p++) {
		if (*p == '\\' && p[1])
			p++;
		if (n + 1 == NAME_MAX_BYTES)
			return NULL;
		out[n++] = *p;
	}
	out[n] = '\0';
	return p;
}

/* [?(@.type=="Ready")]; p: behind "[?(@.". */
static const char *read_filter(const char *p, struct token *t)
{
	t->step = STEP_FILTER;
	p = copy_until(p, " =", t->name);
	if (!p)
		return NULL;
	p += strspn(p, " ");
	if (strncmp(p, "==", 2))
		return NULL;
	p += 2 + strspn(p + 2, " ");
	if (*p != '"' && *p != '\'')
		return NULL;
	char quote[2] = {*p, '\0'};
	p = copy_until(p + 1, quote, t->value);
	return p && *p && !strncmp(p + 1, ")]", 2) ? p + 3 : NULL;
}

static const char *read_bracket(const char *p, struct token *t)
{
	char *end;
	if (!strncmp(p, "*]", 2)) {
		t->step = STEP_ALL;
		return p + 2;
	}
	if (!strncmp(p, "?(@.", 4))
		return read_filter(p + 4, t);
	if (*p == '\'' || *p == '"') {
		char quote[2] = {*p, '\0'};
		t->step = STEP_NAME;
		p = copy_until(p + 1, quote, t->name);
		return p && *p && p[1] == ']' ? p + 2 : NULL;
	}
	t->step = STEP_INDEX;
	t->index = strtol(p, &end, 10);
	return end != p && *end == ']' ? end + 1 : NULL;
}

static const char *next_token(const char *p, struct token *t)
{
	const char *next = NULL;
	t->step = STEP_WRONG;
	if (!*p || (p[0] == '.' && !p[1])) {
		t->step = STEP_END;
		return p;
	}
	if (*p == '[') {
		next = read_bracket(p + 1, t);
	} else if (*p == '.' && p[1] == '[') {
		next = read_bracket(p + 2, t);
	} else if (*p == '.') {
		t->step = STEP_NAME;
		next = copy_until(p + 1, ".[", t->name);
		if (next && !*t->name)
			next = NULL;
	}
	if (!next)
		t->step = STEP_WRONG;
	return next;
}

bool json_path_valid(const char *path)
{
	struct token t;
	do
		path = next_token(path, &t);
	while (t.step != STEP_END && t.step != STEP_WRONG);
	return t.step == STEP_END;
}

const json_t *json_path_first(const json_t *value, const char *path)
{
	struct token t;
	size_t i;
	json_t *item;
	const char *next = next_token(path, &t);
	switch (t.step) {
	case STEP_END: return value;
	case STEP_NAME:
		value = json_object_get(value, t.name);
		return value ? json_path_first(value, next) : NULL;
	case STEP_INDEX:
		if (t.index < 0)
			t.index += (long)json_array_size(value);
		value = t.index < 0 ? NULL : json_array_get(value, (size_t)t.index);
		return value ? json_path_first(value, next) : NULL;
	case STEP_ALL: case STEP_FILTER:
		json_array_foreach(value, i, item) {
			const json_t *found = t.step == STEP_ALL || !strcmp(jpath_str(item, t.name, ""), t.value) ? json_path_first(item, next)
													 : NULL;
			if (found)
				return found;
		}
		return NULL;
	default: return NULL;
	}
}
