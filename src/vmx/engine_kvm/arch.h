// SPDX-License-Identifier: Apache-2.0
// What the folder of an architecture gives the engine. target.h there has ARCH_ELF, struct arch_machine, and the layout: HOLE_START and
// HOLE_END, DEVICES_BASE, IRQ_SLOT, IRQ_SERIAL, IRQ_EVENTS, EVENT_POWER_BUTTON. Beside what is below it has bus_port (bus.h), and the
// state of machines and processors (machine.h: machine_save, machine_restore).
#ifndef BULKHEAD_KVM_ARCH_H
#define BULKHEAD_KVM_ARCH_H

#include <stdint.h>

#include "base/err.h"

#ifdef __x86_64__
#include "vmx/engine_kvm/x86_64/target.h"
#else
#error "this processor has no folder here"
#endif

struct machine;
struct vcpu;

/* Whether this host's KVM has what is needed. 0 or -errno. */
int arch_check(int kvm_fd, struct err *e);
/* A new virtual machine, without memory and processors, gets its interrupt controllers. 0 or -errno. */
int arch_setup(struct machine *m, struct err *e);

struct arch_boot {
	int kernel_fd, initrd_fd;     // regular files; initrd_fd -1: none
	const char *words;            // of the kernel's command line, behind what every guest gets
	uint32_t slots;               // bit n: a virtio device may be in slot n
	const char *cpu_model;        // NULL: all that this host has
};
/* Put kernel, command line and tables into memory; the first processor is to enter the kernel, the others wait to be woken by it. 0 or
 * -errno and a sentence. */
int arch_boot(struct machine *m, const struct arch_boot *b, struct err *e);
/* The same for a guest of a few instructions: prints K, reads an address where nothing is, powers off. 0 or -errno. */
int arch_boot_tiny(struct machine *m, struct err *e);

uint64_t arch_instruction(struct vcpu *v);   // where it stands; 0: not known

#endif
