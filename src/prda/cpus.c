// SPDX-License-Identifier: Apache-2.0
#include "cpus.h"

#include <ctype.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "region.h"

uint32_t prda_cpus_parse(const char *list)
{
	unsigned long highest = 0;
	for (const char *p = list;; p++) {
		if (!isdigit((unsigned char)*p))
			return 0;
		char *end;
		unsigned long first = strtoul(p, &end, 10), last = first;
		if (*end == '-') {
			if (!isdigit((unsigned char)end[1]))
				return 0;
			last = strtoul(end + 1, &end, 10);
		}
		if (last < first || last >= PRDA_CPUS_MAX)
			return 0;
		if (last > highest)
			highest = last;
		if (*end == '\0' || *end == '\n')
			return (uint32_t)highest + 1;
		if (*end != ',')
			return 0;
		p = end;
	}
}

#ifdef __x86_64__
bool prda_wide_;

__attribute__((constructor)) static void wide_detect(void)
{
	__builtin_cpu_init();
	prda_wide_ = __builtin_cpu_supports("avx512f");
}
#endif

uint32_t prda_cpus_possible(void)
{
	own_buf struct buf b = BUF_INIT;
	uint32_t n = 0;
	if (file_read("/sys/devices/system/cpu/possible", 4096, &b, NULL) == 0 && b.data)
		n = prda_cpus_parse(b.data);
	if (n == 0) {   // no /sys in this jail: the size of the kernel's CPU masks, which is no less
		unsigned long mask[PRDA_CPUS_MAX / 8 / sizeof(long)];
		long bytes = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);
		n = bytes > 0 ? (uint32_t)bytes * 8 : PRDA_CPUS_MAX;
	}
	return n;
}
