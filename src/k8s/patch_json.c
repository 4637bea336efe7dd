// SPDX-License-Identifier: Apache-2.0
// JSON patch (RFC 6902); see patch.h. Works on a deep copy of the document.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "patch.h"

#define OPERATIONS_MAX 10000
#define DEPTH_MAX 256

/* Where a JSON pointer (RFC 6901) leads. */
struct place {
	json_t *parent;      // NULL: the whole document
	char *key;           // owned; last token
	json_t *value;       // borrowed; NULL when absent
	size_t index;        // in an array parent
};

static void place_fini(struct place *p) { free(p->key); }
#define own_place __attribute__((cleanup(place_fini)))

/* One token of a pointer, unescaped; advances *p behind it. */
static char *next_token(const char **p)
{
	size_t n = strcspn(*p, "/");
	char *token = malloc(n + 1), *o = token;
	if (!token)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		char c = (*p)[i];
		if (c == '~' && i + 1 < n && ((*p)[i + 1] == '0' || (*p)[i + 1] == '1'))
			c = (*p)[++i] == '0' ? '~' : '/';
		*o++ = c;
	}
	*o = '\0';
	*p += n;
	return token;
}

/* An array index; end: what "-" means. false: not an index. */
static bool parse_index(const char *token, size_t end, size_t *index)
{
	if (!strcmp(token, "-")) {
		*index = end;
		return true;
	}
	size_t n = strlen(token);
	if (n == 0 || n > 9 || strspn(token, "0123456789") != n || (n > 1 && token[0] == '0'))
		return false;
	*index = strtoul(token, NULL, 10);
	return true;
}

static int not_found(struct err *e, const char *op, const char *path)
{
	return err_set(e, ENOENT, "%s operation does not apply: doc is missing path: \"%s\": missing value", op, path);
}

static int locate(json_t **root, const char *pointer, const char *op, struct place *out, struct err *e)
{
	json_t *at = *root;
	const char *p = pointer;
	if (*p && *p != '/')
		return err_set(e, EINVAL, "%s operation: path \"%s\" must be empty or begin with '/'", op, pointer);
	*out = (struct place){.value = at};
	for (int depth = 0; *p == '/'; depth++) {
		if (depth == DEPTH_MAX)
			return err_set(e, EINVAL, "%s operation: path has more than %d parts", op, DEPTH_MAX);
		p++;
		free(out->key);
		out->key = next_token(&p);
		if (!out->key)
			return err_set(e, ENOMEM, "out of memory");
		if (!out->value)
			return not_found(e, op, pointer);
		out->parent = out->value;
		if (json_is_object(out->parent)) {
			out->value = json_object_get(out->parent, out->key);
		} else if (json_is_array(out->parent)) {
			if (!parse_index(out->key, json_array_size(out->parent), &out->index))
				return err_set(e, ENOENT, "%s operation does not apply: \"%s\" is no index of the list in path "
					       "\"%s\"", op, out->key, pointer);
			out->value = json_array_get(out->parent, out->index);
		} else {
			return not_found(e, op, pointer);
		}
	}
	return 0;
}

static int put(json_t **root, const struct place *at, json_t *value, bool replace, const char *path, struct err *e)
{
	if (!at->parent) {
		json_t *before = *root;
		*root = json_incref(value);
		json_decref(before);
		return 0;
	}
	int rc;
	if (json_is_object(at->parent)) {
		rc = json_object_set(at->parent, at->key, value);
	} else if (replace) {
		rc = json_array_set(at->parent, at->index, value);
	} else {
		if (at->index > json_array_size(at->parent))
			return err_set(e, ENOENT, "add operation does not apply: index %zu is beyond the end of the list in path "
				       "\"%s\"", at->index, path);
		rc = json_array_insert(at->parent, at->index, value);
	}
	return rc ? err_set(e, EINVAL, "\"%s\" cannot hold this value", path) : 0;
}

