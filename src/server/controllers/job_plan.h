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
	long long per_index, max_lost;         // failures that each index may have, lost indexes that there may be; -1: not so
	bool indexed, suspended;
	bool restarts;                         // restartPolicy OnFailure: restarts count as failures
	bool waits_for_end;                    // podReplacementPolicy Failed: no new pod before the old one is over
};

enum job_verdict { JOB_GOES_ON, JOB_COMPLETE, JOB_TOO_MANY_FAILURES, JOB_TOO_MANY_LOST, JOB_ENDED_WITH_LOST };

struct job_plan {
	long long active, ready, terminating;
	enum job_verdict verdict;
	long long remove, create;              // active pods to delete; pods to make
	uint64_t not_before;                   // real time before which none is made; 0: now
};

/* succeeded, failed, lost (indexes): counted so far, this step's included. */
void job_plan(const struct job_spec *spec, const struct pod_info *const *pods, size_t n, long long succeeded, long long failed,
	      long long lost, struct job_plan *plan);

/* Indexes to make pods for now, at most max: neither done nor lost nor taken. Returns how many. *next is lowered to the time
 * when one comes free whose last failure is too recent (per_index). */
size_t job_free_indexes(const struct job_spec *spec, const struct pod_info *const *pods, size_t n, const struct indexes *done,
			const struct indexes *lost, uint64_t now, uint64_t *next, long *out, size_t max);

static inline bool job_pod_succeeded(const struct pod_info *p) { return p->phase == POD_SUCCEEDED; }
/* A pod that is being deleted before it succeeded has failed; at once, or when it is over if the job waits for that. */
static inline bool job_pod_failed(const struct job_spec *spec, const struct pod_info *p)
{
	return p->phase == POD_FAILED || (p->phase != POD_SUCCEEDED && (spec->waits_for_end ? p->killed : p->deleting));
}

/* A failed pod from which its index's next one has to learn how often it failed, and which must stay until then. */
bool job_pod_is_memory(const struct job_spec *spec, const struct pod_info *p, const struct pod_info *const *pods, size_t n);

#endif
