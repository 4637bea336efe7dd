// SPDX-License-Identifier: Apache-2.0
// The critical sections of bulkhead/prda.h for aarch64. See prda_x86_64.h, which has the explanations; the differences:
// PRDA_SECTION_ENTER_ leaves the address of this CPU's copy in %[t] (PRDA_COPY_ADDRESS_ is empty), and stores that publish
// what was stored before them are releases, for readers on other CPUs. No numbered points.
#ifndef BULKHEAD_PRDA_AARCH64_H
#define BULKHEAD_PRDA_AARCH64_H

#define PRDA_POINT_(n) ""
#define PRDA_CLOBBER_ "memory", "cc"

#ifdef PRDA_TEST_HOOKS
extern volatile int prda_hook[8];   // used by the locked form only
#endif

#ifdef PRDA_UNLOADABLE
#define PRDA_FORGET_ "str xzr, [%[rs], #8]\n\t"
#else
#define PRDA_FORGET_ ""
#endif

#define PRDA_SECTION_ENTER_ \
	".pushsection __rseq_cs, \"aw\"\n\t" \
	".balign 32\n" \
	"3:\t.long 0, 0\n\t" \
	".quad 1f, 2f - 1f, 4f\n\t" \
	".popsection\n\t" \
	"adrp %[t], 3b\n\t" \
	"add %[t], %[t], :lo12:3b\n\t" \
	"str %[t], [%[rs], #8]\n" \
	"1:\tldr %w[t], [%[rs], #4]\n\t" \
	"tbnz %w[t], #31, %l[slow]\n\t" \
	"add %[t], %[a], %[t], lsl #19\n\t" \
	"add %[t], %[t], #0x80, lsl #12\n\t"

#define PRDA_SECTION_LEAVE_ \
	"\n2:\t" PRDA_FORGET_ \
	".pushsection .text.prda_abort, \"ax\"\n\t" \
	".inst 0xd428bc00\n" \
	"4:\tb %l[again]\n\t" \
	".popsection\n\t"

#define PRDA_COPY_ADDRESS_ ""
#define PRDA_RSEQ_ ((char *)__builtin_thread_pointer() + __rseq_offset)
#define PRDA_IN_ [rs] "r"(PRDA_RSEQ_), [a] "r"(a)

#define PRDA_RESULTS_ \
	return PRDA_DONE_; \
again: \
	return PRDA_AGAIN_; \
slow: \
	return PRDA_SLOW_

static PRDA_INLINE_ enum prda_result_ prda_cs_add_(uintptr_t a, uint64_t v)
{
	uint64_t t, sum;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"ldr %[sum], [%[t]]\n\t"
		"add %[sum], %[sum], %[v]\n\t"
		"str %[sum], [%[t]]"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [sum] "=&r"(sum) : PRDA_IN_, [v] "r"(v) : PRDA_CLOBBER_ : again, slow);
	PRDA_RESULTS_;
}

static PRDA_INLINE_ enum prda_result_ prda_cs_load_(uintptr_t a, uint64_t *out)
{
	uint64_t t;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"ldr %[t], [%[t]]"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t) : PRDA_IN_ : PRDA_CLOBBER_ : again, slow);
	*out = t;
	PRDA_RESULTS_;
}

static PRDA_INLINE_ enum prda_result_ prda_cs_store_(uintptr_t a, uint64_t v)
{
	uint64_t t;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"stlr %[v], [%[t]]"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t) : PRDA_IN_, [v] "r"(v) : PRDA_CLOBBER_ : again, slow);
	PRDA_RESULTS_;
}

static PRDA_INLINE_ enum prda_result_ prda_cs_exchange_(uintptr_t a, uint64_t v, uint64_t *old)
{
	uint64_t t, was;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"ldr %[was], [%[t]]\n\t"
		"stlr %[v], [%[t]]"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [was] "=&r"(was) : PRDA_IN_, [v] "r"(v) : PRDA_CLOBBER_ : again, slow);
	*old = was;
	PRDA_RESULTS_;
}

static PRDA_INLINE_ enum prda_result_ prda_cs_compare_store_(uintptr_t a, uint64_t expected,
	uint64_t v, uint64_t *old)
{
	uint64_t t, was;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"ldr %[was], [%[t]]\n\t"
		"cmp %[was], %[expected]\n\t"
		"b.ne 2f\n\t"
		"stlr %[v], [%[t]]"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [was] "=&r"(was) : PRDA_IN_, [v] "r"(v), [expected] "r"(expected) : PRDA_CLOBBER_ : again, slow);
	*old = was;
	PRDA_RESULTS_;
}

