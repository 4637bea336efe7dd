// SPDX-License-Identifier: Apache-2.0
// The names and labels of what pods use, as Prometheus text. Names of containers and interfaces are what a guest says: whatever is in
// them stays within the quotes of its label.
#ifndef BH_HOSTD_PODS_SERIES_H
#define BH_HOSTD_PODS_SERIES_H

#include "base/buf.h"
#include "pods_stats.h"

/* Append key="value" to labels, a comma before it unless it is the first. */
void pods_series_label(struct buf *labels, const char *key, const char *value);
/* Append NAME{container, namespace, pod} as /metrics/resource has them. container NULL: of the pod, without that label. Returns b. */
struct buf *pods_series_short(struct buf *b, const char *name, const struct pods_running *p, const char *container);
/* Append NAME{container, labels, id, image, ...} as cAdvisor has them. container NULL: of the pod. Returns b. */
struct buf *pods_series(struct buf *b, const char *name, const struct pods_running *p, const char *container, const char *labels);
const json_t *pods_series_about(const struct pods_running *p, const char *container);   // borrowed; NULL: none of that name

#endif
