// SPDX-License-Identifier: Apache-2.0
// Events about pods and the node, written to the API server by a thread of their own. Repeated ones are counted on one
// object, as a kubelet does. Never blocks the caller; when the server is away, at most EVENTS_QUEUE_MAX wait and the
// oldest are dropped.
#ifndef BH_HOSTD_EVENTS_H
#define BH_HOSTD_EVENTS_H

#include <jansson.h>

#include "base/err.h"

#define EVENTS_QUEUE_MAX 1000

struct events;
struct k8s_client;

int events_start(struct k8s_client *api, const char *node_name, struct events **ev, struct err *e);
void events_stop(struct events *ev);   // sends what waits, for at most two seconds

/* obj: the pod or node (needs kind or "Pod" assumed, metadata), borrowed. field_path: "spec.containers{name}" or NULL. type:
 * "Normal" or "Warning". Any thread. */
void events_emit(struct events *ev, const json_t *obj, const char *field_path, const char *type, const char *reason,
		 const char *fmt, ...) __attribute__((format(printf, 6, 7)));

#endif