static PRDA_INLINE_ enum prda_result_ prda_cs_push_(uintptr_t a, struct prda_node *node)
{
	uint64_t t, head;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"ldr %[head], [%[t]]\n\t"
		"str %[head], [%[node]]\n\t"
		"stlr %[node], [%[t]]"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [head] "=&r"(head) : PRDA_IN_, [node] "r"(node) : PRDA_CLOBBER_ : again, slow);
	PRDA_RESULTS_;
}

static PRDA_INLINE_ enum prda_result_ prda_cs_pop_(uintptr_t a, struct prda_node **out)
{
	uint64_t t, next;
	struct prda_node *head;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"ldr %[head], [%[t]]\n\t"
		"cbz %[head], 2f\n\t"
		"ldr %[next], [%[head]]\n\t"
		"str %[next], [%[t]]"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [head] "=&r"(head), [next] "=&r"(next) : PRDA_IN_ : PRDA_CLOBBER_ : again, slow);
	*out = head;
	PRDA_RESULTS_;
}

static PRDA_INLINE_ enum prda_result_ prda_cs_put_(uintptr_t a, uint64_t v, uint64_t *room)
{
	uint64_t t, tail, at, space;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"ldar %[space], [%[t]]\n\t"                         /* the consumer may be on another CPU */
		"ldp %[tail], %[at], [%[t], #8]\n\t"
		"add %[space], %[space], %[at]\n\t"
		"add %[space], %[space], #1\n\t"
		"subs %[space], %[space], %[tail]\n\t"
		"b.eq 2f\n\t"
		"and %[at], %[at], %[tail]\n\t"
		"add %[at], %[t], %[at], lsl #3\n\t"
		"str %[v], [%[at], #24]\n\t"
		"add %[tail], %[tail], #1\n\t"
		"add %[at], %[t], #8\n\t"
		"stlr %[tail], [%[at]]"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [tail] "=&r"(tail), [at] "=&r"(at), [space] "=&r"(space)
		: PRDA_IN_, [v] "r"(v) : PRDA_CLOBBER_ : again, slow);
	*room = space;
	PRDA_RESULTS_;
}

static PRDA_INLINE_ enum prda_result_ prda_cs_get_(uintptr_t a, uint64_t *out, uint64_t *used)
{
	uint64_t t, head, at, filled;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"ldp %[head], %[filled], [%[t]]\n\t"
		"ldr %[at], [%[t], #16]\n\t"
		"subs %[filled], %[filled], %[head]\n\t"
		"b.eq 2f\n\t"
		"and %[at], %[at], %[head]\n\t"
		"add %[at], %[t], %[at], lsl #3\n\t"
		"ldr %[at], [%[at], #24]\n\t"
		"add %[head], %[head], #1\n\t"
		"stlr %[head], [%[t]]"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [head] "=&r"(head), [at] "=&r"(at), [filled] "=&r"(filled)
		: PRDA_IN_ : PRDA_CLOBBER_ : again, slow);
	*out = at;
	*used = filled;
	PRDA_RESULTS_;
}

#define PRDA_COPY_BYTES_ \
	"10:\tsubs %[n], %[n], #64\n\t" \
	"b.lo 11f\n\t" \
	"ldp q0, q1, [%[src]], #32\n\t" \
	"ldp q2, q3, [%[src]], #32\n\t" \
	"stp q0, q1, [%[dst]], #32\n\t" \
	"stp q2, q3, [%[dst]], #32\n\t" \
	"b 10b\n" \
	"11:\tadd %[n], %[n], #64\n" \
	"12:\tsubs %[n], %[n], #8\n\t" \
	"b.lo 13f\n\t" \
	"ldr %[byte], [%[src]], #8\n\t" \
	"str %[byte], [%[dst]], #8\n\t" \
	"b 12b\n" \
	"13:\tadds %[n], %[n], #8\n\t" \
	"b.eq 15f\n" \
	"14:\tldrb %w[byte], [%[src]], #1\n\t" \
	"strb %w[byte], [%[dst]], #1\n\t" \
	"subs %[n], %[n], #1\n\t" \
	"b.ne 14b\n" \
	"15:\t"

