// SPDX-License-Identifier: Apache-2.0
// Processor models, and whether a saved processor fits a host; see cpuid.h. Features stand in a few registers of a few leaves;
// a model says for each which bits a guest may see and which it must.
#include <errno.h>
#include <string.h>

#include "vmx/engine_kvm/x86_64/cpuid.h"

#define BIT(n) (1u << (n))

enum reg { EAX, EBX, ECX, EDX };

enum { L1C, L1D, L7B, L7C, L7D, L71A, LDA, LD1A, X1C, X1D, X7D, X8B, KVMA, REGISTERS };

static const struct { uint32_t function, index; enum reg reg; const char *name; } registers[REGISTERS] = {
	[L1C] = {1, 0, ECX, "1.ecx"}, [L1D] = {1, 0, EDX, "1.edx"}, [L7B] = {7, 0, EBX, "7.ebx"}, [L7C] = {7, 0, ECX, "7.ecx"},
	[L7D] = {7, 0, EDX, "7.edx"}, [L71A] = {7, 1, EAX, "7.1.eax"}, [LDA] = {0xd, 0, EAX, "d.eax"},
	[LD1A] = {0xd, 1, EAX, "d.1.eax"}, [X1C] = {0x80000001, 0, ECX, "80000001.ecx"},
	[X1D] = {0x80000001, 0, EDX, "80000001.edx"}, [X7D] = {0x80000007, 0, EDX, "80000007.edx"},
	[X8B] = {0x80000008, 0, EBX, "80000008.ebx"}, [KVMA] = {0x40000001, 0, EAX, "40000001.eax"},
};

// Bits that follow what the guest does or that we set whatever the host has: no measure of it.
static const uint32_t ours[REGISTERS] = {
	[L1C] = BIT(24) | BIT(27) | BIT(31),   // TSC deadline, OSXSAVE, hypervisor
	[L1D] = BIT(9) | BIT(28),              // APIC, HTT
	[L7C] = BIT(4),                        // OSPKE
	[X1C] = BIT(1), [X1D] = BIT(9),        // CMP_LEGACY, APIC
};

#define V2_L1C (BIT(0) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(23))           // SSE3 SSSE3 CX16 SSE4.1 SSE4.2 POPCNT
#define V3_L1C (V2_L1C | BIT(12) | BIT(22) | BIT(26) | BIT(28) | BIT(29))          // FMA MOVBE XSAVE AVX F16C
#define V3_L7B (BIT(3) | BIT(5) | BIT(8))                                          // BMI1 AVX2 BMI2
#define V4_L7B (V3_L7B | BIT(16) | BIT(17) | BIT(28) | BIT(30) | BIT(31))          // AVX-512 F DQ CD BW VL
#define SAFE_L1C (BIT(21) | BIT(24) | BIT(27) | BIT(31))                           // x2APIC, deadline, OSXSAVE, hypervisor
#define SAFE_L7B (BIT(7) | BIT(20))                                                // SMEP SMAP
#define SAFE_L7D (BIT(10) | BIT(26) | BIT(27) | BIT(28) | BIT(29) | BIT(31))       // MD_CLEAR SPEC_CTRL STIBP L1D ARCH SSBD
#define SAFE_X8B (BIT(12) | BIT(14) | BIT(15) | BIT(17) | BIT(24) | BIT(25) | BIT(26) | BIT(28))
#define BASE_L1D 0x178bfbffu                                                       // FPU to SSE2, HTT
#define BASE_X1D 0x21d3fbffu                                                       // SYSCALL NX LM and AMD's copies

