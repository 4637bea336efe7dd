// SPDX-License-Identifier: Apache-2.0
// Sets of field paths; see fieldset.h.
#include "fieldset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "base/own.h"

/* ---- types ---- */

static struct k8s_node_type type_of_field(const struct k8s_field *f)
{
	bool whole = f->atomic || (f->of && f->of->atomic && f->shape == K8S_ONE);
	if (whole)
		return (struct k8s_node_type){.node = NODE_LEAF};
	switch (f->shape) {
	case K8S_MAP: return (struct k8s_node_type){.node = NODE_MAP, .field = f};
	case K8S_LIST:
		return (struct k8s_node_type){.node = f->keys ? NODE_LIST_MAP : f->set ? NODE_SET : NODE_LEAF, .field = f};
	default: break;
	}
	if (f->type == K8S_OBJECT)
		return (struct k8s_node_type){.node = NODE_STRUCT, .schema = f->of};
	return (struct k8s_node_type){.node = f->type == K8S_ANY ? NODE_FREE : NODE_LEAF};
}

struct k8s_node_type k8s_node_root(const struct k8s_schema *schema)
{
	return (struct k8s_node_type){.node = schema ? NODE_STRUCT : NODE_FREE, .schema = schema};
}

struct k8s_node_type k8s_node_element(const struct k8s_node_type *t)
{
	const struct k8s_field *f = t->field;
	if (f->type == K8S_OBJECT)
		return (struct k8s_node_type){.node = f->of->atomic ? NODE_LEAF : NODE_STRUCT, .schema = f->of};
	return (struct k8s_node_type){.node = f->type == K8S_ANY ? NODE_FREE : NODE_LEAF};
}

struct k8s_node_type k8s_node_child(const struct k8s_node_type *t, const char *key)
{
	if (t->node == NODE_MAP)
		return k8s_node_element(t);
	const struct k8s_field *f = t->node == NODE_STRUCT ? k8s_schema_field(t->schema, key) : NULL;
	return f ? type_of_field(f) : (struct k8s_node_type){.node = NODE_FREE};
}

struct k8s_node_type k8s_node_resolve(struct k8s_node_type t, const json_t *value)
{
	bool right = t.node == NODE_LIST_MAP || t.node == NODE_SET ? json_is_array(value) : json_is_object(value);
	if (t.node == NODE_LEAF || !right)
		t.node = NODE_LEAF;
	return t;
}

/* ---- elements of lists ---- */

char *k8s_element_key(const struct k8s_node_type *list, const json_t *element, struct err *e)
{
	char *key = NULL;
	if (list->node == NODE_SET) {
		own_free char *value = json_dumps(element, JSON_ENCODE_ANY | JSON_COMPACT);
		if (!value || asprintf(&key, "v:%s", value) < 0)
			err_set(e, ENOMEM, "out of memory");
		return key;
	}
	own_json json_t *keys = json_object();
	for (const char *k = list->field->keys; *k;) {
		size_t n = strcspn(k, ",");
		json_t *v = json_object_getn(element, k, n);
		if (v)
			json_object_setn(keys, k, n, v);
		else if (n == 8 && !strncmp(k, "protocol", n))   // the one key that has a default
			json_object_setn_new(keys, k, n, json_string("TCP"));
		else {
			err_set(e, EINVAL, "element of list %s: associative list with keys has an element that omits key field \"%.*s\"",
				list->field->name, (int)n, k);
			return NULL;
		}
		k += n + (k[n] == ',');
	}
	own_free char *text = json_dumps(keys, JSON_COMPACT | JSON_SORT_KEYS);
	if (!text || asprintf(&key, "k:%s", text) < 0)
		err_set(e, ENOMEM, "out of memory");
	return key;
}

size_t k8s_element_find(const struct k8s_node_type *list, const json_t *values, const char *key)
{
	size_t i;
	json_t *v;
	json_array_foreach(values, i, v) {
		own_free char *have = k8s_element_key(list, v, NULL);
		if (have && !strcmp(have, key))
			break;
	}
	return i;
}

/* ---- making sets ---- */

static char *field_key(const char *name)
{
	char *key = NULL;
	return asprintf(&key, "f:%s", name) < 0 ? NULL : key;
}

static int set_child(json_t *set, const char *key, json_t *node)
{
	return !key || !node || json_object_set_new(set, key, node) ? -ENOMEM : 0;
}

