// SPDX-License-Identifier: Apache-2.0
// Locked form: the lock of one slot, held while an operation runs on it in plain C.
//
// A holder can be stopped in three ways. Killed: its process's seat is empty, and the next one takes the lock over; the
// area is consistent, because operations in this form, too, end in one store. Interrupted by a signal whose handler uses
// the library: the handler finds that its thread holds something, and uses the last slot, with all signals blocked, so
// that there is no third level. Preempted: the others wait, giving up the CPU.
#ifndef BH_PRDA_HOLD_H
#define BH_PRDA_HOLD_H

#include "region.h"

/* Lock a slot of this CPU. h: struct prda_hold_ of bulkhead/prda.h, so that it can lie in a struct prda_seq.
 * Returns the plain address of the copy of a in that slot. */
void *prda_hold_take(struct prda_hold_ *h, uintptr_t a);
void prda_hold_drop(struct prda_hold_ *h);

#endif
