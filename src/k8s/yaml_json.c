// SPDX-License-Identifier: Apache-2.0
// YAML to JSON; see yaml_json.h. libyaml gives events; nodes being built are on an explicit stack.
#include "yaml_json.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/jpath.h"
#include "base/own.h"

#define DEPTH_MAX 200
#define NODES_MAX 2000000   // values made in one document, expanded aliases counted

struct frame {
	json_t *node;        // owned
	char *key;           // owned; pending key of an object
	char *anchor;        // owned
};

struct builder {
	yaml_parser_t parser;
	struct frame stack[DEPTH_MAX];
	int depth;
	json_t *root;        // owned
	json_t *anchors;     // name -> value, owned
	size_t nodes;
	struct err *e;
};

static void builder_fini(struct builder *b)
{
	for (int i = 0; i < b->depth; i++) {
		json_decref(b->stack[i].node);
		free(b->stack[i].key);
		free(b->stack[i].anchor);
	}
	json_decref(b->root);
	json_decref(b->anchors);
	yaml_parser_delete(&b->parser);
}
#define own_builder __attribute__((cleanup(builder_fini)))

static int refuse(struct builder *b, const yaml_event_t *event, const char *why)
{
	return err_set(b->e, EINVAL, "yaml: line %zu: %s", event->start_mark.line + 1, why);
}

static size_t count_nodes(const json_t *v)
{
	size_t n = 1, i;
	const char *key;
	json_t *child;
	json_object_foreach((json_t *)v, key, child)
		n += count_nodes(child);
	json_array_foreach(v, i, child)
		n += count_nodes(child);
	return n;
}

static bool looks_integer(const char *s)
{
	s += *s == '-' || *s == '+';
	return *s && strspn(s, "0123456789") == strlen(s) && (s[0] != '0' || !s[1]);
}

static bool looks_real(const char *s)
{
	char *end;
	if (!strpbrk(s, "0123456789") || strspn(s, "0123456789+-.eE") != strlen(s))
		return false;
	strtod(s, &end);
	return !*end;
}

/* The value of an unquoted scalar. */
static json_t *plain_scalar(const char *s, size_t len)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
	static const char *const yes[] = {"true", "True", "TRUE"}, *const no[] = {"false", "False", "FALSE"};
	for (size_t i = 0; i < sizeof(nulls) / sizeof(*nulls); i++)
		if (!strcmp(s, nulls[i]))
			return json_null();
	for (size_t i = 0; i < 3; i++)
		if (!strcmp(s, yes[i]) || !strcmp(s, no[i]))
			return json_boolean(s[0] == 't' || s[0] == 'T');
	char *end;
	errno = 0;
	if (looks_integer(s)) {
		long long v = strtoll(s, &end, 10);
		if (!errno)
			return json_integer(v);
	} else if (s[0] == '0' && (s[1] == 'x' || s[1] == 'o') && s[2]) {
		long long v = strtoll(s + 2, &end, s[1] == 'x' ? 16 : 8);
		if (!errno && !*end)
			return json_integer(v);
	} else if (s[0] == '0' && strspn(s, "01234567") == strlen(s)) {
		long long v = strtoll(s, &end, 8);   // YAML 1.1: file modes are written so
		if (!errno)
			return json_integer(v);
	} else if (looks_real(s)) {
		double v = strtod(s, &end);
		if (!errno)
			return json_real(v);
	}
	return json_stringn(s, len);
}

static json_t *scalar(const yaml_event_t *event)
{
	const char *s = (const char *)event->data.scalar.value, *tag = (const char *)event->data.scalar.tag;
	size_t len = event->data.scalar.length;
	if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || (tag && !strcmp(tag, YAML_STR_TAG)))
		return json_stringn(s, len);
	return strlen(s) == len ? plain_scalar(s, len) : NULL;
}

/* Put value (taken) where the document stands now. */
static int place(struct builder *b, const yaml_event_t *event, json_t *value)
{
	own_json json_t *v = value;
	struct frame *top = b->depth ? &b->stack[b->depth - 1] : NULL;
	if (!v)
		return refuse(b, event, "the text is not valid UTF-8");
	if (!top) {
		json_decref(b->root);
		b->root = take(v);
		return 0;
	}
	if (json_is_array(top->node))
		return json_array_append_new(top->node, take(v)) ? err_set(b->e, ENOMEM, "out of memory") : 0;
	int rc = json_object_set_new(top->node, top->key, take(v));
	free(take(top->key));
	return rc ? refuse(b, event, "a key is not valid UTF-8") : 0;
}

