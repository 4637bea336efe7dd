// SPDX-License-Identifier: Apache-2.0
// Figures of the per-processor areas: each operation beside its floor, the same operation written by hand for one
// variable at a known address; and beside what one would use without such areas. All in one run, in turns, so that a
// busy machine disturbs all of them alike. Prints a table for docs/prda.md; asserts nothing.
//
//	prda-bench [ROUNDS]        (default 400; each case runs about 0.2 ms in each round)
#include <cpuid.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/rseq.h>
#include <time.h>

#include "bulkhead/prda.h"

#if !defined(__x86_64__)
int main(void)
{
	puts("the floors are written for x86-64");
	return 77;
}
#else

struct pool { uint64_t free, used; };
PRDA_TYPE(pool_prda, struct pool);

static struct prda_region *region, *locked;
static prda_u64 word, locked_word;
static prda_list list, locked_list;
static prda_ring ring;
static prda_buffer buffer, general_buffer, locked_buffer;
static prda_cache cache;
static pool_prda pool;
static struct prda_node node;
static unsigned char record[64] __attribute__((aligned(64)));
static volatile size_t record_len = 64;

// ---- Floors: what a programmer would write with one region in mind. No form to check, no CPU unknown. ----

#define INLINE static inline __attribute__((always_inline))
#define ENTER \
	".pushsection __rseq_cs, \"aw\"\n\t.balign 32\n3:\t.long 0, 0\n\t.quad 1f, 2f - 1f, 4f\n\t.popsection\n" \
	"6:\tleaq 3b(%%rip), %[t]\n\tmovq %[t], %%fs:8(%[rs])\n1:\tmovl %%fs:4(%[rs]), %k[t]\n\tshlq $19, %[t]\n\t"
#define LEAVE \
	"\n2:\t.pushsection .text.floor_abort, \"ax\"\n\t.byte 0x0f, 0xb9, 0x3d\n\t.long 0x53053053\n4:\tjmp 6b\n\t.popsection"
#define IN [rs] "r"(__rseq_offset), [a] "r"(a)
#define AT "0x80000+"

INLINE void floor_add(uintptr_t a)
{
	uint64_t t;
	__asm__ volatile(ENTER "addq $1, " AT "0(%[a], %[t])" LEAVE : [t] "=&r"(t) : IN : "memory", "cc");
}

INLINE uint64_t floor_load(uintptr_t a)
{
	uint64_t t;
	__asm__ volatile(ENTER "movq " AT "0(%[a], %[t]), %[t]" LEAVE : [t] "=&r"(t) : IN : "memory", "cc");
	return t;
}

INLINE void floor_store(uintptr_t a, uint64_t v)
{
	uint64_t t;
	__asm__ volatile(ENTER "movq %[v], " AT "0(%[a], %[t])" LEAVE : [t] "=&r"(t) : IN, [v] "r"(v) : "memory", "cc");
}

INLINE uint64_t floor_exchange(uintptr_t a, uint64_t v)
{
	uint64_t t, o;
	__asm__ volatile(ENTER "movq " AT "0(%[a], %[t]), %[o]\n\tmovq %[v], " AT "0(%[a], %[t])" LEAVE
		: [t] "=&r"(t), [o] "=&r"(o) : IN, [v] "r"(v) : "memory", "cc");
	return o;
}

INLINE bool floor_compare_store(uintptr_t a, uint64_t e, uint64_t v)
{
	uint64_t t, o;
	__asm__ volatile(ENTER "movq " AT "0(%[a], %[t]), %[o]\n\tcmpq %[e], %[o]\n\tjne 2f\n\tmovq %[v], " AT "0(%[a], %[t])" LEAVE
		: [t] "=&r"(t), [o] "=&r"(o) : IN, [v] "r"(v), [e] "r"(e) : "memory", "cc");
	return o == e;
}

INLINE void floor_push(uintptr_t a, struct prda_node *n)
{
	uint64_t t, h;
	__asm__ volatile(ENTER "movq " AT "0(%[a], %[t]), %[h]\n\tmovq %[h], (%[n])\n\tmovq %[n], " AT "0(%[a], %[t])" LEAVE
		: [t] "=&r"(t), [h] "=&r"(h) : IN, [n] "r"(n) : "memory", "cc");
}

