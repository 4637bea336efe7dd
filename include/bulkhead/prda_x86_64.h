// SPDX-License-Identifier: Apache-2.0
// The critical sections of bulkhead/prda.h for x86-64. Not for direct use, with one exception: PRDA_SECTION_ENTER_ and
// PRDA_SECTION_LEAVE_ are what prda_section() is made of.
//
// Each section is one asm block:
//
//	    descriptor (start, length, abort address) in section __rseq_cs
//	    rseq->rseq_cs = &descriptor
//	1:  t = rseq->cpu_id << 16               from here on the kernel watches
//	    if (t < 0) goto slow                 this thread has no rseq
//	    ... alias + PRDA_STRIDE + t * 8 is this CPU's copy
//	    ... loads, and stores to what nobody looks at yet ...
//	    one store: the commit
//	2:  ...
//	4:  preceded by the signature: the kernel goes here when 1..2 was interrupted
//
// volatile, because gcc takes an asm goto whose outputs nobody reads for one without effect.
// Label numbers 1-6 belong to the frame, 80-82 to the test hooks; bodies use 10 and up. In bodies
// PRDA_HERE_("disp")  is this CPU's copy, disp bytes in.
//
// The shift costs nothing: the four bytes from the middle of cpu_id_start, which is no more than 65535, to the middle of
// cpu_id are cpu_id * 65536, and negative where cpu_id is; the address multiplies by 8. So the stride is 512 KiB.
#ifndef BULKHEAD_PRDA_X86_64_H
#define BULKHEAD_PRDA_X86_64_H

#ifdef PRDA_TEST_HOOKS
/* Numbered points inside the sections, for tests: prda_hook[n] > 0 spins as often, < 0 raises SIGTRAP, once, whose handler
 * gives up the CPU. (Not by a system call: sections have none, and kernels do not look for them on the way back.) */
extern volatile int prda_hook[8];
#define PRDA_POINT_(n) \
	"movl prda_hook+4*" #n "(%%rip), %%r10d\n\t" \
	"testl %%r10d, %%r10d\n\t" \
	"jz 82f\n\t" \
	"js 81f\n" \
	"80:\tdecl %%r10d\n\t" \
	"jnz 80b\n\t" \
	"jmp 82f\n" \
	"81:\tmovl $0, prda_hook+4*" #n "(%%rip)\n\t" \
	"int3\n" \
	"82:\n\t"
#define PRDA_CLOBBER_ "memory", "cc", "r10"
#define PRDA_SPARE_ "rm"   /* the hooks need registers */
#else
#define PRDA_POINT_(n) ""
#define PRDA_SPARE_ "r"
#define PRDA_CLOBBER_ "memory", "cc"
#endif

#ifdef PRDA_UNLOADABLE
#define PRDA_FORGET_ "movq $0, %%fs:8(%[rs])\n\t"
#else
#define PRDA_FORGET_ ""
#endif

#define PRDA_SECTION_ENTER_ \
	".pushsection __rseq_cs, \"aw\"\n\t" \
	".balign 32\n" \
	"3:\t.long 0, 0\n\t" \
	".quad 1f, 2f - 1f, 4f\n\t" \
	".popsection\n\t" \
	"leaq 3b(%%rip), %[t]\n\t" \
	"movq %[t], %%fs:8(%[rs])\n" \
	"1:\t" PRDA_POINT_(0) \
	"movl %%fs:2(%[rs]), %k[t]\n\t" \
	"testl %k[t], %k[t]\n\t" \
	"js %l[slow]\n\t" PRDA_POINT_(1)

#define PRDA_SECTION_LEAVE_ \
	"\n2:\t" PRDA_FORGET_ \
	".pushsection .text.prda_abort, \"ax\"\n\t" \
	".byte 0x0f, 0xb9, 0x3d\n\t" \
	".long 0x53053053\n" \
	"4:\tjmp %l[again]\n\t" \
	".popsection\n\t"

#define PRDA_HERE_(offset) "0x80000+" offset "(%[a], %[t], 8)"
#define PRDA_COPY_ADDRESS_ "leaq " PRDA_HERE_("0") ", %[t]\n\t"   /* from here on %[t] is this CPU's copy */
#define PRDA_IN_ [rs] "r"(__rseq_offset), [a] "r"(a)

