// SPDX-License-Identifier: Apache-2.0
// Startup, readiness and liveness probes of one pod. A pod without probes has none of this; one with probes has a thread
// that runs them in order of time and leaves verdicts in the containers (probe_*), then wakes the worker.
#ifndef BH_HOSTD_POD_PROBES_H
#define BH_HOSTD_POD_PROBES_H

struct pod;
struct pod_probes;

/* From the worker. Starts the thread if the spec has probes and it does not run yet. NULL: no probes (or no memory). */
struct pod_probes *pod_probes_start(struct pod *p);
void pod_probes_poke(struct pod_probes *pp);     // a container has started
void pod_probes_stop(struct pod_probes *pp);     // waits for a probe in progress; NULL allowed

#endif
