// SPDX-License-Identifier: Apache-2.0
// How much processor time is used per second, from counters that are read whenever somebody asks: between this reading and the one
// before. Nothing is read for its own sake, so there is no rate the first time. Any thread.
#ifndef BH_HOSTD_CPU_RATES_H
#define BH_HOSTD_CPU_RATES_H

#include <stdbool.h>
#include <stdint.h>

struct cpu_rates;

struct cpu_rates *cpu_rates_new(void);          // NULL: no memory
void cpu_rates_free(struct cpu_rates *r);       // NULL allowed

/* The counter that key names says usage_ns at now_ns (monotonic). True and *nano_cores (billionths of a processor) when there is a
 * rate: since the reading before, if that is at least a second and at most five minutes ago. Who asks sooner gets the last one. */
bool cpu_rates_add(struct cpu_rates *r, const char *key, uint64_t usage_ns, uint64_t now_ns, int64_t *nano_cores);
void cpu_rates_forget(struct cpu_rates *r, uint64_t now_ns);   // what has not been read for five minutes

#endif
