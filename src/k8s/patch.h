// SPDX-License-Identifier: Apache-2.0
// The four patch types of the Kubernetes API. Pure functions on JSON values; the originals are not changed.
#ifndef BH_K8S_PATCH_H
#define BH_K8S_PATCH_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

struct k8s_kind;

/* Each: 0 and *out (new reference); -EINVAL (malformed patch: 400), -ESTALE (JSON patch "test" failed: 422),
 * -ENOENT (JSON patch path does not exist: 422), -ENOMEM. */
int k8s_patch_json(const json_t *doc, const json_t *patch, json_t **out, struct err *e);     // RFC 6902
int k8s_patch_merge(const json_t *doc, const json_t *patch, json_t **out, struct err *e);    // RFC 7386
/* Strategic merge: merge keys from the kind's schema; $patch, $deleteFromPrimitiveList, $setElementOrder, $retainKeys. */
int k8s_patch_strategic(const struct k8s_kind *k, const json_t *doc, const json_t *patch, json_t **out, struct err *e);
struct k8s_apply {
	const char *manager, *subresource;   // subresource NULL: of the object itself
	bool force;                          // take over fields of others
};
/* Server-side apply: live may be NULL (create). Conflicts: -EEXIST and *conflicts = array of {"field":..., "message":
 * "conflict with ..."} (new reference), those of one manager one behind the other. */
int k8s_patch_apply(const struct k8s_kind *k, const json_t *live, const json_t *applied, const struct k8s_apply *how,
		    json_t **out, json_t **conflicts, struct err *e);

#endif
