// SPDX-License-Identifier: Apache-2.0
// LimitRanges: defaults for what containers ask for, and bounds for containers, pods and claims.
#ifndef BH_SERVER_LIMIT_RANGE_H
#define BH_SERVER_LIMIT_RANGE_H

#include <jansson.h>

#include "server/server.h"

struct k8s_kind;

/* obj: a pod or claim, changed in place. NULL or a Status that names everything that is out of bounds. */
json_t *limit_range_admit(struct server *srv, const struct k8s_kind *k, json_t *obj);

#endif