INLINE struct prda_node *floor_pop(uintptr_t a)
{
	uint64_t t, x;
	struct prda_node *h;
	__asm__ volatile(ENTER "movq " AT "0(%[a], %[t]), %[h]\n\ttestq %[h], %[h]\n\tjz 2f\n\tmovq (%[h]), %[x]\n\t"
		"movq %[x], " AT "0(%[a], %[t])" LEAVE
		: [t] "=&r"(t), [h] "=&r"(h), [x] "=&r"(x) : IN : "memory", "cc");
	return h;
}

INLINE bool floor_put(uintptr_t a, uint64_t v)
{
	uint64_t t, i, m, s;
	__asm__ volatile(ENTER "leaq " AT "0(%[a], %[t]), %[t]\n\tmovq 8(%[t]), %[i]\n\tmovq 16(%[t]), %[m]\n\t"
		"leaq 1(%[m]), %[s]\n\taddq (%[t]), %[s]\n\tsubq %[i], %[s]\n\tjz 2f\n\tandq %[i], %[m]\n\t"
		"movq %[v], 24(%[t], %[m], 8)\n\tincq %[i]\n\tmovq %[i], 8(%[t])" LEAVE
		: [t] "=&r"(t), [i] "=&r"(i), [m] "=&r"(m), [s] "=&r"(s) : IN, [v] "r"(v) : "memory", "cc");
	return s != 0;
}

INLINE bool floor_get(uintptr_t a, uint64_t *v)
{
	uint64_t t, i, m, s;
	__asm__ volatile(ENTER "leaq " AT "0(%[a], %[t]), %[t]\n\tmovq (%[t]), %[i]\n\tmovq 8(%[t]), %[s]\n\t"
		"movq 16(%[t]), %[m]\n\tsubq %[i], %[s]\n\tjz 2f\n\tandq %[i], %[m]\n\tmovq 24(%[t], %[m], 8), %[m]\n\t"
		"incq %[i]\n\tmovq %[i], (%[t])" LEAVE
		: [t] "=&r"(t), [i] "=&r"(i), [m] "=&r"(m), [s] "=&r"(s) : IN : "memory", "cc");
	*v = m;
	return s != 0;
}

INLINE bool floor_append(uintptr_t a, const void *r)
{
	uint64_t t, u, s;
	char *h;
	__asm__ volatile(ENTER "movq " AT "0(%[a], %[t]), %[u]\n\tmovq " AT "8(%[a], %[t]), %[s]\n\taddq $64, %[u]\n\t"
		"subq %[u], %[s]\n\tjb 2f\n\tleaq " AT "0(%[a], %[t]), %[h]\n\t"
		"movups (%[r]), %%xmm0\n\tmovups 16(%[r]), %%xmm1\n\tmovups 32(%[r]), %%xmm2\n\t"
		"movups 48(%[r]), %%xmm3\n\tmovups %%xmm0, (%[h], %[u])\n\tmovups %%xmm1, 16(%[h], %[u])\n\t"
		"movups %%xmm2, 32(%[h], %[u])\n\tmovups %%xmm3, 48(%[h], %[u])\n\tmovq %[u], " AT "0(%[a], %[t])" LEAVE
		: [t] "=&r"(t), [u] "=&r"(u), [s] "=&r"(s), [h] "=&r"(h) : IN, [r] "r"(r)
		: "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3");
	return (int64_t)s >= 0;
}

