// SPDX-License-Identifier: Apache-2.0
// The pods that a Job makes.
#ifndef BH_SERVER_CONTROLLERS_JOB_POD_H
#define BH_SERVER_CONTROLLERS_JOB_POD_H

#include <jansson.h>

#define JOB_FINALIZER "batch.kubernetes.io/job-tracking"

/* A new pod. index: of an Indexed job, -1: it has none. failures: how often the index has failed, -1: nobody asks. */
json_t *job_pod(const json_t *job, long index, long failures);

#endif
