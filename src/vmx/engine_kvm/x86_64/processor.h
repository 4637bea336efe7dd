// SPDX-License-Identifier: Apache-2.0
// What the files of this folder share about processors.
#ifndef BULKHEAD_KVM_PROCESSOR_H
#define BULKHEAD_KVM_PROCESSOR_H

#include "base/err.h"

struct buf;
struct machine;
struct state;
struct vcpu;

int processors_identify(struct machine *m, struct err *e);   // what they are, from m->arch.cpuid

// vcpu_state.c
int vcpu_save(struct vcpu *v, struct buf *b, struct err *e);
int vcpu_restore(struct vcpu *v, struct state *s, struct err *e);

#endif
