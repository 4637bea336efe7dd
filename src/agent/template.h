// SPDX-License-Identifier: Apache-2.0
// A VM that is booted to be saved and cloned: the agent waits here, and comes back from it in each clone.
#ifndef BH_AGENT_TEMPLATE_H
#define BH_AGENT_TEMPLATE_H

#include <stdbool.h>

#include "base/err.h"

bool template_wanted(void);      // the kernel's command line says so

struct template_slots;

/* Say on the console that the VM can be saved, wait until devices have come into its slots, and give them their drivers.
 * 0: this is a clone. *later: NULL, or it waits for its pod and has a vsock device and a scratch disk: the others come before
 * the pod's identity does, then template_plug (which frees it). -errno. */
int template_wait(struct template_slots **later, struct err *e);
void template_plug(struct template_slots *s);

#endif
