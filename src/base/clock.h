// SPDX-License-Identifier: Apache-2.0
// Time: nanosecond readings and RFC 3339 text as Kubernetes writes it (UTC, "Z").
#ifndef BH_CLOCK_H
#define BH_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull

uint64_t clock_mono_ns(void);   // CLOCK_MONOTONIC
uint64_t clock_real_ns(void);   // CLOCK_REALTIME, since 1970

#define CLOCK_TEXT_MAX 40

/* Write ns (since 1970) as "2026-11-22T13:33:49Z" (fraction 0), with 6 digits (fraction 6: Kubernetes MicroTime)
 * or 9 (fraction 9: CRI logs). out: CLOCK_TEXT_MAX bytes. Returns out. */
char *clock_text(uint64_t ns, int fraction_digits, char out[CLOCK_TEXT_MAX]);

/* Parse RFC 3339 (any offset, 0-9 fraction digits). Returns 0, or -EINVAL and *ns untouched. */
int clock_parse(const char *text, uint64_t *ns);

#endif