/* Any length, with the copy that the library has. */
INLINE bool floor_append_any(uintptr_t a, const void *r, size_t len)
{
	uint64_t t, n, used, byte;
	const char *src;
	char *dst;
	__asm__ volatile(ENTER "leaq " AT "0(%[a], %[t]), %[t]\n\tmovq (%[t]), %[used]\n\tmovq 8(%[t]), %[byte]\n\t"
		"subq %[used], %[byte]\n\tcmpq %[len], %[byte]\n\tmovq $-1, %[n]\n\tjb 2f\n\tleaq 64(%[t], %[used]), %[dst]\n\t"
		"movq %[r], %[src]\n\tmovq %[len], %[n]\n\t" PRDA_COPY_BYTES_ "addq %[len], %[used]\n\tmovq %[used], (%[t])" LEAVE
		: [t] "=&r"(t), [n] "=&r"(n), [used] "=&r"(used), [byte] "=&q"(byte), [src] "=&r"(src), [dst] "=&r"(dst)
		: IN, [r] "r"(r), [len] "r"(len) : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3");
	return n == 0;
}

/* As generic libraries copy inside a section: byte by byte. */
INLINE bool bytewise_append(uintptr_t a, const void *r, size_t len)
{
	uint64_t t, u, s, i;
	__asm__ volatile(ENTER "leaq " AT "0(%[a], %[t]), %[t]\n\tmovq (%[t]), %[u]\n\tmovq 8(%[t]), %[s]\n\tsubq %[u], %[s]\n\t"
		"cmpq %[len], %[s]\n\tmovq $-1, %[s]\n\tjb 2f\n\tleaq 64(%[t], %[u]), %[u]\n\txorl %k[i], %k[i]\n"
		"10:\tmovb (%[r], %[i]), %b[s]\n\tmovb %b[s], (%[u], %[i])\n\tincq %[i]\n\tcmpq %[len], %[i]\n\tjb 10b\n\t"
		"xorl %k[s], %k[s]\n\tsubq %[t], %[u]\n\tleaq -64(%[u], %[len]), %[u]\n\tmovq %[u], (%[t])" LEAVE
		: [t] "=&r"(t), [u] "=&r"(u), [s] "=&q"(s), [i] "=&r"(i) : IN, [r] "r"(r), [len] "r"(len) : "memory", "cc");
	return s == 0;
}

INLINE size_t floor_take(uintptr_t a, uint64_t *out, size_t n)
{
	uint64_t t, c, i, k, x;
	__asm__ volatile(ENTER "leaq " AT "0(%[a], %[t]), %[t]\n\tmovq (%[t]), %[c]\n\tmovq %[n], %[k]\n\tcmpq %[c], %[k]\n\t"
		"cmovaq %[c], %[k]\n\tsubq %[k], %[c]\n\tleaq 16(%[t], %[c], 8), %[x]\n\txorl %k[i], %k[i]\n\tcmpq %[i], %[k]\n\tje 2f\n"
		"10:\tmovq (%[x], %[i], 8), %%xmm0\n\tmovq %%xmm0, (%[out], %[i], 8)\n\tincq %[i]\n\tcmpq %[k], %[i]\n\tjb 10b\n\t"
		"movq %[c], (%[t])" LEAVE
		: [t] "=&r"(t), [c] "=&r"(c), [i] "=&r"(i), [k] "=&r"(k), [x] "=&r"(x) : IN, [out] "r"(out), [n] "r"(n)
		: "memory", "cc", "xmm0");
	return k;
}

INLINE size_t floor_give(uintptr_t a, const uint64_t *in, size_t n)
{
	uint64_t t, c, i, k, x;
	__asm__ volatile(ENTER "leaq " AT "0(%[a], %[t]), %[t]\n\tmovq (%[t]), %[c]\n\tmovq 8(%[t]), %[x]\n\tsubq %[c], %[x]\n\t"
		"movq %[n], %[k]\n\tcmpq %[x], %[k]\n\tcmovaq %[x], %[k]\n\tleaq 16(%[t], %[c], 8), %[x]\n\txorl %k[i], %k[i]\n\t"
		"cmpq %[i], %[k]\n\tje 2f\n10:\tmovq (%[in], %[i], 8), %%xmm0\n\tmovq %%xmm0, (%[x], %[i], 8)\n\tincq %[i]\n\t"
		"cmpq %[k], %[i]\n\tjb 10b\n\taddq %[k], %[c]\n\tmovq %[c], (%[t])" LEAVE
		: [t] "=&r"(t), [c] "=&r"(c), [i] "=&r"(i), [k] "=&r"(k), [x] "=&r"(x) : IN, [in] "r"(in), [n] "r"(n)
		: "memory", "cc", "xmm0");
	return k;
}

/* if (free > 0) free--; */
INLINE bool floor_pool(uintptr_t a)
{
	uint64_t t, f;
	__asm__ volatile(ENTER "movq " AT "0(%[a], %[t]), %[f]\n\tsubq $1, %[f]\n\tjb 2f\n\tmovq %[f], " AT "0(%[a], %[t])" LEAVE
		: [t] "=&r"(t), [f] "=&r"(f) : IN : "memory", "cc");
	return (int64_t)f >= 0;
}

INLINE bool section_pool(pool_prda p)
{
	uint64_t f = 0;
	PRDA_SECTION(p,
		"movq " PRDA_HERE_("0") ", %[f]\n\t"
		"subq $1, %[f]\n\t"
		"jb 2f\n\t"
		"movq %[f], " PRDA_HERE_("0"),
		([f] "=&r"(f)), (),
		f = here->free - 1;
		if (here->free)
			__atomic_store_n(&here->free, f, __ATOMIC_RELEASE));
	return (int64_t)f >= 0;
}

// ---- What one would use otherwise. ----

static _Alignas(128) _Atomic uint64_t shared_word;
static _Alignas(128) struct { _Atomic uint64_t v; char pad[120]; } line[256];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static _Alignas(128) uint64_t plain;
static _Alignas(128) struct { struct prda_node *head; uint64_t tag; } stack;
static _Alignas(128) _Atomic uint64_t log_used;
static _Alignas(128) unsigned char log_data[1 << 12];

INLINE uint32_t rdpid(void)
{
	uint64_t id;
	__asm__ volatile("rdpid %0" : "=r"(id));
	return id & 0xff;
}

static bool have_rdpid(void)
{
	unsigned a, b, c, d;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && c & 1u << 22;
}

INLINE bool cas16(void *at, uint64_t old[2], uint64_t new0, uint64_t new1)
{
	bool ok;
	__asm__ volatile("lock cmpxchg16b %1\n\tsete %0"
		: "=q"(ok), "+m"(*(__int128 *)at), "+a"(old[0]), "+d"(old[1]) : "b"(new0), "c"(new1) : "memory", "cc");
	return ok;
}

INLINE void tagged_push(struct prda_node *n)
{
	uint64_t old[2] = { (uintptr_t)stack.head, stack.tag };
	do
		n->next = (struct prda_node *)old[0];
	while (!cas16(&stack, old, (uintptr_t)n, old[1] + 1));
}

INLINE struct prda_node *tagged_pop(void)
{
	uint64_t old[2] = { (uintptr_t)stack.head, stack.tag };
	while (old[0] && !cas16(&stack, old, (uintptr_t)((struct prda_node *)old[0])->next, old[1] + 1))
		;
	return (struct prda_node *)old[0];
}

// ---- Cases ----

/* Four in a row, as in code that does other things, too: what a loop of one costs depends on where it happens to lie. */
#define LOOP(name, ...) static __attribute__((noinline, aligned(64))) void name(long n) \
	{ for (long i_ = 0; i_ < n; i_ += 4) { { __VA_ARGS__; } { __VA_ARGS__; } { __VA_ARGS__; } { __VA_ARGS__; } } }
#define A(x) ((uintptr_t)(x).alias_)
#define RESET(b) prda_store(prda_member(prda_u64, (b), used), 0)

static uint64_t items[4];
static uint64_t sink;

LOOP(f_add, floor_add(A(word)))
LOOP(o_add, prda_add(word, 1))
LOOP(f_load, sink = floor_load(A(word)))
LOOP(o_load, sink = prda_load(word))
LOOP(f_store, floor_store(A(word), 5))
LOOP(o_store, prda_store(word, 5))
LOOP(f_exchange, sink = floor_exchange(A(word), 5))
LOOP(o_exchange, sink = prda_exchange(word, 5))
LOOP(f_compare_store, sink = floor_compare_store(A(word), 5, 5))
LOOP(o_compare_store, sink = prda_compare_store(word, 5, 5))
LOOP(f_list, floor_push(A(list), &node); floor_pop(A(list)))
LOOP(o_list, prda_push(list, &node); prda_pop(list))
LOOP(f_ring, floor_put(A(ring), 1); floor_get(A(ring), &sink))
LOOP(o_ring, prda_put(ring, 1); prda_get(ring, &sink))
LOOP(f_append, if (!floor_append(A(buffer), record)) RESET(buffer))
LOOP(o_append, if (!prda_append(buffer, record, 64)) RESET(buffer))
LOOP(f_append_any, if (!floor_append_any(A(buffer), record, record_len)) RESET(buffer))
LOOP(o_append_any, if (!prda_append(general_buffer, record, record_len)) RESET(general_buffer))
LOOP(b_append, if (!bytewise_append(A(buffer), record, record_len)) RESET(buffer))
LOOP(f_cache, floor_take(A(cache), items, 4); floor_give(A(cache), items, 4))
LOOP(o_cache, prda_take(cache, items, 4); prda_give(cache, items, 4))
LOOP(f_pool, floor_pool(A(pool)))
LOOP(o_section, section_pool(pool))
LOOP(plain_add, plain++; __asm__ volatile("" : : : "memory"))
LOOP(atomic_add, atomic_fetch_add_explicit(&shared_word, 1, memory_order_relaxed))
LOOP(rdpid_add, atomic_fetch_add_explicit(&line[rdpid()].v, 1, memory_order_relaxed))
LOOP(mutex_add, pthread_mutex_lock(&mutex); plain++; pthread_mutex_unlock(&mutex))
LOOP(tagged_list, tagged_push(&node); tagged_pop())
LOOP(xadd_append, uint64_t at = atomic_fetch_add_explicit(&log_used, 64, memory_order_relaxed) & 4095;
	memcpy(log_data + at, record, 64); __asm__ volatile("" : : : "memory"))
LOOP(locked_add, prda_add(locked_word, 1))
LOOP(locked_push_pop, prda_push(locked_list, &node); prda_pop(locked_list))
LOOP(locked_append, if (!prda_append(locked_buffer, record, 64)) RESET(locked_buffer))

/* The same with a second thread doing it, too. */
static _Atomic int helper_go;
static void (*_Atomic helper_fn)(long);

static void *helper(void *arg)
{
	for (;;) {
		void (*fn)(long) = atomic_load(&helper_fn);
		if (atomic_load(&helper_go) < 0)
			return arg;
		if (fn)
			fn(1000);
		else
			nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	}
}

struct bench {
	const char *name;
	void (*run)(long);
	int beside;      // index of the case that the ratio is to, -1: none
	bool two;        // with the helper
	long n;          // repetitions in a round
	double *ns;      // each round
};

enum { F_ADD, O_ADD, F_LOAD, O_LOAD, F_STORE, O_STORE, F_XCHG, O_XCHG, F_CAS, O_CAS, F_LIST, O_LIST, F_RING, O_RING, F_APP,
	O_APP, F_ANY, O_ANY, F_CACHE, O_CACHE, F_POOL, O_SECT, P_ADD, A_ADD, R_ADD, M_ADD, T_LIST, X_APP, B_APP, O_ADD2, A_ADD2,
	L_ADD, L_LIST, L_APP,
	CASES };

#define CASE(i, label, fn, ref, with) [i] = { .name = label, .run = fn, .beside = ref, .two = with }
static struct bench cases[CASES] = {
	CASE(F_ADD, "add: floor", f_add, -1, false), CASE(O_ADD, "prda_add", o_add, F_ADD, false),
	CASE(F_LOAD, "load: floor", f_load, -1, false), CASE(O_LOAD, "prda_load", o_load, F_LOAD, false),
	CASE(F_STORE, "store: floor", f_store, -1, false), CASE(O_STORE, "prda_store", o_store, F_STORE, false),
	CASE(F_XCHG, "exchange: floor", f_exchange, -1, false), CASE(O_XCHG, "prda_exchange", o_exchange, F_XCHG, false),
	CASE(F_CAS, "compare, store: floor", f_compare_store, -1, false),
	CASE(O_CAS, "prda_compare_store", o_compare_store, F_CAS, false),
	CASE(F_LIST, "push + pop: floor", f_list, -1, false), CASE(O_LIST, "prda_push + prda_pop", o_list, F_LIST, false),
	CASE(F_RING, "put + get: floor", f_ring, -1, false), CASE(O_RING, "prda_put + prda_get", o_ring, F_RING, false),
	CASE(F_APP, "append 64 bytes: floor", f_append, -1, false), CASE(O_APP, "prda_append, 64 constant", o_append, F_APP, false),
	CASE(F_ANY, "append, any length: floor", f_append_any, -1, false),
	CASE(O_ANY, "prda_append, any length, 64", o_append_any, F_ANY, false),
	CASE(F_CACHE, "take 4 + give 4: floor", f_cache, -1, false), CASE(O_CACHE, "prda_take + prda_give", o_cache, F_CACHE, false),
	CASE(F_POOL, "own sequence: floor", f_pool, -1, false), CASE(O_SECT, "PRDA_SECTION", o_section, F_POOL, false),
	CASE(P_ADD, "plain increment", plain_add, O_ADD, false),
	CASE(A_ADD, "atomic add, own line", atomic_add, O_ADD, false),
	CASE(R_ADD, "rdpid + atomic add", rdpid_add, O_ADD, false), CASE(M_ADD, "mutex, add", mutex_add, O_ADD, false),
	CASE(T_LIST, "push + pop, tagged pointers", tagged_list, O_LIST, false),
	CASE(X_APP, "append, reserved by xadd", xadd_append, O_APP, false),
	CASE(B_APP, "append in section, bytewise", b_append, O_APP, false),
	CASE(O_ADD2, "prda_add, 2 threads", o_add, F_ADD, true), CASE(A_ADD2, "atomic add, 2 threads", atomic_add, O_ADD2, true),
	CASE(L_ADD, "locked form: prda_add", locked_add, O_ADD, false),
	CASE(L_LIST, "locked form: push + pop", locked_push_pop, O_LIST, false),
	CASE(L_APP, "locked form: append", locked_append, O_APP, false),
};

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double once(struct bench *b)
{
	if (b->two) {
		atomic_store(&helper_fn, b->run);
		nanosleep(&(struct timespec){ .tv_nsec = 300000 }, NULL);
	}
	double start = now();
	b->run(b->n);
	double ns = (now() - start) / (double)b->n;
	if (b->two)
		atomic_store(&helper_fn, NULL);
	return ns;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double quantile(const double *v, int n, double q)
{
	double *s = malloc((size_t)n * sizeof(*s));
	memcpy(s, v, (size_t)n * sizeof(*s));
	qsort(s, (size_t)n, sizeof(*s), compare);
	double r = s[(int)(q * (n - 1) + 0.5)];
	free(s);
	return r;
}

/* Median over the rounds of the ratio within a round. */
static double ratio(const struct bench *b, int rounds)
{
	double *r = malloc((size_t)rounds * sizeof(*r));
	for (int i = 0; i < rounds; i++)
		r[i] = b->ns[i] / cases[b->beside].ns[i];
	double m = quantile(r, rounds, 0.5);
	free(r);
	return m;
}

static void make_variables(void)
{
	struct prda_options o = { .form = PRDA_LOCKED };
	int bad = prda_region_new(NULL, &region, NULL) | prda_region_new(&o, &locked, NULL);
	bad |= prda_alloc(region, &word, NULL, NULL) | prda_alloc(region, &list, NULL, NULL) | prda_alloc(region, &pool, NULL, NULL);
	bad |= prda_ring_alloc(region, &ring, 64, NULL, NULL) | prda_buffer_alloc(region, &buffer, 4096, NULL, NULL);
	bad |= prda_buffer_alloc(region, &general_buffer, 4096, NULL, NULL) | prda_cache_alloc(region, &cache, 64, NULL, NULL);
	bad |= prda_alloc(locked, &locked_word, NULL, NULL) | prda_alloc(locked, &locked_list, NULL, NULL);
	bad |= prda_buffer_alloc(locked, &locked_buffer, 4096, NULL, NULL);
	if (bad) {
		fputs("no memory for the variables\n", stderr);
		exit(1);
	}
	for (uint32_t cpu = 0; cpu < prda_region_cpus(region); cpu++) {   // nobody works yet
		prda_at(pool, cpu)->free = 1ull << 60;
		prda_at(cache, cpu)->count = 8;
	}
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 400;
	if (rounds < 1 || !prda_have_rseq()) {
		fputs("usage: prda-bench [ROUNDS], on a kernel with rseq\n", stderr);
		return 2;
	}
	make_variables();
	pthread_t t;
	if (pthread_create(&t, NULL, helper, NULL))
		return 1;
	if (!have_rdpid())
		cases[R_ADD] = cases[A_ADD];
	for (int i = 0; i < CASES; i++) {
		struct bench *b = &cases[i];
		b->ns = calloc((size_t)rounds, sizeof(*b->ns));
		b->n = 20000;
		double ns = once(b);
		b->n = (long)(2e5 / (ns > 0.1 ? ns : 0.1));
	}
	for (int r = 0; r < rounds; r++)
		for (int i = 0; i < CASES; i++)
			cases[i].ns[r] = once(&cases[i]);
	atomic_store(&helper_go, -1);
	pthread_join(t, NULL);
	printf("%-30s %8s %8s %8s   %s\n", "ns each", "median", "10 %", "90 %", "ratio: of the 10 %, median of rounds");
	for (int i = 0; i < CASES; i++) {
		struct bench *b = &cases[i];
		printf("%-30s %8.2f %8.2f %8.2f", b->name, quantile(b->ns, rounds, 0.5), quantile(b->ns, rounds, 0.1),
			quantile(b->ns, rounds, 0.9));
		if (b->beside >= 0)
			printf("   %.2f %.2f x %s", quantile(b->ns, rounds, 0.1) / quantile(cases[b->beside].ns, rounds, 0.1), ratio(b, rounds),
				cases[b->beside].name);
		putchar('\n');
	}
	return 0;
}
#endif
