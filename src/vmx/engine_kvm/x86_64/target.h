// SPDX-License-Identifier: Apache-2.0
// What x86-64 is to the engine; see arch.h.
#ifndef BULKHEAD_KVM_TARGET_H
#define BULKHEAD_KVM_TARGET_H

#include "vmx/engine_kvm/x86_64/cpuid.h"
#include "vmx/engine_kvm/x86_64/layout.h"

#define ARCH_ELF 62              // as ELF numbers it; a saved state says it

struct arch_machine {
	struct cpuid cpuid;      // what its processors are, before they are numbered
};

#endif
