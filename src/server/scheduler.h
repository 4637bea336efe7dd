// SPDX-License-Identifier: Apache-2.0
#ifndef BH_SERVER_SCHEDULER_H
#define BH_SERVER_SCHEDULER_H

#include "server/loop.h"

#define SCHEDULER_NAME "default-scheduler"   // which pods are its own, and who its events are from

extern const struct unit_ops scheduler_unit;

#endif
