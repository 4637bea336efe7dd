// SPDX-License-Identifier: Apache-2.0
#ifndef BH_SERVER_SCHEDULER_H
#define BH_SERVER_SCHEDULER_H

#include "server/loop.h"

extern const struct unit_ops scheduler_unit;

#endif
