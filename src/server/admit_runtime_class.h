// SPDX-License-Identifier: Apache-2.0
// What a pod's RuntimeClass adds to the pod: its overhead, and where it may run.
#ifndef BH_SERVER_ADMIT_RUNTIME_CLASS_H
#define BH_SERVER_ADMIT_RUNTIME_CLASS_H

#include <jansson.h>

#include "k8s/kind.h"
#include "server/server.h"

json_t *admit_runtime_class(struct server *srv, const struct k8s_kind *k, json_t *pod);   // NULL or a Status

#endif