static int drop(const struct place *at, const char *op, const char *path, struct err *e)
{
	if (!at->parent)
		return err_set(e, EINVAL, "%s operation: the whole document cannot be removed", op);
	if (!at->value)
		return err_set(e, ENOENT, "%s operation does not apply: Unable to remove nonexistent key: %s: missing value", op, path);
	if (json_is_object(at->parent))
		json_object_del(at->parent, at->key);
	else
		json_array_remove(at->parent, at->index);
	return 0;
}

static bool inside(const char *from, const char *path)
{
	size_t n = strlen(from);
	return !strncmp(from, path, n) && path[n] == '/';
}

static int move_or_copy(json_t **root, const json_t *operation, const char *path, bool move, struct err *e)
{
	const char *op = move ? "move" : "copy", *from = jpath_str(operation, "from", NULL);
	own_place struct place source = {0}, target = {0};
	if (!from)
		return err_set(e, EINVAL, "%s operation needs \"from\"", op);
	if (move && inside(from, path))
		return err_set(e, EINVAL, "a value cannot be moved into itself: \"%s\" to \"%s\"", from, path);
	int rc = locate(root, from, op, &source, e);
	if (rc)
		return rc;
	if (!source.value)
		return not_found(e, op, from);
	own_json json_t *value = json_deep_copy(source.value);
	if (!value)
		return err_set(e, ENOMEM, "out of memory");
	if (move && source.parent && (rc = drop(&source, op, from, e)))
		return rc;
	rc = locate(root, path, op, &target, e);
	return rc ? rc : put(root, &target, value, false, path, e);
}

static int apply_one(json_t **root, const json_t *operation, struct err *e)
{
	const char *op = jpath_str(operation, "op", NULL), *path = jpath_str(operation, "path", NULL);
	json_t *value = json_object_get(operation, "value");
	if (!op || !path)
		return err_set(e, EINVAL, "each operation of a JSON patch needs the strings \"op\" and \"path\"");
	if (!strcmp(op, "move") || !strcmp(op, "copy"))
		return move_or_copy(root, operation, path, op[0] == 'm', e);
	own_place struct place at = {0};
	int rc = locate(root, path, op, &at, e);
	if (rc)
		return rc;
	if (!strcmp(op, "remove"))
		return drop(&at, op, path, e);
	bool add = !strcmp(op, "add"), replace = !strcmp(op, "replace");
	if (!add && !replace && strcmp(op, "test"))
		return err_set(e, EINVAL, "unexpected kind of operation: \"%s\"", op);
	if (!value)
		return err_set(e, EINVAL, "%s operation needs \"value\"", op);
	if (add || replace) {
		if (replace && !at.value)
			return err_set(e, ENOENT, "replace operation does not apply: doc is missing key: %s: missing value", path);
		own_json json_t *copy = json_deep_copy(value);
		return copy ? put(root, &at, copy, replace, path, e) : err_set(e, ENOMEM, "out of memory");
	}
	if (at.value ? !json_equal(at.value, value) : !json_is_null(value))
		return err_set(e, ESTALE, "testing value %s failed: test failed", path);
	return 0;
}

int k8s_patch_json(const json_t *doc, const json_t *patch, json_t **out, struct err *e)
{
	size_t i;
	json_t *operation;
	if (!json_is_array(patch))
		return err_set(e, EINVAL, "a JSON patch must be a list of operations");
	if (json_array_size(patch) > OPERATIONS_MAX)
		return err_set(e, EINVAL, "The allowed maximum operations in a JSON patch is %d, got %zu", OPERATIONS_MAX,
			       json_array_size(patch));
	own_json json_t *root = json_deep_copy(doc);
	if (!root)
		return err_set(e, ENOMEM, "out of memory");
	json_array_foreach(patch, i, operation) {
		int rc = apply_one(&root, operation, e);
		if (rc)
			return rc;
	}
	*out = take(root);
	return 0;
}
