// SPDX-License-Identifier: Apache-2.0
// The first steps of PID 1, and the last.
#ifndef BH_AGENT_BOOT_H
#define BH_AGENT_BOOT_H

#include <stdint.h>

#include "base/err.h"

/* Kernel file systems, the root that pivot_root accepts, cgroup2, modules, loopback. */
int boot_early(struct err *e);

uint64_t boot_now_ns(void);   // CLOCK_BOOTTIME

/* Load a module and what it needs, by the lists in /modules. Loaded before is fine. */
int boot_load_module(const char *name, struct err *e);

/* Sync, unmount and end the VM. Does not return. */
_Noreturn void boot_power_off(void);

#endif
