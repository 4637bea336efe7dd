// SPDX-License-Identifier: Apache-2.0
// Cron schedules: five fields, lists, ranges, steps, names of months and days, @hourly and the like.
#ifndef BH_K8S_CRON_H
#define BH_K8S_CRON_H

#include <stdint.h>

#include "base/err.h"

struct zone;

struct cron {
	uint64_t minutes;   // bit n: minute n
	uint32_t hours, days, months, weekdays;
	int any_day, any_weekday;   // the field was "*": only the other one counts; else either may match
	const struct zone *zone;   // whose local time the fields name; NULL: UTC. Borrowed, set by the caller
	long long every_s;  // "@every 1h30m": seconds; 0: the fields count
};

int cron_parse(const char *text, struct cron *c, struct err *e);   // 0 or -EINVAL
/* The first time after "after" (seconds since 1970, UTC) that matches; -1: none within five years. */
long long cron_next(const struct cron *c, long long after);

#endif
