// SPDX-License-Identifier: Apache-2.0
// metrics.k8s.io: what `kubectl top` reads.
#ifndef BH_SERVER_API_METRICS_H
#define BH_SERVER_API_METRICS_H

#include <stdbool.h>

#include "k8s/kind.h"
#include "server/request.h"

/* False: k is of another group. */
bool api_metrics(struct request *r, const struct k8s_kind *k);

#endif
