// SPDX-License-Identifier: Apache-2.0
// See pressure_pids.h.
#include "pressure_pids.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/own.h"

#define FILE_MAX 4096

bool pressure_pids_parse(const char *loadavg, const char *pid_max, const char *threads_max, struct pressure_pids *out)
{
	unsigned long long used, pids, threads;   // "0.20 0.18 0.12 1/80 11206": one of 80 runs
	if (sscanf(loadavg, "%*s %*s %*s %*u/%llu", &used) != 1 || sscanf(pid_max, "%llu", &pids) != 1 ||
	    sscanf(threads_max, "%llu", &threads) != 1)
		return false;
	*out = (struct pressure_pids){.used = used, .most = pids < threads ? pids : threads};
	return true;
}

bool pressure_pids_read(struct pressure_pids *out)
{
	static const char *const paths[] = {"/proc/loadavg", "/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"};
	own_buf struct buf loadavg = BUF_INIT, pid_max = BUF_INIT, threads_max = BUF_INIT;
	struct buf *const texts[] = {&loadavg, &pid_max, &threads_max};
	for (int i = 0; i < 3; i++)
		if (file_read(paths[i], FILE_MAX, texts[i], NULL) || !texts[i]->data)
			return false;
	return pressure_pids_parse(loadavg.data, pid_max.data, threads_max.data, out);
}

bool pressure_pids_low(const struct pressure_pids *now, long long percent)
{
	uint64_t left = now->used < now->most ? now->most - now->used : 0;
	return (double)left * 100 < (double)now->most * (double)percent;
}

bool pressure_pids_shown(uint64_t *last_low_ns, bool low, uint64_t now_ns, uint64_t hold_ns)
{
	if (low)
		*last_low_ns = now_ns;
	else if (now_ns - *last_low_ns >= hold_ns)
		*last_low_ns = 0;                          // over is over, whatever the period is next
	return low || *last_low_ns;
}
