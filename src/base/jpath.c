// SPDX-License-Identifier: Apache-2.0
// Reading JSON values by path; see jpath.h.
#include "jpath.h"

#include <errno.h>
#include <string.h>

json_t *jpath_get(const json_t *root, const char *path)
{
	const json_t *at = root;
	while (at && *path) {
		size_t n = strcspn(path, ".");
		at = json_object_getn(at, path, n);
		path += n + (path[n] == '.');
	}
	return (json_t *)at;
}

const char *jpath_str(const json_t *root, const char *path, const char *fallback)
{
	const char *s = json_string_value(jpath_get(root, path));
	return s ? s : fallback;
}

long long jpath_int(const json_t *root, const char *path, long long fallback)
{
	json_t *v = jpath_get(root, path);
	return json_is_integer(v) ? json_integer_value(v) : fallback;
}

bool jpath_bool(const json_t *root, const char *path, bool fallback)
{
	json_t *v = jpath_get(root, path);
	return json_is_boolean(v) ? json_is_true(v) : fallback;
}

int jpath_set(json_t *root, const char *path, json_t *value)
{
	json_t *at = root;
	for (;;) {
		size_t n = strcspn(path, ".");
		if (!json_is_object(at)) {
			json_decref(value);
			return -EINVAL;
		}
		if (!path[n])
			return json_object_setn_new(at, path, n, value) ? -ENOMEM : 0;
		json_t *next = json_object_getn(at, path, n);
		if (!next) {
			next = json_object();
			if (json_object_setn_new(at, path, n, next)) {
				json_decref(value);
				return -ENOMEM;
			}
		}
		at = next;
		path += n + 1;
	}
}
