// SPDX-License-Identifier: Apache-2.0
// How a guest begins: kernel, command line and tables in memory, its processors' identity, the first one's registers; see arch.h.
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmx/engine_kvm/arch.h"
#include "vmx/engine_kvm/machine.h"
#include "vmx/engine_kvm/x86_64/acpi.h"
#include "vmx/engine_kvm/x86_64/boot.h"
#include "vmx/engine_kvm/x86_64/processor.h"

#define CMDLINE_MAX 2048
#define CR0_PE (1u << 0)
#define CR0_ET (1u << 4)
#define CR0_PG (1u << 31)
#define CR4_PAE (1u << 5)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)

// What every guest's kernel is told.
static const char words[] = "console=ttyS0 reboot=t panic=-1 quiet tsc=reliable cryptomgr.notests=1 random.trust_cpu=on "
			    "rcupdate.rcu_expedited=1 8250.nr_uarts=1 nowatchdog audit=0";

// Prints K, reads an address where nothing is, powers off. 32-bit code.
static const uint8_t tiny[] = {
	0x66, 0xba, 0xf8, 0x03,         // mov dx, PORT_SERIAL
	0xb0, 'K',                      // mov al, 'K'
	0xee,                           // out dx, al
	0xa1, 0x00, 0x00, 0x00, 0xd0,   // mov eax, [0xd0000000]
	0x40,                           // inc eax
	0x75, 0xfe,                     // jnz .: not all ones
	0x66, 0xba, 0x00, 0x06,         // mov dx, PORT_SLEEP_CONTROL
	0xb0, 0x34,                     // mov al, SLEEP_ENABLE | 5 << 2
	0xee,                           // out dx, al
	0xeb, 0xfe,                     // jmp .
};

int processors_identify(struct machine *m, struct err *e)
{
	for (unsigned i = 0; i < m->nvcpus; i++) {
		struct cpuid c = m->arch.cpuid;
		cpuid_number(&c, i, m->nvcpus);
		if (ioctl(m->vcpu[i].fd, KVM_SET_CPUID2, &c))
			return err_sys(e, errno, "say to processor %u what it is", i);
	}
	return 0;
}

static struct kvm_segment flat(uint8_t type, uint16_t selector)
{
	return (struct kvm_segment){.limit = UINT32_MAX, .selector = selector, .type = type, .present = 1, .db = 1, .s = 1, .g = 1};
}

// Flat segments. 32-bit protected mode without paging, or 64-bit mode with the page tables of the loader.
static int enter_at(struct vcpu *v, const struct boot_entry *b, struct err *e)
{
	struct kvm_sregs s;
	if (ioctl(v->fd, KVM_GET_SREGS, &s))
		return err_sys(e, errno, "read the registers of processor %u", v->n);
	s.cs = flat(11, 0x10);
	s.ds = s.es = s.fs = s.gs = s.ss = flat(3, 0x18);
	s.tr = (struct kvm_segment){.limit = 0x67, .type = 11, .present = 1};
	s.gdt.limit = s.idt.limit = 0;
	s.cr0 = CR0_PE | CR0_ET;
	s.cr3 = s.cr4 = s.efer = 0;
	if (b->cr3) {
		s.cs.db = 0;
		s.cs.l = 1;
		s.cr0 |= CR0_PG;
		s.cr3 = b->cr3;
		s.cr4 = CR4_PAE;
		s.efer = EFER_LME | EFER_LMA;
	}
	struct kvm_regs r = {.rip = b->rip, .rbx = b->rbx, .rsi = b->rsi, .rflags = 2};
	if (ioctl(v->fd, KVM_SET_SREGS, &s) || ioctl(v->fd, KVM_SET_REGS, &r))
		return err_sys(e, errno, "set the registers of processor %u", v->n);
	return 0;
}

static int begin(struct machine *m, const struct boot_entry *b, const char *cpu_model, struct err *e)
{
	int rc;
	if ((rc = cpuid_read(m->kvm_fd, &m->arch.cpuid, e)) || (rc = cpuid_model(&m->arch.cpuid, cpu_model, e)) ||
	    (rc = processors_identify(m, e)))
		return rc;
	return enter_at(&m->vcpu[0], b, e);
}

int arch_boot(struct machine *m, const struct arch_boot *b, struct err *e)
{
	struct boot_entry entry;
	char cmdline[CMDLINE_MAX];
	if (snprintf(cmdline, sizeof(cmdline), "%s%s%s%s", words, m->nvcpus == 1 ? " noreplace-smp" : "", *b->words ? " " : "", b->words) >=
	    (int)sizeof(cmdline))
		return err_set(e, E2BIG, "the kernel's command line is longer than %u bytes", CMDLINE_MAX - 1);
	gpa_t rsdp = acpi_write(&m->mem, m->nvcpus, b->slots);
	if (!rsdp)
		return err_set(e, ENOMEM, "the ACPI tables do not fit");
	int rc = boot_load(&m->mem, b->kernel_fd, b->initrd_fd, cmdline, rsdp, &entry, e);
	return rc ? rc : begin(m, &entry, b->cpu_model, e);
}

int arch_boot_tiny(struct machine *m, struct err *e)
{
	struct boot_entry b = {.rip = HIGH_START};
	void *to = gmem_at(&m->mem, HIGH_START, sizeof(tiny), GMEM_WRITE);
	if (!to)
		return err_set(e, ENOMEM, "the VM has too little memory");
	memcpy(to, tiny, sizeof(tiny));
	return begin(m, &b, NULL, e);
}

uint64_t arch_instruction(struct vcpu *v)
{
	struct kvm_regs r = {.rip = 0};
	return ioctl(v->fd, KVM_GET_REGS, &r) ? 0 : r.rip;
}
