// SPDX-License-Identifier: Apache-2.0
// The machine's devices, for containers that may have them all.
#ifndef BH_AGENT_DEVICES_H
#define BH_AGENT_DEVICES_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

bool devices_wanted(const json_t *config);   // an OCI configuration that allows every device: of a privileged container

/* Add to linux.devices of config every node below the folder dev (as below /dev) but those that the runtime makes itself and those
 * that are there already. 0, -errno. */
int devices_add_all(json_t *config, const char *dev, struct err *e);

#endif
