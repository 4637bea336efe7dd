// SPDX-License-Identifier: Apache-2.0
// When a CronJob is due; without side effects.
#ifndef BH_SERVER_CONTROLLERS_CRON_PLAN_H
#define BH_SERVER_CONTROLLERS_CRON_PLAN_H

#include <stdbool.h>

#include "k8s/cron.h"

struct cron_plan {
	long long time;       // the latest time that was missed and may still be started; -1: none
	long long next;       // when to look again; -1: never
	bool too_many;        // more than 100 were missed
};

/* Seconds since 1970. last: of the latest start, -1: none yet. deadline: startingDeadlineSeconds, -1: none. */
void cron_plan(const struct cron *c, long long created, long long last, long long deadline, long long now, struct cron_plan *p);

#endif