static int of_list(const struct k8s_node_type *t, const json_t *list, json_t *set, struct err *e)
{
	size_t i;
	json_t *v;
	struct k8s_node_type element = t->node == NODE_LIST_MAP ? k8s_node_element(t) : (struct k8s_node_type){.node = NODE_LEAF};
	json_array_foreach(list, i, v) {
		own_free char *key = k8s_element_key(t, v, e);
		if (!key)
			return -EINVAL;
		json_t *node = k8s_fieldset_of(&element, v, e);
		if (!node)
			return -EINVAL;
		if (json_object_size(node))
			json_object_set_new(node, ".", json_object());
		if (set_child(set, key, node))
			return err_set(e, ENOMEM, "out of memory");
	}
	return 0;
}

json_t *k8s_fieldset_of(const struct k8s_node_type *type, const json_t *value, struct err *e)
{
	struct k8s_node_type t = k8s_node_resolve(*type, value);
	own_json json_t *set = json_object();
	const char *name;
	json_t *v;
	if (t.node == NODE_LIST_MAP || t.node == NODE_SET)
		return of_list(&t, value, set, e) ? NULL : take(set);
	if (t.node == NODE_LEAF)
		return take(set);
	json_object_foreach((json_t *)value, name, v) {
		struct k8s_node_type child = k8s_node_child(&t, name), shown = k8s_node_resolve(child, v);
		bool empty_list = (shown.node == NODE_LIST_MAP || shown.node == NODE_SET) && json_array_size(v) == 0;
		own_free char *key = field_key(name);
		if (empty_list)
			continue;
		json_t *node = k8s_fieldset_of(&child, v, e);
		if (!node)
			return NULL;
		if (set_child(set, key, node)) {
			err_set(e, ENOMEM, "out of memory");
			return NULL;
		}
	}
	return take(set);
}

static int changed_list(const struct k8s_node_type *t, const json_t *a, const json_t *b, json_t *set, struct err *e)
{
	size_t i;
	json_t *v;
	struct k8s_node_type element = t->node == NODE_LIST_MAP ? k8s_node_element(t) : (struct k8s_node_type){.node = NODE_LEAF};
	json_array_foreach(b, i, v) {
		own_free char *key = k8s_element_key(t, v, e);
		if (!key)
			return -EINVAL;
		const json_t *before = json_array_get(a, k8s_element_find(t, a, key));
		if (before && json_equal(before, v))
			continue;
		json_t *node = before ? k8s_fieldset_changed(&element, before, v, e) : k8s_fieldset_of(&element, v, e);
		if (!node)
			return -EINVAL;
		if (!before && json_object_size(node))
			json_object_set_new(node, ".", json_object());
		if (before && !json_object_size(node))
			json_decref(node);
		else if (set_child(set, key, node))
			return err_set(e, ENOMEM, "out of memory");
	}
	return 0;
}

json_t *k8s_fieldset_changed(const struct k8s_node_type *type, const json_t *a, const json_t *b, struct err *e)
{
	struct k8s_node_type t = k8s_node_resolve(*type, b);
	own_json json_t *set = json_object();
	const char *name;
	json_t *v;
	if (t.node == NODE_LIST_MAP || t.node == NODE_SET)
		return changed_list(&t, a, b, set, e) ? NULL : take(set);
	if (t.node == NODE_LEAF)
		return take(set);
	json_object_foreach((json_t *)b, name, v) {
		const json_t *before = json_object_get(a, name);
		struct k8s_node_type child = k8s_node_child(&t, name), shown = k8s_node_resolve(child, v);
		if (before && json_equal(before, v))
			continue;
		own_free char *key = field_key(name);
		bool leaf = shown.node == NODE_LEAF;
		json_t *node = before && !leaf ? k8s_fieldset_changed(&child, before, v, e) : k8s_fieldset_of(&child, v, e);
		if (!node)
			return NULL;
		bool empty_list = (shown.node == NODE_LIST_MAP || shown.node == NODE_SET) && !json_object_size(node);
		if ((before && !leaf && !json_object_size(node)) || empty_list)
			json_decref(node);       // only something below it was removed, or nothing is in it
		else if (set_child(set, key, node)) {
			err_set(e, ENOMEM, "out of memory");
			return NULL;
		}
	}
	return take(set);
}

/* ---- set operations ---- */

bool k8s_fieldset_member(const json_t *node)
{
	return node && (json_object_size(node) == 0 || json_object_get(node, "."));
}