/* What follows the asm of each section. */
#define PRDA_RESULTS_ \
	return PRDA_DONE_; \
again: \
	return PRDA_AGAIN_; \
slow: \
	return PRDA_SLOW_

static PRDA_INLINE_ enum prda_result_ prda_cs_add_(uintptr_t a, uint64_t v)
{
	uint64_t t;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"addq %[v], " PRDA_HERE_("0")
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t) : PRDA_IN_, [v] "er"(v) : PRDA_CLOBBER_ : again, slow);
	PRDA_RESULTS_;
}

static PRDA_INLINE_ enum prda_result_ prda_cs_load_(uintptr_t a, uint64_t *out)
{
	uint64_t t;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"movq " PRDA_HERE_("0") ", %[t]"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t) : PRDA_IN_ : PRDA_CLOBBER_ : again, slow);
	*out = t;
	PRDA_RESULTS_;
}

static PRDA_INLINE_ enum prda_result_ prda_cs_store_(uintptr_t a, uint64_t v)
{
	uint64_t t;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"movq %[v], " PRDA_HERE_("0")
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t) : PRDA_IN_, [v] "er"(v) : PRDA_CLOBBER_ : again, slow);
	PRDA_RESULTS_;
}

static PRDA_INLINE_ enum prda_result_ prda_cs_exchange_(uintptr_t a, uint64_t v, uint64_t *old)
{
	uint64_t t, was;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"movq " PRDA_HERE_("0") ", %[was]\n\t"
		PRDA_POINT_(2)
		"movq %[v], " PRDA_HERE_("0")
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [was] "=&r"(was) : PRDA_IN_, [v] "er"(v) : PRDA_CLOBBER_ : again, slow);
	*old = was;
	PRDA_RESULTS_;
}

/* The store happened if *old == expected afterwards. */
static PRDA_INLINE_ enum prda_result_ prda_cs_compare_store_(uintptr_t a, uint64_t expected,
	uint64_t v, uint64_t *old)
{
	uint64_t t, was;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"movq " PRDA_HERE_("0") ", %[was]\n\t"
		PRDA_POINT_(2)
		"cmpq %[expected], %[was]\n\t"
		"jne 2f\n\t"
		PRDA_POINT_(3)
		"movq %[v], " PRDA_HERE_("0")
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [was] "=&r"(was) : PRDA_IN_, [v] "er"(v), [expected] "er"(expected) : PRDA_CLOBBER_
		: again, slow);
	*old = was;
	PRDA_RESULTS_;
}

static PRDA_INLINE_ enum prda_result_ prda_cs_push_(uintptr_t a, struct prda_node *node)
{
	uint64_t t, head;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"movq " PRDA_HERE_("0") ", %[head]\n\t"
		PRDA_POINT_(2)
		"movq %[head], (%[node])\n\t"
		PRDA_POINT_(3)
		"movq %[node], " PRDA_HERE_("0")
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [head] "=&r"(head) : PRDA_IN_, [node] "r"(node) : PRDA_CLOBBER_ : again, slow);
	PRDA_RESULTS_;
}

static PRDA_INLINE_ enum prda_result_ prda_cs_pop_(uintptr_t a, struct prda_node **out)
{
	uint64_t t, next;
	struct prda_node *head;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"movq " PRDA_HERE_("0") ", %[head]\n\t"
		PRDA_POINT_(2)
		"testq %[head], %[head]\n\t"
		"jz 2f\n\t"
		"movq (%[head]), %[next]\n\t"
		PRDA_POINT_(3)
		"movq %[next], " PRDA_HERE_("0")
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [head] "=&r"(head), [next] "=&r"(next) : PRDA_IN_ : PRDA_CLOBBER_ : again, slow);
	*out = head;
	PRDA_RESULTS_;
}

