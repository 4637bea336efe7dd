// SPDX-License-Identifier: Apache-2.0
// Processor identification; see cpuid.h. A guest has one socket with count cores of one thread. It sees no virtualization
// extensions (no guests in guests), no performance counters and no MONITOR.
#include "cpuid.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define BIT(n) (1u << (n))

// Leaf 1
#define ECX_MONITOR BIT(3)
#define ECX_VMX BIT(5)
#define ECX_PDCM BIT(15)
#define ECX_TSC_DEADLINE BIT(24)
#define ECX_HYPERVISOR BIT(31)
#define EDX_HTT BIT(28)
// Leaf 0x80000001
#define ECX_CMP_LEGACY BIT(1)
#define ECX_SVM BIT(2)
#define ECX_TOPOEXT BIT(22)
#define ECX_PERFCTR (BIT(23) | BIT(24) | BIT(28))

int cpuid_read(int kvm_fd, struct cpuid *c, struct err *e)
{
	memset(c, 0, sizeof(*c));
	c->nent = CPUID_ENTRIES_MAX;
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, c))
		return err_sys(e, errno, "ask KVM what processor it offers");
	return 0;
}

static unsigned bits_for(unsigned count)
{
	unsigned bits = 0;
	while (1u << bits < count)
		bits++;
	return bits;
}

static void number_leaf(struct kvm_cpuid_entry2 *l, unsigned n, unsigned count)
{
	switch (l->function) {
	case 1:
		l->ebx = (l->ebx & 0xffff) | count << 16 | n << 24;
		l->ecx = (l->ecx & ~(ECX_MONITOR | ECX_VMX | ECX_PDCM)) | ECX_TSC_DEADLINE | ECX_HYPERVISOR;
		l->edx = count > 1 ? l->edx | EDX_HTT : l->edx & ~EDX_HTT;
		break;
	case 4:   // bits 31-26: cores of the package; 25-14: threads that share this cache
		l->eax = (l->eax & 0x3fff) | (l->eax ? (count - 1) << 26 : 0);
		break;
	case 5:     // MONITOR
	case 0xa:   // performance counters
	case 0x8000000a:   // SVM
		l->eax = l->ebx = l->ecx = l->edx = 0;
		break;
	case 0xb:
	case 0x1f:
		l->eax = l->index == 1 ? bits_for(count) : 0;
		l->ebx = l->index == 0 ? 1 : l->index == 1 ? count : 0;
		l->ecx = l->index | (l->index == 0 ? 1u << 8 : l->index == 1 ? 2u << 8 : 0);
		l->edx = n;
		break;
	case 0x80000001:
		l->ecx &= ~(ECX_SVM | ECX_TOPOEXT | ECX_PERFCTR | ECX_CMP_LEGACY);
		l->ecx |= count > 1 ? ECX_CMP_LEGACY : 0;
		break;
	case 0x80000008:
		l->ecx = (bits_for(count) << 12) | (count - 1);
		break;
	default:
		break;
	}
}

void cpuid_number(struct cpuid *c, unsigned n, unsigned count)
{
	for (unsigned i = 0; i < c->nent && i < CPUID_ENTRIES_MAX; i++)
		number_leaf(&c->entry[i], n, count);
}
