// SPDX-License-Identifier: Apache-2.0
// The annotation in which client-side apply keeps what was applied last, as far as server-side apply by kubectl heeds it: the
// fields stated there and unchanged since are kubectl's own, so that going over to server-side apply is no conflict; and the
// annotation follows what is applied, so that going back is possible.
#ifndef BH_K8S_LAST_APPLIED_H
#define BH_K8S_LAST_APPLIED_H

#include <jansson.h>

struct k8s_kind;

#define K8S_LAST_APPLIED_MANAGER "kubectl"   // other managers never mean the annotation

/* The fields of live that stand in its annotation as they are. New reference; NULL: no annotation, or none that can be read. */
json_t *k8s_last_applied_set(const struct k8s_kind *k, const json_t *live);

/* Where object has the annotation: it tells of applied from now on. 0 or -ENOMEM. */
int k8s_last_applied_follow(json_t *object, const json_t *applied);

#endif