/* struct prda_ring_: head 0, tail 8, mask 16, slot[] 24. *room: 0 when the ring was full and nothing happened. */
static PRDA_INLINE_ enum prda_result_ prda_cs_put_(uintptr_t a, uint64_t v, uint64_t *room)
{
	uint64_t t, tail, at, space;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		PRDA_COPY_ADDRESS_
		"movq 8(%[t]), %[tail]\n\t"
		"movq 16(%[t]), %[at]\n\t"
		"leaq 1(%[at]), %[space]\n\t"
		"addq (%[t]), %[space]\n\t"
		PRDA_POINT_(2)
		"subq %[tail], %[space]\n\t"                        /* mask + 1 + head - tail */
		"jz 2f\n\t"
		"andq %[tail], %[at]\n\t"
		"movq %[v], 24(%[t], %[at], 8)\n\t"
		"incq %[tail]\n\t"
		PRDA_POINT_(3)
		"movq %[tail], 8(%[t])"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [tail] "=&r"(tail), [at] "=&r"(at), [space] "=&r"(space)
		: PRDA_IN_, [v] "er"(v) : PRDA_CLOBBER_ : again, slow);
	*room = space;
	PRDA_RESULTS_;
}

/* *used: 0 when the ring was empty and nothing happened. */
static PRDA_INLINE_ enum prda_result_ prda_cs_get_(uintptr_t a, uint64_t *out, uint64_t *used)
{
	uint64_t t, head, at, filled;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		PRDA_COPY_ADDRESS_
		"movq (%[t]), %[head]\n\t"
		"movq 8(%[t]), %[filled]\n\t"
		PRDA_POINT_(2)
		"movq 16(%[t]), %[at]\n\t"
		"subq %[head], %[filled]\n\t"
		"jz 2f\n\t"
		"andq %[head], %[at]\n\t"
		"movq 24(%[t], %[at], 8), %[at]\n\t"
		"incq %[head]\n\t"
		PRDA_POINT_(3)
		"movq %[head], (%[t])"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [head] "=&r"(head), [at] "=&r"(at), [filled] "=&r"(filled)
		: PRDA_IN_ : PRDA_CLOBBER_ : again, slow);
	*out = at;
	*used = filled;
	PRDA_RESULTS_;
}

/* Copy %[n] bytes from %[src] to %[dst]; all three are used up. */
#define PRDA_COPY_BYTES_ \
	"cmpq $64, %[n]\n\t" \
	"jb 12f\n" \
	"11:\tmovups (%[src]), %%xmm0\n\t" \
	"movups 16(%[src]), %%xmm1\n\t" \
	"movups 32(%[src]), %%xmm2\n\t" \
	"movups 48(%[src]), %%xmm3\n\t" \
	"movups %%xmm0, (%[dst])\n\t" \
	"movups %%xmm1, 16(%[dst])\n\t" \
	"movups %%xmm2, 32(%[dst])\n\t" \
	"movups %%xmm3, 48(%[dst])\n\t" \
	"addq $64, %[src]\n\t" \
	"addq $64, %[dst]\n\t" \
	"subq $64, %[n]\n\t" \
	"cmpq $64, %[n]\n\t" \
	"jae 11b\n\t" \
	"testq %[n], %[n]\n\t" \
	"jz 15f\n" \
	"12:\tsubq $8, %[n]\n\t" \
	"jb 13f\n\t" \
	"movq (%[src]), %%xmm0\n\t" \
	"movq %%xmm0, (%[dst])\n\t" \
	"addq $8, %[src]\n\t" \
	"addq $8, %[dst]\n\t" \
	"jmp 12b\n" \
	"13:\taddq $8, %[n]\n\t" \
	"jz 15f\n" \
	"14:\tmovb (%[src]), %b[byte]\n\t" \
	"movb %b[byte], (%[dst])\n\t" \
	"incq %[src]\n\t" \
	"incq %[dst]\n\t" \
	"decq %[n]\n\t" \
	"jnz 14b\n" \
	"15:\t"

