// SPDX-License-Identifier: Apache-2.0
// The scale subresource: how many replicas a workload has and should have, in one form for all kinds (autoscaling/v1 Scale).
#ifndef BH_SERVER_SCALE_H
#define BH_SERVER_SCALE_H

#include "k8s/kind.h"
#include "server/request.h"

void scale_get(struct request *r, const struct k8s_kind *k);
void scale_update(struct request *r, const struct k8s_kind *k);
void scale_patch(struct request *r, const struct k8s_kind *k);

/* The Scale of an object (new reference). */
json_t *scale_of(const struct k8s_kind *k, const json_t *obj);
/* Ask for so many replicas of an object, in place. Returns 0, -EINVAL or -ENOMEM. */
int scale_set(const struct k8s_kind *k, json_t *obj, long long replicas);
/* A LabelSelector, or a plain map of labels, as text: "a=b,c in (x,y)". Returns 0 or -ENOMEM. */
int scale_selector_text(const json_t *selector, struct buf *out);

#endif
