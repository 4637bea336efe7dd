// SPDX-License-Identifier: Apache-2.0
// The frequency of the processor's time stamp counter. A guest on the software engine is told it: its own calibration
// can wait for ever for a tick that does not come.
#ifndef BULKHEAD_VMX_TSC_H
#define BULKHEAD_VMX_TSC_H

#include <stdint.h>

struct tsc_mark { uint64_t tsc, ns; };

void tsc_mark(struct tsc_mark *m);   // a reading of both clocks at one moment

/* Frequency in kHz since the mark; waits until the mark is 3 ms old (about 10 ppm). 0: there is no such counter. */
uint64_t tsc_khz_since(const struct tsc_mark *m);

#endif
