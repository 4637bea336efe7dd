// SPDX-License-Identifier: Apache-2.0
// Writes that must be made before another one: an object of a namespace with a ResourceQuota is created only after its
// share has been put down in the quota's status, and a pod is evicted only after its disruption budget has given the leave.
// Each such note is a compare-and-swap of its own, so that two at a time cannot both take the last of it.
#ifndef BH_SERVER_QUOTA_H
#define BH_SERVER_QUOTA_H

#include <jansson.h>

#include "server/obj.h"
#include "server/server.h"

struct k8s_kind;

struct quota_note {
	struct obj *obj;           // the next state of the quota or budget; owned by who takes it; NULL: nothing to note
	uint64_t expect;           // its resourceVersion now
};

/* May obj be made (old NULL) or changed? noted: keys of those that have been noted before. Returns NULL and *n, the first
 * that is still to be noted, or a Status. */
json_t *quota_admit(struct server *srv, const struct k8s_kind *k, const json_t *obj, const json_t *old, const json_t *noted,
		    struct quota_note *n);

/* May the pod be evicted? 429 when its budget has none left. */
json_t *budget_admit(struct server *srv, const struct k8s_kind *k, const json_t *pod, const json_t *noted, struct quota_note *n);

#endif
