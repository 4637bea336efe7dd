// SPDX-License-Identifier: Apache-2.0
// How many processes and threads the host has, and can have. Those of guests are their own kernels': a pod costs the host the threads of
// its VM, however many processes it has.
#ifndef BH_HOSTD_PRESSURE_PIDS_H
#define BH_HOSTD_PRESSURE_PIDS_H

#include <stdbool.h>
#include <stdint.h>

struct pressure_pids { uint64_t used, most; };

/* From what the kernel says: /proc/loadavg, /proc/sys/kernel/pid_max, threads-max. false: something is missing, *out as before. */
bool pressure_pids_parse(const char *loadavg, const char *pid_max, const char *threads_max, struct pressure_pids *out);
bool pressure_pids_read(struct pressure_pids *out);
/* Less than so many percent are left. */
bool pressure_pids_low(const struct pressure_pids *now, long long percent);
/* What the node says: also for so long after it was last low, that pods are not sent here and away in turns. *last_low_ns: 0 at first. */
bool pressure_pids_shown(uint64_t *last_low_ns, bool low, uint64_t now_ns, uint64_t hold_ns);

#endif