static const struct model {
	const char *name;
	uint32_t must[REGISTERS], may[REGISTERS];   // may: beyond must
} models[] = {
	{"x86-64-v2", {[L1C] = V2_L1C, [X1C] = BIT(0), [X1D] = BIT(11) | BIT(29)},
	 {[L1C] = SAFE_L1C & ~BIT(27), [L1D] = BASE_L1D, [L7B] = SAFE_L7B, [L7D] = SAFE_L7D, [X1C] = BIT(1), [X1D] = BASE_X1D,
	  [X7D] = BIT(8), [X8B] = SAFE_X8B, [KVMA] = ~0u}},
	{"x86-64-v3", {[L1C] = V3_L1C, [L7B] = V3_L7B, [LDA] = 7, [X1C] = BIT(0) | BIT(5), [X1D] = BIT(11) | BIT(29)},
	 {[L1C] = SAFE_L1C, [L1D] = BASE_L1D, [L7B] = SAFE_L7B, [L7D] = SAFE_L7D, [X1C] = BIT(1), [X1D] = BASE_X1D, [X7D] = BIT(8),
	  [X8B] = SAFE_X8B, [KVMA] = ~0u}},
	{"x86-64-v4", {[L1C] = V3_L1C, [L7B] = V4_L7B, [LDA] = 0xe7, [X1C] = BIT(0) | BIT(5), [X1D] = BIT(11) | BIT(29)},
	 {[L1C] = SAFE_L1C, [L1D] = BASE_L1D, [L7B] = SAFE_L7B, [L7D] = SAFE_L7D, [X1C] = BIT(1), [X1D] = BASE_X1D, [X7D] = BIT(8),
	  [X8B] = SAFE_X8B, [KVMA] = ~0u}},
};

static uint32_t *register_of(struct kvm_cpuid_entry2 *l, enum reg r)
{
	uint32_t *const at[] = {&l->eax, &l->ebx, &l->ecx, &l->edx};
	return at[r];
}

static uint32_t *find(struct cpuid *c, unsigned n)
{
	for (unsigned i = 0; i < c->nent && i < CPUID_ENTRIES_MAX; i++) {
		struct kvm_cpuid_entry2 *l = &c->entry[i];
		if (l->function == registers[n].function && l->index == registers[n].index)
			return register_of(l, registers[n].reg);
	}
	return NULL;
}

static uint32_t value(const struct cpuid *c, unsigned n)
{
	const uint32_t *at = find((struct cpuid *)c, n);
	return at ? *at : 0;
}

static const struct model *model_find(const char *name)
{
	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
		if (!strcmp(models[i].name, name))
			return &models[i];
	}
	return NULL;
}

int cpuid_model(struct cpuid *c, const char *name, struct err *e)
{
	if (!name || !strcmp(name, "host"))
		return 0;
	const struct model *m = model_find(name);
	if (!m)
		return err_set(e, EINVAL, "processor model \"%s\" is not known; there are: host, x86-64-v2, x86-64-v3, x86-64-v4", name);
	for (unsigned n = 0; n < REGISTERS; n++) {
		uint32_t lacks = m->must[n] & ~value(c, n);
		if (lacks)
			return err_set(e, ENOTSUP, "this host's processor is less than %s: it lacks bits 0x%x of CPUID %s", name, lacks,
				       registers[n].name);
	}
	for (unsigned n = 0; n < REGISTERS; n++) {
		uint32_t *at = find(c, n);
		if (at)
			*at &= m->must[n] | m->may[n];
	}
	return 0;
}

int cpuid_is_model(const struct cpuid *saved, const char *name, struct err *e)
{
	struct cpuid just = *saved;
	struct err lacks = ERR_INIT;
	int rc = cpuid_model(&just, name, &lacks);
	if (rc && rc != -ENOTSUP)
		return err_set(e, -rc, "%s", lacks.text);
	for (unsigned n = 0; n < REGISTERS && !rc; n++)
		rc = (value(&just, n) ^ value(saved, n)) & ~ours[n] ? -EINVAL : 0;
	return rc ? err_set(e, EINVAL, "the saved VM's processor is no %s", name) : 0;
}

int cpuid_check(const struct cpuid *saved, const struct cpuid *host, struct err *e)
{
	for (unsigned n = 0; n < REGISTERS; n++) {
		uint32_t lacks = value(saved, n) & ~value(host, n) & ~ours[n];
		if (lacks)
			return err_set(e, EINVAL, "the saved VM's processor has features that this host lacks (bits 0x%x of CPUID %s)",
				       lacks, registers[n].name);
	}
	return 0;
}
