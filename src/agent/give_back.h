// SPDX-License-Identifier: Apache-2.0
// Memory that the guest does not use goes back to the host.
#ifndef BH_AGENT_GIVE_BACK_H
#define BH_AGENT_GIVE_BACK_H

struct agent;

/* Begin with it, a moment from now: a container's start does not wait for it. Asked again: nothing. */
void give_back_later(struct agent *a);

#endif