static bool wants_key(const struct builder *b)
{
	return b->depth && json_is_object(b->stack[b->depth - 1].node) && !b->stack[b->depth - 1].key;
}

static int take_key(struct builder *b, const yaml_event_t *event)
{
	struct frame *top = &b->stack[b->depth - 1];
	const char *key = (const char *)event->data.scalar.value;
	if (strlen(key) != event->data.scalar.length)
		return refuse(b, event, "a key holds a zero byte");
	if (json_object_get(top->node, key))
		return err_set(b->e, EINVAL, "yaml: line %zu: key \"%s\" already set in map", event->start_mark.line + 1, key);
	top->key = strdup(key);
	return top->key ? 0 : err_set(b->e, ENOMEM, "out of memory");
}

static int remember(struct builder *b, const char *anchor, json_t *value)
{
	if (anchor && json_object_set(b->anchors, anchor, value))
		return err_set(b->e, ENOMEM, "out of memory");
	return 0;
}

static int on_scalar(struct builder *b, const yaml_event_t *event)
{
	if (wants_key(b))
		return take_key(b, event);
	json_t *value = scalar(event);
	int rc = value ? remember(b, (const char *)event->data.scalar.anchor, value) : 0;
	if (rc) {
		json_decref(value);
		return rc;
	}
	return place(b, event, value);
}

static int on_alias(struct builder *b, const yaml_event_t *event)
{
	json_t *target = json_object_get(b->anchors, (const char *)event->data.alias.anchor);
	if (!target)
		return refuse(b, event, "unknown anchor");
	if (wants_key(b))
		return refuse(b, event, "an alias cannot be a key");
	b->nodes += count_nodes(target);
	if (b->nodes > NODES_MAX)
		return err_set(b->e, E2BIG, "yaml: document contains excessive aliasing");
	return place(b, event, json_deep_copy(target));
}

static int on_start(struct builder *b, const yaml_event_t *event, json_t *node, const char *anchor)
{
	own_json json_t *n = node;
	if (!n)
		return err_set(b->e, ENOMEM, "out of memory");
	if (b->depth == DEPTH_MAX)
		return refuse(b, event, "nested too deeply");
	if (wants_key(b))
		return refuse(b, event, "a key must be a scalar");
	struct frame *f = &b->stack[b->depth++];
	*f = (struct frame){.node = take(n), .anchor = anchor ? strdup(anchor) : NULL};
	return 0;
}

static int on_end(struct builder *b, const yaml_event_t *event)
{
	struct frame f = b->stack[--b->depth];
	int rc = remember(b, f.anchor, f.node);
	free(f.anchor);
	if (rc) {
		json_decref(f.node);
		return rc;
	}
	return place(b, event, f.node);
}

/* 1: the stream is over. */
static int on_event(struct builder *b, const yaml_event_t *event, int *documents)
{
	if (++b->nodes > NODES_MAX)
		return err_set(b->e, E2BIG, "yaml: more than %d values", NODES_MAX);
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		return (*documents)++ ? refuse(b, event, "more than one document") : 0;
	case YAML_SCALAR_EVENT: return on_scalar(b, event);
	case YAML_ALIAS_EVENT: return on_alias(b, event);
	case YAML_SEQUENCE_START_EVENT: return on_start(b, event, json_array(), (const char *)event->data.sequence_start.anchor);
	case YAML_MAPPING_START_EVENT: return on_start(b, event, json_object(), (const char *)event->data.mapping_start.anchor);
	case YAML_SEQUENCE_END_EVENT: case YAML_MAPPING_END_EVENT: return on_end(b, event);
	case YAML_STREAM_END_EVENT: return 1;
	default: return 0;
	}
}

int k8s_yaml_parse(const char *text, size_t len, json_t **out, struct err *e)
{
	own_builder struct builder b = {.e = e};
	int documents = 0, rc = 0;
	if (!yaml_parser_initialize(&b.parser))
		return err_set(e, ENOMEM, "out of memory");
	b.anchors = json_object();
	yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, len);
	while (!rc) {
		yaml_event_t event;
		if (!yaml_parser_parse(&b.parser, &event))
			return err_set(e, EINVAL, "yaml: line %zu: %s", b.parser.problem_mark.line + 1,
				       b.parser.problem ? b.parser.problem : "not understood");
		rc = on_event(&b, &event, &documents);
		yaml_event_delete(&event);
	}
	if (rc < 0)
		return rc;
	*out = b.root ? take(b.root) : json_null();
	return 0;
}
