// SPDX-License-Identifier: Apache-2.0
// What the pod uses: cgroups, interfaces, volumes, memory.
#ifndef BH_AGENT_STATS_H
#define BH_AGENT_STATS_H

#include "control.h"

control_fn stats_get;

#endif
