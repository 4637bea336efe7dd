// SPDX-License-Identifier: Apache-2.0
// What a guest's processor says it is.
#ifndef BULKHEAD_KVM_CPUID_H
#define BULKHEAD_KVM_CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CPUID_ENTRIES_MAX 256

struct cpuid {                   // a kvm_cpuid2 with room for its entries
	uint32_t nent, padding;
	struct kvm_cpuid_entry2 entry[CPUID_ENTRIES_MAX];
};
_Static_assert(offsetof(struct cpuid, entry) == sizeof(struct kvm_cpuid2), "it is laid out alike");

/* What this host's KVM can give a guest, less what a pod has no use for. 0 or -errno. */
int cpuid_read(int kvm_fd, struct cpuid *c, struct err *e);
/* Make it that of processor n of count. */
void cpuid_number(struct cpuid *c, unsigned n, unsigned count);

/* Reduce it to a model that is the same on every host which has it: "x86-64-v2", "-v3", "-v4" (the levels of the x86-64 psABI);
 * NULL or "host": leave it. Features against attacks stay as the host has them. 0, or -errno: no such model, or this host is
 * less than that. */
int cpuid_model(struct cpuid *c, const char *model, struct err *e);

/* Whether a processor that was saved is of that model; any is "host" (and NULL). 0, or -EINVAL and a sentence. */
int cpuid_is_model(const struct cpuid *saved, const char *model, struct err *e);
/* Whether a processor that was saved can go on here: every feature it has must be there. 0 or -EINVAL and a sentence. */
int cpuid_check(const struct cpuid *saved, const struct cpuid *host, struct err *e);

#endif