/* struct prda_buffer_: used 0, size 8, data[] 16. *fits: false when there was no room and nothing happened. */
static PRDA_INLINE_ enum prda_result_ prda_cs_append_(uintptr_t a, const void *record, size_t len,
	bool *fits)
{
	uint64_t t, n, used, byte;
	const char *src;
	char *dst;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		PRDA_COPY_ADDRESS_
		"movq (%[t]), %[used]\n\t"
		"movq 8(%[t]), %[byte]\n\t"
		"subq %[used], %[byte]\n\t"
		"cmpq %[len], %[byte]\n\t"
		"movq $-1, %[n]\n\t"
		"jb 2f\n\t"
		"leaq 64(%[t], %[used]), %[dst]\n\t"
		"movq %[record], %[src]\n\t"
		"movq %[len], %[n]\n\t"
		PRDA_POINT_(2)
		PRDA_COPY_BYTES_
		"addq %[len], %[used]\n\t"
		PRDA_POINT_(3)
		"movq %[used], (%[t])"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [n] "=&r"(n), [used] "=&r"(used), [byte] "=&q"(byte), [src] "=&r"(src), [dst] "=&r"(dst)
		: PRDA_IN_, [record] PRDA_SPARE_(record), [len] "e" PRDA_SPARE_(len)
		: PRDA_CLOBBER_, "xmm0", "xmm1", "xmm2", "xmm3" : again, slow);
	*fits = n == 0;   /* all copied */
	PRDA_RESULTS_;
}

typedef long long prda_v16_ __attribute__((vector_size(16), aligned(1), may_alias));

/* The same for records of exactly 64 bytes, which are in registers before the section starts. */
static PRDA_INLINE_ enum prda_result_ prda_cs_append64_(uintptr_t a, const void *record, bool *fits)
{
	const prda_v16_ *v = (const prda_v16_ *)record;
	uint64_t t, used, room;
	char *here;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"movq " PRDA_HERE_("0") ", %[used]\n\t"
		"movq " PRDA_HERE_("8") ", %[room]\n\t"
		"addq $64, %[used]\n\t"
		"subq %[used], %[room]\n\t"
		"jb 2f\n\t"
		"leaq " PRDA_HERE_("0") ", %[here]\n\t"
		PRDA_POINT_(2)
		"movups %[v0], (%[here], %[used])\n\t"
		"movups %[v1], 16(%[here], %[used])\n\t"
		PRDA_POINT_(3)
		"movups %[v2], 32(%[here], %[used])\n\t"
		"movups %[v3], 48(%[here], %[used])\n\t"
		"movq %[used], " PRDA_HERE_("0")
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [used] "=&r"(used), [room] "=&r"(room), [here] "=&r"(here)
		: PRDA_IN_, [v0] "x"(v[0]), [v1] "x"(v[1]), [v2] "x"(v[2]), [v3] "x"(v[3]) : PRDA_CLOBBER_ : again, slow);
	*fits = (int64_t)room >= 0;
	PRDA_RESULTS_;
}

/* The processor has 64-byte registers, and the kernel keeps them. */
extern bool prda_wide_;

#ifdef __AVX512F__
#define PRDA_CLOBBER_WIDE_ PRDA_CLOBBER_, "xmm16"
#else
#define PRDA_CLOBBER_WIDE_ PRDA_CLOBBER_   /* the compiler does not know it */
#endif

/* The same by one store. Register 16 and not 0, whose upper part would have to be cleared again for the sake of SSE code. */
static PRDA_INLINE_ enum prda_result_ prda_cs_append64_wide_(uintptr_t a, const void *record, bool *fits)
{
	uint64_t t, used, room;
	__asm__ volatile goto("vmovdqu64 (%[record]), %%zmm16\n\t"
		PRDA_SECTION_ENTER_
		PRDA_COPY_ADDRESS_
		"movq (%[t]), %[used]\n\t"
		"movq 8(%[t]), %[room]\n\t"
		"addq $64, %[used]\n\t"
		"subq %[used], %[room]\n\t"
		"jb 2f\n\t"
		PRDA_POINT_(2)
		"vmovdqu64 %%zmm16, (%[t], %[used])\n\t"          /* data, and 64 back */
		PRDA_POINT_(3)
		"movq %[used], (%[t])"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [used] "=&r"(used), [room] "=&r"(room)
		: PRDA_IN_, [record] "r"(record) : PRDA_CLOBBER_WIDE_ : again, slow);
	*fits = (int64_t)room >= 0;
	PRDA_RESULTS_;
}
#define PRDA_HAVE_APPEND64_ 1

