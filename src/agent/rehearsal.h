// SPDX-License-Identifier: Apache-2.0
// What an agent does while its VM waits for a pod. Under QEMU's software engine code is slow the first time it runs: so a container is
// started and removed once, from which nothing remains.
#ifndef BH_AGENT_REHEARSAL_H
#define BH_AGENT_REHEARSAL_H

#include "agent.h"
#include "base/err.h"

#define REHEARSAL_WORD "--nothing"     // the agent's program with this argument ends at once: what the container runs
#define REHEARSAL_DISK "scratch"       // serial number of the scratch disk, which stays mounted for the pod

/* 0 or -errno: the VM is as good as before, only slower. */
int rehearse(struct agent *a, struct err *e);

#endif