int k8s_fieldset_add(json_t *set, const json_t *other)
{
	const char *key;
	json_t *theirs;
	json_object_foreach((json_t *)other, key, theirs) {
		json_t *mine = json_object_get(set, key);
		if (!mine) {
			if (json_object_set_new(set, key, json_deep_copy(theirs)))
				return -ENOMEM;
			continue;
		}
		if (!strcmp(key, "."))
			continue;
		bool member = k8s_fieldset_member(mine) || k8s_fieldset_member(theirs);
		int rc = k8s_fieldset_add(mine, theirs);
		if (rc)
			return rc;
		if (member && json_object_size(mine))
			json_object_set_new(mine, ".", json_object());
	}
	return 0;
}

void k8s_fieldset_remove(json_t *set, const json_t *other)
{
	const char *key;
	json_t *mine;
	void *tmp;
	json_object_foreach_safe(set, tmp, key, mine) {
		const json_t *theirs = json_object_get(other, key);
		if (!theirs || !strcmp(key, "."))
			continue;
		bool member = k8s_fieldset_member(mine) && !k8s_fieldset_member(theirs);
		json_object_del(mine, ".");
		k8s_fieldset_remove(mine, theirs);
		if (json_object_size(mine) == 0 && !member)
			json_object_del(set, key);
		else if (member && json_object_size(mine))
			json_object_set_new(mine, ".", json_object());
	}
}

json_t *k8s_fieldset_intersect(const json_t *a, const json_t *b)
{
	json_t *out = json_object(), *mine;
	const char *key;
	json_object_foreach((json_t *)a, key, mine) {
		const json_t *theirs = json_object_get(b, key);
		if (!theirs || !strcmp(key, "."))
			continue;
		bool member = k8s_fieldset_member(mine) && k8s_fieldset_member(theirs);
		json_t *both = k8s_fieldset_intersect(mine, theirs);
		if (!both) {
			json_decref(out);
			return NULL;
		}
		if (json_object_size(both) == 0 && !member) {
			json_decref(both);
			continue;
		}
		if (member && json_object_size(both))
			json_object_set_new(both, ".", json_object());
		json_object_set_new(out, key, both);
	}
	return out;
}

/* The value that a set's key leads to; NULL: absent. *child: its type. */
static const json_t *follow(const struct k8s_node_type *t, const json_t *value, const char *key, struct k8s_node_type *child)
{
	*child = (struct k8s_node_type){.node = NODE_FREE};
	if (key[0] == 'f' && json_is_object(value)) {
		*child = k8s_node_child(t, key + 2);
		return json_object_get(value, key + 2);
	}
	if ((t->node != NODE_LIST_MAP && t->node != NODE_SET) || !json_is_array(value))
		return NULL;
	if (t->node == NODE_LIST_MAP)
		*child = k8s_node_element(t);
	return json_array_get(value, k8s_element_find(t, value, key));
}

void k8s_fieldset_keep_existing(const struct k8s_node_type *type, json_t *set, const json_t *value)
{
	const char *key;
	json_t *node;
	void *tmp;
	json_object_foreach_safe(set, tmp, key, node) {
		struct k8s_node_type child;
		if (!strcmp(key, "."))
			continue;
		const json_t *v = follow(type, value, key, &child);
		bool member = k8s_fieldset_member(node);
		if (v)
			k8s_fieldset_keep_existing(&child, node, v);
		if (!v || (!member && json_object_size(node) == 0))
			json_object_del(set, key);
	}
}

/* ---- showing paths ---- */

static void put_element(struct buf *b, const char *key)
{
	json_error_t where;
	own_json json_t *keys = json_loads(key + 2, JSON_DECODE_ANY, &where);
	const char *name;
	json_t *v;
	bool first = true;
	if (key[0] != 'k') {
		buf_printf(b, "[%s]", key);
		return;
	}
	buf_puts(b, "[");
	json_object_foreach(keys, name, v) {
		own_free char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
		buf_printf(b, "%s%s=%s", first ? "" : ",", name, text ? text : "");
		first = false;
	}
	buf_puts(b, "]");
}

static void each(const json_t *set, struct buf *path, void (*fn)(void *user, const char *path), void *user)
{
	const char *key;
	json_t *node;
	json_object_foreach((json_t *)set, key, node) {
		size_t len = path->len;
		if (!strcmp(key, ".") || strlen(key) < 2)
			continue;
		if (key[0] == 'f')
			buf_printf(path, ".%s", key + 2);
		else
			put_element(path, key);
		if (k8s_fieldset_member(node) && path->data)
			fn(user, path->data);
		each(node, path, fn, user);
		path->len = len;
		if (path->data)
			path->data[len] = '\0';
	}
}

void k8s_fieldset_each(const json_t *set, void (*fn)(void *user, const char *path), void *user)
{
	own_buf struct buf path = BUF_INIT;
	each(set, &path, fn, user);
}
