// SPDX-License-Identifier: Apache-2.0
// Second form: preemption held back while a section runs. Linux 7.0 and later, rseq time slice extension:
// prctl(PR_RSEQ_SLICE_EXTENSION) switches it on for a thread; the thread asks by rseq->slice_ctrl.request; when the
// scheduler wants the CPU meanwhile, the kernel clears request, sets granted, and lets the thread run on for some
// microseconds; a thread that finds granted set gives up the CPU by rseq_slice_yield(2).
// If the extension runs out, or was not granted, the section is interrupted and starts again like any other.
#ifndef BH_PRDA_DELAY_H
#define BH_PRDA_DELAY_H

#include <stdbool.h>
#include <stdint.h>

/* As in the kernel's struct rseq, at offset 28. */
struct prda_slice_ctrl {
	volatile uint8_t request, granted;
	uint16_t reserved;
};

/* How the library reaches the kernel; tests put their own in prda_slice_kernel's place. */
struct prda_slice_ops {
	int (*enable)(void);                     // for this thread; 0 or -errno. Called once per thread.
	struct prda_slice_ctrl *(*ctrl)(void);   // of this thread
	void (*yield)(void);
};
extern const struct prda_slice_ops prda_slice_kernel;
extern const struct prda_slice_ops *prda_slice;

bool prda_delay_available(void);   // asks the kernel, by enabling it for this thread
bool prda_delay_begin(void);       // false: not for this thread
bool prda_delay_end(void);         // true: preemption had been held back, and the CPU was given up just now

#endif
