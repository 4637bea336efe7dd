// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/template.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/jpath.h"

static bool is_empty(const json_t *v)
{
	return !v || json_is_null(v) || (json_is_object(v) && !json_object_size(v)) || (json_is_array(v) && !json_array_size(v));
}

static bool same(const json_t *a, const json_t *b);

/* Every member of a is in b. */
static bool covers(const json_t *a, const json_t *b)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)a, key, v)
		if (!same(v, json_object_get(b, key)))
			return false;
	return true;
}

static bool same(const json_t *a, const json_t *b)
{
	if (is_empty(a) || is_empty(b))
		return is_empty(a) && is_empty(b);
	if (json_is_object(a) && json_is_object(b))
		return covers(a, b) && covers(b, a);
	if (json_is_array(a) && json_is_array(b)) {
		if (json_array_size(a) != json_array_size(b))
			return false;
		for (size_t i = 0; i < json_array_size(a); i++)
			if (!same(json_array_get(a, i), json_array_get(b, i)))
				return false;
		return true;
	}
	return json_equal(a, b);
}

static json_t *without_hash(const json_t *t)
{
	json_t *copy = json_deep_copy(t);

	json_object_del(jpath_get(copy, "metadata.labels"), "pod-template-hash");
	return copy;
}

bool template_equal(const json_t *a, const json_t *b)
{
	own_json json_t *x = without_hash(a), *y = without_hash(b);

	return same(x, y);
}

static int feed(const char *data, size_t len, void *user)
{
	uint32_t *h = user;

	for (size_t i = 0; i < len; i++)
		*h = (*h ^ (unsigned char)data[i]) * 16777619u;
	return 0;
}

const char *template_hash(const json_t *value, long long collisions, char out[TEMPLATE_HASH_MAX])
{
	static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
	uint32_t h = 2166136261u;

	json_dump_callback(value, feed, &h, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	if (collisions)
		feed((const char *)&collisions, sizeof collisions, &h);
	snprintf(out, TEMPLATE_HASH_MAX, "%u", h);
	for (char *p = out; *p; p++)
		*p = letters[*p % (sizeof letters - 1)];
	return out;
}
