// SPDX-License-Identifier: Apache-2.0
// The balloons of all pods' guests; how far each is filled: balloon.h.
#ifndef BH_HOSTD_PODS_BALLOON_H
#define BH_HOSTD_PODS_BALLOON_H

#include <stdbool.h>

struct pods;

/* Ask every pod's guest once. Whether any does without something. Blocks for a round trip to each VM. */
bool pods_balloon(struct pods *ps, bool pressed);

#endif