/* *got: bytes copied out, the buffer now empty; or SIZE_MAX when cap was too small and nothing happened. */
static PRDA_INLINE_ enum prda_result_ prda_cs_flush_(uintptr_t a, void *out, size_t cap, size_t *got)
{
	uint64_t t, n, used, byte;
	const char *src;
	char *dst;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		PRDA_COPY_ADDRESS_
		"movq (%[t]), %[n]\n\t"
		"movq $-1, %[used]\n\t"
		"cmpq %[n], %[cap]\n\t"
		"jb 2f\n\t"
		"movq %[n], %[used]\n\t"
		"leaq 64(%[t]), %[src]\n\t"
		"movq %[out], %[dst]\n\t"
		PRDA_POINT_(2)
		PRDA_COPY_BYTES_
		PRDA_POINT_(3)
		"movq $0, (%[t])"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [n] "=&r"(n), [used] "=&r"(used), [byte] "=&q"(byte), [src] "=&r"(src), [dst] "=&r"(dst)
		: PRDA_IN_, [out] PRDA_SPARE_(out), [cap] PRDA_SPARE_(cap)
		: PRDA_CLOBBER_, "xmm0", "xmm1", "xmm2", "xmm3" : again, slow);
	*got = used;
	PRDA_RESULTS_;
}

/* struct prda_cache_: count 0, size 8, item[] 16. *got: how many of the topmost n items went to out. */
static PRDA_INLINE_ enum prda_result_ prda_cs_take_(uintptr_t a, uint64_t *out, size_t n, size_t *got)
{
	uint64_t t, left, i, k, item;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		PRDA_COPY_ADDRESS_
		"movq (%[t]), %[left]\n\t"
		"movq %[n], %[k]\n\t"
		"cmpq %[left], %[k]\n\t"
		"cmovaq %[left], %[k]\n\t"
		"subq %[k], %[left]\n\t"
		PRDA_POINT_(2)
		"leaq 16(%[t], %[left], 8), %[item]\n\t"
		"xorl %k[i], %k[i]\n\t"
		"cmpq %[i], %[k]\n\t"
		"je 2f\n"
		"10:\tmovq (%[item], %[i], 8), %%xmm0\n\t"
		"movq %%xmm0, (%[out], %[i], 8)\n\t"
		"incq %[i]\n\t"
		"cmpq %[k], %[i]\n\t"
		"jb 10b\n\t"
		PRDA_POINT_(3)
		"movq %[left], (%[t])"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [left] "=&r"(left), [i] "=&r"(i), [k] "=&r"(k), [item] "=&r"(item)
		: PRDA_IN_, [out] "r"(out), [n] "er"(n) : PRDA_CLOBBER_, "xmm0" : again, slow);
	*got = k;
	PRDA_RESULTS_;
}

/* *put: how many of the n items found room. */
static PRDA_INLINE_ enum prda_result_ prda_cs_give_(uintptr_t a, const uint64_t *in, size_t n,
	size_t *put)
{
	uint64_t t, count, i, k, item;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		PRDA_COPY_ADDRESS_
		"movq (%[t]), %[count]\n\t"
		"movq 8(%[t]), %[item]\n\t"
		"subq %[count], %[item]\n\t"
		"movq %[n], %[k]\n\t"
		"cmpq %[item], %[k]\n\t"
		"cmovaq %[item], %[k]\n\t"
		PRDA_POINT_(2)
		"leaq 16(%[t], %[count], 8), %[item]\n\t"
		"xorl %k[i], %k[i]\n\t"
		"cmpq %[i], %[k]\n\t"
		"je 2f\n"
		"10:\tmovq (%[in], %[i], 8), %%xmm0\n\t"
		"movq %%xmm0, (%[item], %[i], 8)\n\t"
		"incq %[i]\n\t"
		"cmpq %[k], %[i]\n\t"
		"jb 10b\n\t"
		"addq %[k], %[count]\n\t"
		PRDA_POINT_(3)
		"movq %[count], (%[t])"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [count] "=&r"(count), [i] "=&r"(i), [k] "=&r"(k), [item] "=&r"(item)
		: PRDA_IN_, [in] "r"(in), [n] "er"(n) : PRDA_CLOBBER_, "xmm0" : again, slow);
	*put = k;
	PRDA_RESULTS_;
}

#endif
