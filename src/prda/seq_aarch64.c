// SPDX-License-Identifier: Apache-2.0
#include "bulkhead/prda.h"
#include "seq.h"

/* noinline, and not static: the asm defines a symbol, so there must be one copy. */
__attribute__((noinline)) bool prda_seq_store_(uint64_t *where, uint64_t v)
{
	uint64_t t, armed;
	__asm__ volatile goto(
		".pushsection __rseq_cs, \"aw\"\n\t"
		".balign 32\n\t"
		".globl prda_seq_cs_\n\t"
		".hidden prda_seq_cs_\n"
		"prda_seq_cs_:\t.long 0, 0\n\t"
		".quad 1f, 2f - 1f, 4f\n\t"
		".popsection\n\t"
		"adrp %[t], prda_seq_cs_\n\t"
		"add %[t], %[t], :lo12:prda_seq_cs_\n"
		"1:\tldr %[armed], [%[rs], #8]\n\t"
		"cmp %[armed], %[t]\n\t"
		"b.ne %l[interrupted]\n\t"
		"stlr %[v], [%[where]]\n"
		"2:\tstr xzr, [%[rs], #8]\n\t"
		".pushsection .text.prda_abort, \"ax\"\n\t"
		".inst 0xd428bc00\n"
		"4:\tb %l[interrupted]\n\t"
		".popsection"
		: [t] "=&r"(t), [armed] "=&r"(armed) : [rs] "r"(PRDA_RSEQ_), [where] "r"(where), [v] "r"(v) : PRDA_CLOBBER_
		: interrupted);
	return true;
interrupted:
	prda_seq_disarm();
	return false;
}

void prda_seq_disarm(void)
{
	__asm__ volatile("str xzr, [%[rs], #8]" : : [rs] "r"(PRDA_RSEQ_) : "memory");
}
