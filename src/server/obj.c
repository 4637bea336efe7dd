// SPDX-License-Identifier: Apache-2.0
#include "server/obj.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jtext.h"
#include "base/jwrite.h"
#include "base/own.h"

static int put_member(struct buf *b, bool *first, const char *key, const json_t *value)
{
	int r = *first ? 0 : buf_puts(b, ",");

	*first = false;
	if (!r)
		r = jwrite_string(b, key, strlen(key));
	if (!r)
		r = buf_puts(b, ":");
	return r ? r : jwrite(b, value);
}

static bool is_leading(const char *key)
{
	return !strcmp(key, "kind") || !strcmp(key, "apiVersion") || !strcmp(key, "metadata");
}

/* {"kind":..,"apiVersion":..,"metadata":{"resourceVersion":"", ...},...}; *rv_off: between the two quotes. */
static int encode_text(struct buf *b, const json_t *j, size_t *rv_off)
{
	json_t *meta = json_object_get(j, "metadata"), *value;
	const char *key;
	bool first = true, first_meta = false;
	int r;

	if (!json_is_object(meta))
		return -EINVAL;
	r = buf_puts(b, "{");
	for (int i = 0; i < 2 && !r; i++) {
		key = i ? "apiVersion" : "kind";
		value = json_object_get(j, key);
		if (value)
			r = put_member(b, &first, key, value);
	}
	if (!r)
		r = buf_puts(b, first ? "\"metadata\":{\"resourceVersion\":\"" : ",\"metadata\":{\"resourceVersion\":\"");
	*rv_off = b->len;
	if (!r)
		r = buf_puts(b, "\"");
	json_object_foreach((json_t *)meta, key, value) {
		if (!r && strcmp(key, "resourceVersion"))
			r = put_member(b, &first_meta, key, value);
	}
	if (!r)
		r = buf_puts(b, "}");
	first = false;
	json_object_foreach((json_t *)j, key, value) {
		if (!r && !is_leading(key))
			r = put_member(b, &first, key, value);
	}
	return r ? r : buf_puts(b, "}");
}

/* Letters, digits, '-' and '.' stand in JSON text as they are. */
static bool plain_name(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!(name[i] >= 'a' && name[i] <= 'z') && !(name[i] >= '0' && name[i] <= '9') && name[i] != '-' && name[i] != '.')
			return false;
	return len > 0 && len < OBJ_NODE_MAX;
}

bool obj_node_name(const char *name)
{
	return plain_name(name, strlen(name));
}

static void find_node(struct obj *o)
{
	const char *value;
	size_t len;

	if (strncmp(obj_key(o), "pods/", 5) || !jtext_find(obj_text(o), o->text_len, "spec.nodeName", &value, &len) || len < 3 ||
	    *value != '"' || !plain_name(value + 1, len - 2))
		return;
	o->node_end = obj_text(o) + o->text_len - (value + 1);
	o->node_len = len - 2;
}

static const char *node_text(const struct obj *o)
{
	return obj_text(o) + o->text_len - o->node_end;
}

const char *obj_node(const struct obj *o, char out[OBJ_NODE_MAX])
{
	memcpy(out, node_text(o), o->node_len);
	out[o->node_len] = '\0';
	return out;
}

bool obj_is_on(const struct obj *o, const char *node)
{
	return o->node_len && !strncmp(node_text(o), node, o->node_len) && !node[o->node_len];
}

static struct obj *obj_alloc(const char *key, const char *text, size_t len)
{
	size_t key_len = strlen(key);
	struct obj *o = malloc(sizeof *o + key_len + 1 + len + OBJ_RV_DIGITS + 1);

	if (!o)
		return NULL;
	*o = (struct obj){ .refs = 1, .key_len = key_len, .text_len = len };
	memcpy(o->data, key, key_len + 1);
	memcpy(o->data + key_len + 1, text, len);
	o->data[key_len + 1 + len] = '\0';
	find_node(o);
	return o;
}

int obj_encode(const char *key, const json_t *j, struct obj **out)
{
	own_buf struct buf b = BUF_INIT;
	size_t rv_off = 0;
	struct obj *o;
	int r = encode_text(&b, j, &rv_off);

	if (r)
		return r;
	if (b.len > OBJ_TEXT_MAX)
		return -EFBIG;
	o = obj_alloc(key, b.data, b.len);
	if (!o)
		return -ENOMEM;
	o->rv_off = rv_off;
	*out = o;
	return 0;
}

void obj_set_rv(struct obj *o, uint64_t rv)
{
	char digits[OBJ_RV_DIGITS + 1];
	uint32_t n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)rv);
	char *at = o->data + o->key_len + 1 + o->rv_off;

	memmove(at + n, at + o->rv_len, o->text_len - o->rv_off - o->rv_len + 1);
	memcpy(at, digits, n);
	o->text_len += n - o->rv_len;
	o->rv_len = n;
	o->rv = rv;
}

int obj_restore(const char *key, const char *text, size_t len, uint64_t rv, uint64_t created_rv, uint32_t rv_off,
		struct obj **out)
{
	char digits[OBJ_RV_DIGITS + 1];
	uint32_t n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)rv);
	struct obj *o;

	if (len < n || rv_off > len - n || memcmp(text + rv_off, digits, n))
		return -EINVAL;
	o = obj_alloc(key, text, len);
	if (!o)
		return -ENOMEM;
	o->rv = rv;
	o->created_rv = created_rv;
	o->rv_off = rv_off;
	o->rv_len = n;
	*out = o;
	return 0;
}

int obj_fill(const char *key, const char *text, size_t len, uint64_t rv, uint64_t created_rv, struct obj **out)
{
	static const char gap[] = "\"metadata\":{\"resourceVersion\":\"\"";   // unescaped quotes: it cannot be in a string
	const char *at = memmem(text, len, gap, sizeof gap - 1);
	struct obj *o;

	if (!at || memchr(text, '\0', len))
		return -EINVAL;
	o = obj_alloc(key, text, len);
	if (!o)
		return -ENOMEM;
	o->created_rv = created_rv;
	o->rv_off = at - text + sizeof gap - 2;
	obj_set_rv(o, rv);
	*out = o;
	return 0;
}

struct obj *obj_copy_rv(const struct obj *o, uint64_t rv)
{
	struct obj *copy = obj_alloc(obj_key(o), obj_text(o), o->text_len);

	if (!copy)
		return NULL;
	copy->created_rv = o->created_rv;
	copy->rv_off = o->rv_off;
	copy->rv_len = o->rv_len;
	obj_set_rv(copy, rv);
	return copy;
}

json_t *obj_json(const struct obj *o)
{
	return json_loadb(obj_text(o), o->text_len, 0, NULL);
}

void obj_unref(struct obj *o)
{
	if (o && atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) == 1)
		free(o);
}

struct obj_name obj_name(const struct obj *o)
{
	const char *end = o->data + o->key_len, *slash = strchr(o->data, '/'), *second;
	struct obj_name n = { .ns = end, .name = end };

	if (!slash)
		return n;
	second = strchr(slash + 1, '/');
	n.ns = slash + 1;
	n.ns_len = (second ? second : end) - n.ns;
	n.name = second ? second + 1 : end;
	n.name_len = end - n.name;
	return n;
}
