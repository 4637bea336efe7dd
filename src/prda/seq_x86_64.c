// SPDX-License-Identifier: Apache-2.0
#include "bulkhead/prda.h"
#include "seq.h"

/* noinline, and not static: the asm defines a symbol, so there must be one copy. */
__attribute__((noinline)) bool prda_seq_store_(uint64_t *where, uint64_t v)
{
	uint64_t t;
	__asm__ volatile goto(
		".pushsection __rseq_cs, \"aw\"\n\t"
		".balign 32\n\t"
		".globl prda_seq_cs_\n\t"
		".hidden prda_seq_cs_\n"
		"prda_seq_cs_:\t.long 0, 0\n\t"
		".quad 1f, 2f - 1f, 4f\n\t"
		".popsection\n\t"
		"leaq prda_seq_cs_(%%rip), %[t]\n"
		"1:\tcmpq %[t], %%fs:8(%[rs])\n\t"
		"jne %l[interrupted]\n\t"
		PRDA_POINT_(3)
		"movq %[v], (%[where])\n"
		"2:\tmovq $0, %%fs:8(%[rs])\n\t"
		".pushsection .text.prda_abort, \"ax\"\n\t"
		".byte 0x0f, 0xb9, 0x3d\n\t"
		".long 0x53053053\n"
		"4:\tjmp %l[interrupted]\n\t"
		".popsection"
		: [t] "=&r"(t) : [rs] "r"(__rseq_offset), [where] "r"(where), [v] "r"(v) : PRDA_CLOBBER_ : interrupted);
	return true;
interrupted:
	prda_seq_disarm();
	return false;
}

void prda_seq_disarm(void)
{
	__asm__ volatile("movq $0, %%fs:8(%[rs])" : : [rs] "r"(__rseq_offset) : "memory");
}
