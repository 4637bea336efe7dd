// SPDX-License-Identifier: Apache-2.0
// The endpoints that a Service should have, given the pods that it selects; without side effects.
#ifndef BH_SERVER_CONTROLLERS_ENDPOINTS_PLAN_H
#define BH_SERVER_CONTROLLERS_ENDPOINTS_PLAN_H

#include <jansson.h>
#include <stdbool.h>

#define ENDPOINTS_PER_SLICE 100
#define ENDPOINTS_MAX 1000          // addresses in an Endpoints object

/* Every label of selector is among labels. */
bool endpoints_selects(const json_t *selector, const json_t *labels);

/* Array of {"addressType", "ports", "endpoints"}: what EndpointSlices should say; at least one. pods: those selected, in order. */
json_t *endpoints_slices(const json_t *service, const json_t *pods);

/* Array: "subsets" of an Endpoints object. */
json_t *endpoints_subsets(const json_t *service, const json_t *pods);

#endif
