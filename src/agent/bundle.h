// SPDX-License-Identifier: Apache-2.0
// What crun needs to run a container: root, mounts, config.json.
#ifndef BH_AGENT_BUNDLE_H
#define BH_AGENT_BUNDLE_H

#include "agent.pb-c.h"
#include "base/err.h"

struct container;

/* Fills c (id, dir, scratch and cgroup are set). On failure bundle_remove cleans what was made. 0 or -errno. */
int bundle_make(struct container *c, const Bulkhead__Agent__CreateContainer *rq, struct err *e);

/* Unmounts and removes everything of c; what is absent is fine. 0 or the last -errno. */
int bundle_remove(struct container *c, struct err *e);

#define BUNDLE_TERMINATION_LOG "termination-log"   // in the container's dir

#endif
