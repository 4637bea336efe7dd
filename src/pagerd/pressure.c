// SPDX-License-Identifier: Apache-2.0
// With a limit: what is above it. Without: what the host lacks to a reserve that the kernel and other processes need.
#include "pressure.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"

#define PAGE 4096u
#define LASTS_NS (30 * NS_PER_S)
#define RESERVE_PART 20          // one part of so many of the host's memory stays free

/* "MemTotal:  123 kB" and "MemAvailable:": the third of the lines at the latest. */
static bool host_memory(uint64_t *total, uint64_t *available)
{
	char text[512];
	unsigned long long t, a;
	own_fd int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	const char *at = strstr(text, "MemAvailable:");
	if (sscanf(text, "MemTotal: %llu", &t) != 1 || !at || sscanf(at, "MemAvailable: %llu", &a) != 1)
		return false;
	*total = t * 1024 / PAGE;
	*available = a * 1024 / PAGE;
	return true;
}

uint64_t pressure_excess(struct pressure *p, uint64_t resident)
{
	uint64_t total, available, over = 0;
	if (p->max_pages)
		over = resident > p->max_pages ? resident - p->max_pages + p->max_pages / 64 : 0;
	else if (host_memory(&total, &available) && available < total / RESERVE_PART)
		over = total / RESERVE_PART - available;
	if (over)
		__atomic_store_n(&p->last_ns, clock_mono_ns(), __ATOMIC_RELAXED);
	return over < resident ? over : resident;
}

bool pressure_now(const struct pressure *p)
{
	uint64_t last = __atomic_load_n(&p->last_ns, __ATOMIC_RELAXED);
	return last && clock_mono_ns() - last < LASTS_NS;
}
