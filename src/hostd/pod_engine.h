// SPDX-License-Identifier: Apache-2.0
// Which engine a pod's VM gets: what the handler of the RuntimeClass that the pod names says.
#ifndef BH_HOSTD_POD_ENGINE_H
#define BH_HOSTD_POD_ENGINE_H

struct err;
struct pod;

/* Sets p->engine before each start of its VM. Handlers: "bulkhead" (the host's engine), "qemu", "kvm"; without a class the
 * host's. Fails with a sentence when the class or its handler is not there, or the engine is not usable here. Asks the API
 * server, and for "kvm" tries the machine the first time: may block for seconds. */
int pod_engine_choose(struct pod *p, struct err *e);

#endif
