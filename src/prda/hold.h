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

#endif
