// SPDX-License-Identifier: Apache-2.0
// How many CPUs there can be.
#ifndef BH_PRDA_CPUS_H
#define BH_PRDA_CPUS_H

#include <stdint.h>

/* Highest possible CPU number + 1, from /sys/devices/system/cpu/possible; where that cannot be read, an upper
 * bound of it. At least 1, at most PRDA_CPUS_MAX. CPUs that cpusets or affinity hide are counted: a CPU number is the
 * kernel's. */
uint32_t prda_cpus_possible(void);

/* Parse a CPU list ("0-3,8"): highest number + 1, or 0 when it is not one. */
uint32_t prda_cpus_parse(const char *list);

#endif
