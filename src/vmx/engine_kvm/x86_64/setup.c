// SPDX-License-Identifier: Apache-2.0
// What a machine of this architecture has but memory and processors: interrupt controllers; see arch.h.
#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "vmx/engine_kvm/arch.h"
#include "vmx/engine_kvm/machine.h"

static const struct { int cap; const char *what; } needed[] = {
	{KVM_CAP_IRQCHIP, "interrupt controllers in the kernel"},
	{KVM_CAP_IRQ_ROUTING, "interrupt routing"},
	{KVM_CAP_EXT_CPUID, "processor identification"},
};

int arch_check(int kvm_fd, struct err *e)
{
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			return err_set(e, ENOTSUP, "this host's KVM lacks %s", needed[i].what);
	}
	return 0;
}

// The lines go to the I/O APIC alone: a guest without PC chips does not look at the other controller.
static int setup_lines(struct machine *m, struct err *e)
{
	union {
		struct kvm_irq_routing r;
		char room[sizeof(struct kvm_irq_routing) + IOAPIC_PINS * sizeof(struct kvm_irq_routing_entry)];
	} u = {.r = {.nr = IOAPIC_PINS}};
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		u.r.entries[i] = (struct kvm_irq_routing_entry){
			.gsi = i, .type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = {.irqchip = KVM_IRQCHIP_IOAPIC, .pin = i},
		};
	}
	if (ioctl(m->vm_fd, KVM_SET_GSI_ROUTING, &u.r))
		return err_sys(e, errno, "route the guest's interrupts");
	return 0;
}

int arch_setup(struct machine *m, struct err *e)
{
	uint64_t identity_map = TSS_BASE - 4096;
	// Only processors of one maker need these two, and where they do not exist they are not needed.
	ioctl(m->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	ioctl(m->vm_fd, KVM_SET_TSS_ADDR, TSS_BASE);
	if (ioctl(m->vm_fd, KVM_CREATE_IRQCHIP, 0))
		return err_sys(e, errno, "make interrupt controllers");
	return setup_lines(m, e);
}
