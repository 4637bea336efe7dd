// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/cron_plan.h"

#define MISSED_MAX 100
#define LOOK_MAX 100000     // times looked at: a server that was off for months starts the latest one it finds

void cron_plan(const struct cron *c, long long created, long long last, long long deadline, long long now, struct cron_plan *p)
{
	long long from = last >= 0 ? last : created, at, missed = 0;

	*p = (struct cron_plan){ .time = -1, .next = cron_next(c, now) };
	if (deadline >= 0 && now - deadline > from)
		from = now - deadline - 1;    // a time exactly at the deadline still counts
	for (at = cron_next(c, from); at >= 0 && at <= now && missed < LOOK_MAX; at = cron_next(c, at)) {
		p->time = at;
		missed++;
	}
	p->too_many = missed > MISSED_MAX && deadline < 0;
}
