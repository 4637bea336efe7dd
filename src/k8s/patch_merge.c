// SPDX-License-Identifier: Apache-2.0
// JSON merge patch (RFC 7386); see patch.h.
#include <errno.h>

#include "base/jpath.h"
#include "base/own.h"
#include "patch.h"

/* A copy of doc with the patch applied; doc may be NULL. NULL: out of memory. Depth is limited by the JSON parser. */
static json_t *merge(const json_t *doc, const json_t *patch)
{
	if (!json_is_object(patch))
		return json_deep_copy(patch);
	own_json json_t *out = json_is_object(doc) ? json_copy((json_t *)doc) : json_object();
	const char *key;
	json_t *value;
	if (!out)
		return NULL;
	json_object_foreach((json_t *)patch, key, value) {
		if (json_is_null(value)) {
			json_object_del(out, key);
			continue;
		}
		json_t *merged = merge(json_object_get(doc, key), value);
		if (!merged || json_object_set_new(out, key, merged))
			return NULL;
	}
	return take(out);
}

int k8s_patch_merge(const json_t *doc, const json_t *patch, json_t **out, struct err *e)
{
	if (!json_is_object(patch))
		return err_set(e, EINVAL, "a merge patch must be an object");
	own_json json_t *merged = merge(doc, patch);
	/* What the patch does not mention is shared with doc so far. */
	json_t *copy = merged ? json_deep_copy(merged) : NULL;
	if (!copy)
		return err_set(e, ENOMEM, "out of memory");
	*out = copy;
	return 0;
}
