// SPDX-License-Identifier: Apache-2.0
// What a Job needs next, given its pods; without side effects.
#ifndef BH_SERVER_CONTROLLERS_JOB_PLAN_H
#define BH_SERVER_CONTROLLERS_JOB_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/controllers/indexes.h"
#include "server/controllers/pod_info.h"

struct job_spec {
	long long parallelism, completions;    // completions -1: any one success will do
	long long backoff_limit;
	bool indexed, suspended;
	bool restarts;                         // restartPolicy OnFailure: restarts count as failures
	bool waits_for_end;                    // podReplacementPolicy Failed: no new pod before the old one is over
};

enum job_verdict { JOB_GOES_ON, JOB_COMPLETE, JOB_TOO_MANY_FAILURES };

struct job_plan {
	long long active, ready, terminating;
	enum job_verdict verdict;
	long long remove, create;              // active pods to delete; pods to make
	uint64_t not_before;                   // real time before which none is made; 0: now
};

/* succeeded, failed: counted so far, this step's included. done: of an Indexed job. */
void job_plan(const struct job_spec *spec, const struct pod_info *const *pods, size_t n, long long succeeded, long long failed,
	      struct job_plan *plan);

/* Indexes to make pods for, at most max. Returns how many. */
size_t job_free_indexes(const struct job_spec *spec, const struct pod_info *const *pods, size_t n, const struct indexes *done,
			long *out, size_t max);

static inline bool job_pod_succeeded(const struct pod_info *p) { return p->phase == POD_SUCCEEDED; }
/* A pod that is being deleted before it succeeded has failed. */
static inline bool job_pod_failed(const struct pod_info *p) { return p->phase == POD_FAILED || (p->deleting && p->phase != POD_SUCCEEDED); }

#endif
