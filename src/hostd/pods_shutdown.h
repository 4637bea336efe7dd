// SPDX-License-Identifier: Apache-2.0
// The host goes down in order: pods end by priority, lowest first, each group within its time; nothing new is taken.
#ifndef BH_HOSTD_PODS_SHUTDOWN_H
#define BH_HOSTD_PODS_SHUTDOWN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define SHUTDOWN_GROUPS_MAX 16
#define SHUTDOWN_DEFAULT "0=20,2000000000=10"

/* Pods of this priority and more, up to the next group's, have so long; those below the lowest group belong to it. */
struct shutdown_plan {
	struct shutdown_group { long long priority; unsigned seconds; } groups[SHUTDOWN_GROUPS_MAX];
	size_t count;
};

/* "PRIORITY=SECONDS,..." in any order. -EINVAL with what is wrong. */
int shutdown_plan_parse(const char *text, struct shutdown_plan *plan, struct err *e);
size_t shutdown_plan_group(const struct shutdown_plan *plan, long long priority);   // index of its group

struct pods;
int pods_shutdown_begin(struct pods *ps, const struct shutdown_plan *plan, struct err *e);   // again: nothing
bool pods_shutting_down(struct pods *ps);
bool pods_shutdown_done(struct pods *ps);
void pods_shutdown_end(struct pods *ps);    // wait for the thread, wherever it is

#endif