static PRDA_INLINE_ enum prda_result_ prda_cs_append_(uintptr_t a, const void *record, size_t len,
	bool *fits)
{
	uint64_t t, n, used, byte;
	const char *src;
	char *dst;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"ldp %[used], %[byte], [%[t]]\n\t"
		"mov %[n], #-1\n\t"
		"sub %[byte], %[byte], %[used]\n\t"
		"cmp %[byte], %[len]\n\t"
		"b.lo 2f\n\t"
		"add %[dst], %[t], %[used]\n\t"
		"add %[dst], %[dst], #64\n\t"
		"mov %[src], %[record]\n\t"
		"mov %[n], %[len]\n\t"
		PRDA_COPY_BYTES_
		"add %[used], %[used], %[len]\n\t"
		"stlr %[used], [%[t]]"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [n] "=&r"(n), [used] "=&r"(used), [byte] "=&r"(byte), [src] "=&r"(src), [dst] "=&r"(dst)
		: PRDA_IN_, [record] "r"(record), [len] "r"(len)
		: PRDA_CLOBBER_, "v0", "v1", "v2", "v3" : again, slow);
	*fits = n == 0;
	PRDA_RESULTS_;
}

static PRDA_INLINE_ enum prda_result_ prda_cs_flush_(uintptr_t a, void *out, size_t cap, size_t *got)
{
	uint64_t t, n, used, byte;
	const char *src;
	char *dst;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"ldr %[n], [%[t]]\n\t"
		"mov %[used], #-1\n\t"
		"cmp %[cap], %[n]\n\t"
		"b.lo 2f\n\t"
		"mov %[used], %[n]\n\t"
		"add %[src], %[t], #64\n\t"
		"mov %[dst], %[out]\n\t"
		PRDA_COPY_BYTES_
		"stlr xzr, [%[t]]"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [n] "=&r"(n), [used] "=&r"(used), [byte] "=&r"(byte), [src] "=&r"(src), [dst] "=&r"(dst)
		: PRDA_IN_, [out] "r"(out), [cap] "r"(cap)
		: PRDA_CLOBBER_, "v0", "v1", "v2", "v3" : again, slow);
	*got = used;
	PRDA_RESULTS_;
}

static PRDA_INLINE_ enum prda_result_ prda_cs_take_(uintptr_t a, uint64_t *out, size_t n, size_t *got)
{
	uint64_t t, left, i, k, at, item;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"ldr %[left], [%[t]]\n\t"
		"cmp %[n], %[left]\n\t"
		"csel %[k], %[n], %[left], lo\n\t"
		"sub %[left], %[left], %[k]\n\t"
		"cbz %[k], 2f\n\t"
		"add %[at], %[t], %[left], lsl #3\n\t"
		"add %[at], %[at], #16\n\t"
		"mov %[i], #0\n"
		"10:\tldr %[item], [%[at], %[i], lsl #3]\n\t"
		"str %[item], [%[out], %[i], lsl #3]\n\t"
		"add %[i], %[i], #1\n\t"
		"cmp %[i], %[k]\n\t"
		"b.lo 10b\n\t"
		"stlr %[left], [%[t]]"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [left] "=&r"(left), [i] "=&r"(i), [k] "=&r"(k), [at] "=&r"(at), [item] "=&r"(item)
		: PRDA_IN_, [out] "r"(out), [n] "r"(n) : PRDA_CLOBBER_ : again, slow);
	*got = k;
	PRDA_RESULTS_;
}

static PRDA_INLINE_ enum prda_result_ prda_cs_give_(uintptr_t a, const uint64_t *in, size_t n,
	size_t *put)
{
	uint64_t t, count, i, k, at, item;
	__asm__ volatile goto(PRDA_SECTION_ENTER_
		"ldp %[count], %[item], [%[t]]\n\t"
		"sub %[item], %[item], %[count]\n\t"
		"cmp %[n], %[item]\n\t"
		"csel %[k], %[n], %[item], lo\n\t"
		"cbz %[k], 2f\n\t"
		"add %[at], %[t], %[count], lsl #3\n\t"
		"add %[at], %[at], #16\n\t"
		"mov %[i], #0\n"
		"10:\tldr %[item], [%[in], %[i], lsl #3]\n\t"
		"str %[item], [%[at], %[i], lsl #3]\n\t"
		"add %[i], %[i], #1\n\t"
		"cmp %[i], %[k]\n\t"
		"b.lo 10b\n\t"
		"add %[count], %[count], %[k]\n\t"
		"stlr %[count], [%[t]]"
		PRDA_SECTION_LEAVE_
		: [t] "=&r"(t), [count] "=&r"(count), [i] "=&r"(i), [k] "=&r"(k), [at] "=&r"(at), [item] "=&r"(item)
		: PRDA_IN_, [in] "r"(in), [n] "r"(n) : PRDA_CLOBBER_ : again, slow);
	*put = k;
	PRDA_RESULTS_;
}

#endif
