// SPDX-License-Identifier: Apache-2.0
// Giving a pod to a node: one rule for the Binding subresource and for the scheduler.
#ifndef BH_SERVER_BINDING_H
#define BH_SERVER_BINDING_H

#include <jansson.h>

#include "k8s/kind.h"

/* binding: {"target":{"kind":"Node","name":NODE},"metadata":{...}}. Returns NULL and *next, or a Status (409 when the pod
 * has a node already, is being deleted, or is not of the uid or version that the binding names). */
json_t *binding_apply(const struct k8s_kind *k, const json_t *pod, const json_t *binding, json_t **next);

/* Set a condition of status.conditions by its type; lastTransitionTime changes when the status does. reason and message
 * may be NULL. Returns true if anything changed. */
bool condition_set(json_t *obj, const char *type, const char *status, const char *reason, const char *message);

#endif
