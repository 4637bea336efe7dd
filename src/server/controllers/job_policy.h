// SPDX-License-Identifier: Apache-2.0
// spec.podFailurePolicy and spec.successPolicy of a Job; without side effects.
#ifndef BH_SERVER_CONTROLLERS_JOB_POLICY_H
#define BH_SERVER_CONTROLLERS_JOB_POLICY_H

#include <jansson.h>
#include <stddef.h>

#include "server/controllers/indexes.h"

enum job_action { JOB_COUNT, JOB_IGNORE, JOB_FAIL_INDEX, JOB_FAIL_JOB };

/* What a pod that has failed means, by the first rule that matches; why: a sentence, when a rule does. policy may be NULL. */
enum job_action job_failure_action(const json_t *policy, const json_t *pod, char *why, size_t size);

/* The first rule that the finished indexes satisfy; -1: none. policy may be NULL. */
int job_success_rule(const json_t *policy, const struct indexes *done);

#endif
