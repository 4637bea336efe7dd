// SPDX-License-Identifier: Apache-2.0
// The state of a machine, saved and restored: what the processors are, they, interrupt controllers, clock. There is no timer chip (PIT).
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmx/engine_kvm/machine.h"
#include "vmx/engine_kvm/state.h"
#include "vmx/engine_kvm/x86_64/processor.h"

static const uint32_t chips[] = {KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC};
#define CHIPS (sizeof(chips) / sizeof(chips[0]))

static int save_cpuid(const struct machine *m, struct buf *b, struct err *e)
{
	const struct cpuid *c = &m->arch.cpuid;
	return state_add(b, STATE_CPUID, 0, c->entry, c->nent * sizeof(c->entry[0])) ? err_set(e, ENOMEM, "no memory") : 0;
}

static int restore_cpuid(struct machine *m, struct state *s, const char *cpu_model, struct err *e)
{
	struct cpuid host, *c = &m->arch.cpuid;
	size_t len = 0;
	const void *entries = state_find(s, STATE_CPUID, 0, &len);
	if (!entries || len % sizeof(c->entry[0]) || len > sizeof(c->entry))
		return err_set(e, EINVAL, "the saved state does not say what its processors are");
	c->nent = (uint32_t)(len / sizeof(c->entry[0]));
	memcpy(c->entry, entries, len);
	int rc = cpuid_read(m->kvm_fd, &host, e);
	if (!rc)
		rc = cpuid_check(c, &host, e);
	if (!rc)
		rc = cpuid_is_model(c, cpu_model, e);
	return rc ? rc : processors_identify(m, e);
}

int machine_save(struct machine *m, struct buf *b, struct err *e)
{
	int rc = save_cpuid(m, b, e);
	for (unsigned i = 0; i < m->nvcpus && !rc; i++)
		rc = vcpu_save(&m->vcpu[i], b, e);
	for (unsigned i = 0; i < CHIPS && !rc; i++) {
		struct kvm_irqchip c = {.chip_id = chips[i]};
		if (ioctl(m->vm_fd, KVM_GET_IRQCHIP, &c))
			rc = err_sys(e, errno, "read interrupt controller %u", chips[i]);
		else if (state_add(b, STATE_IRQCHIP, chips[i], &c, sizeof(c)))
			rc = err_set(e, ENOMEM, "no memory");
	}
	struct kvm_clock_data clock = {.clock = 0};
	if (!rc && ioctl(m->vm_fd, KVM_GET_CLOCK, &clock))
		rc = err_sys(e, errno, "read the clock");
	if (!rc && state_add(b, STATE_CLOCK, 0, &clock.clock, sizeof(clock.clock)))
		rc = err_set(e, ENOMEM, "no memory");
	return rc;
}

int machine_restore(struct machine *m, struct state *s, const char *cpu_model, struct err *e)
{
	struct kvm_clock_data clock = {.clock = 0};
	int rc = restore_cpuid(m, s, cpu_model, e);
	for (unsigned i = 0; i < m->nvcpus && !rc; i++)
		rc = vcpu_restore(&m->vcpu[i], s, e);
	for (unsigned i = 0; i < CHIPS && !rc; i++) {   // behind the processors: what waits in them goes to the local ones
		struct kvm_irqchip c;
		rc = state_take(s, STATE_IRQCHIP, chips[i], &c, sizeof(c), "interrupt controller", e);
		if (!rc && c.chip_id != chips[i])
			rc = err_set(e, EINVAL, "interrupt controller %u cannot be restored from another one's state", chips[i]);
		if (!rc && ioctl(m->vm_fd, KVM_SET_IRQCHIP, &c))
			rc = err_sys(e, errno, "set interrupt controller %u", chips[i]);
	}
	uint64_t ns = 0;
	if (!rc)
		rc = state_take(s, STATE_CLOCK, 0, &ns, sizeof(ns), "clock", e);
	clock.clock = ns;
	if (!rc && ioctl(m->vm_fd, KVM_SET_CLOCK, &clock))
		rc = err_sys(e, errno, "set the clock");
	return rc;
}
