// SPDX-License-Identifier: Apache-2.0
// What an object takes from ResourceQuotas, and which quotas it counts for. Pure functions.
#ifndef BH_SERVER_QUOTA_USAGE_H
#define BH_SERVER_QUOTA_USAGE_H

#include <jansson.h>
#include <stdbool.h>

#include "k8s/kind.h"

/* Resource name -> amount in thousandths (integer). What is over takes nothing. New. */
json_t *quota_usage(const struct k8s_kind *k, const json_t *obj);

/* Do the quota's scopes include the object? */
bool quota_includes(const json_t *quota, const struct k8s_kind *k, const json_t *obj);

/* Resources that the quota limits and that each container of the pod must state, unless the pod as a whole states any, but some does
 * not: text for people ("limits.cpu for: a,b; requests.memory for: a"; owned), or NULL. */
char *quota_unstated(const json_t *quota, const struct k8s_kind *k, const json_t *obj);

/* Sum over containers (with init containers, sidecars and overhead as they count) of "requests" or "limits". Name -> thousandths. */
json_t *quota_pod_amounts(const json_t *pod, const char *what);

/* Could objects of this kind count for the resource? */
bool quota_counts(const struct k8s_kind *k, const char *resource);

/* "requests.memory": 1 -> "1Ki"...: canonical text of an amount in thousandths. */
json_t *quota_text(const char *resource, long long milli);

#endif
