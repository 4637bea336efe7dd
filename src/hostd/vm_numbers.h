// SPDX-License-Identifier: Apache-2.0
// Which VM numbers are in use. A VM's number is its user (base + number) and its vsock address: no two VMs may have one at the
// same time, and a VM has it as long as its process is there, even when whoever started it has given it up
// or starts another, which gets another number.
#ifndef BH_HOSTD_VM_NUMBERS_H
#define BH_HOSTD_VM_NUMBERS_H

#include <stdbool.h>

#define VM_NUMBERS 4096

struct vm_number_held;

struct vm_numbers {
	bool taken[VM_NUMBERS];
	bool lost[VM_NUMBERS];                // its process cannot be watched: never given out again
	struct vm_number_held *held;
};

/* All calls under the owner's lock. */
unsigned vm_numbers_take(struct vm_numbers *n);                       // 1...; 0: none left
void vm_numbers_mark(struct vm_numbers *n, unsigned number);          // somebody has it
void vm_numbers_drop(struct vm_numbers *n, unsigned number);
/* A process with this number does not end: it stays taken, dropped or not, until gone (taken over, closed then; a pidfd) becomes
 * readable. gone -1: for as long as hostd runs. */
void vm_numbers_hold(struct vm_numbers *n, unsigned number, int gone);
void vm_numbers_fini(struct vm_numbers *n);

#endif
