// SPDX-License-Identifier: Apache-2.0
// Whether VMs can use this machine's KVM: where a stock kernel boots on it, tried and not guessed. The answer is kept in /run
// until the next boot of the machine, because trying takes seconds where KVM does not work.
#ifndef BH_KVM_PROBE_H
#define BH_KVM_PROBE_H

#include <stdbool.h>
#include <stddef.h>

/* vmx: the program that tries; kernel: the guest's. reason: a sentence, either way. May block for seconds. Any thread.
 * BULKHEAD_PROBE_MS: milliseconds for each of the two guests that are tried (3000). */
bool kvm_usable(const char *vmx, const char *kernel, char *reason, size_t len);

#endif
