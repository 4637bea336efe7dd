// SPDX-License-Identifier: Apache-2.0
// What bulkhead/prda.h is made of: names that end in _ are not for use. The critical sections are in one header per
// architecture, prda_ARCH.h; every prda_cs_NAME_ runs once and says how it ended. Here they are started again.
#ifndef BULKHEAD_PRDA_INLINE_H
#define BULKHEAD_PRDA_INLINE_H

#define PRDA_INLINE_ inline __attribute__((always_inline, unused))

/* Bit of the aliases of regions of another form than PRDA_RESTART: their operations go the slow way from the start. */
#define PRDA_TAG_ ((uintptr_t)1 << 63)

/* In front of each alias range lies a page that only this process can write. */
#define PRDA_LOCAL_GAP_ 65536
struct prda_local_ {
	struct prda_region *region;
};

static PRDA_INLINE_ const struct prda_local_ *prda_local_(uintptr_t a)
{
	return (const struct prda_local_ *)((a & ~PRDA_TAG_ & ~(uintptr_t)(PRDA_STRIDE - 1)) - PRDA_LOCAL_GAP_);
}

static PRDA_INLINE_ bool prda_straight_(uintptr_t a)
{
	return __builtin_expect((intptr_t)a >= 0, 1);
}

static PRDA_INLINE_ void *prda_at_(uintptr_t a, uint32_t slot)
{
	return (void *)((a & ~PRDA_TAG_) + ((uintptr_t)slot + 1) * PRDA_STRIDE);
}

#define PRDA_WORD_(a) ({ _Static_assert(sizeof(*(a).alias_) == 8, "this operation is for 64-bit variables"); (a); })
/* v converted as an assignment to the variable would: a pointer for a pointer, a number for a number. */
#define PRDA_VALUE_(a, v) ({ __typeof__(*(a).alias_) v_ = (v); (uint64_t)v_; })

enum prda_result_ {
	PRDA_DONE_,
	PRDA_AGAIN_,   // interrupted: nothing happened
	PRDA_SLOW_,    // cannot run here: nothing happened
};

#ifdef __clang__   // takes outputs of an asm goto for uninitialized
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wconditional-uninitialized"
#endif
#if defined(__x86_64__)
#include "bulkhead/prda_x86_64.h"
#elif defined(__aarch64__)
#include "bulkhead/prda_aarch64.h"
#else
#error "bulkhead/prda.h: critical sections are written for x86-64 and aarch64; add bulkhead/prda_ARCH.h"
#endif
#ifdef __clang__
#pragma clang diagnostic pop
#endif

int prda_alloc_(struct prda_region *r, size_t size, size_t align, const struct prda_about *about, void **alias,
	struct err *e);
void prda_free_(uintptr_t a);
void prda_define_(size_t size, size_t align, const struct prda_about *about, void **alias);
uint64_t prda_sum_(uintptr_t a);

/* Lock a slot of this CPU, and let go. Returns the plain address of the copy of a in that slot. */
struct prda_hold_ { struct prda_region *region; uint64_t mask; uint32_t slot; bool nested; };
void *prda_hold_take_(struct prda_hold_ *h, uintptr_t a);
void prda_hold_drop_(struct prda_hold_ *h);
/* Hold back preemption, if a is of a region that wants it and this thread can. End it, and count. */
bool prda_delayed_(uintptr_t a);
void prda_delayed_end_(uintptr_t a);

/* Count a restart. Returns tries + 1, or 0 when there were so many in a row (a debugger that steps) that the lock is
 * better. */
unsigned prda_restarted_(uintptr_t a, unsigned tries);

/* The operations off the straight path. why: PRDA_AGAIN_ a section was interrupted; PRDA_SLOW_ other form, or no rseq. */
void prda_slow_add_(uintptr_t a, uint64_t v, enum prda_result_ why);
uint64_t prda_slow_load_(uintptr_t a, enum prda_result_ why);
void prda_slow_store_(uintptr_t a, uint64_t v, enum prda_result_ why);
uint64_t prda_slow_exchange_(uintptr_t a, uint64_t v, enum prda_result_ why);
uint64_t prda_slow_compare_store_(uintptr_t a, uint64_t expected, uint64_t v, enum prda_result_ why);
void prda_slow_push_(uintptr_t a, struct prda_node *node, enum prda_result_ why);
struct prda_node *prda_slow_pop_(uintptr_t a, enum prda_result_ why);
bool prda_slow_put_(uintptr_t a, uint64_t v, enum prda_result_ why);
bool prda_slow_get_(uintptr_t a, uint64_t *v, enum prda_result_ why);
bool prda_slow_append_(uintptr_t a, const void *record, size_t len, enum prda_result_ why);
size_t prda_slow_flush_(uintptr_t a, void *out, size_t cap, enum prda_result_ why);
size_t prda_slow_take_(uintptr_t a, uint64_t *out, size_t n, enum prda_result_ why);
size_t prda_slow_give_(uintptr_t a, const uint64_t *in, size_t n, enum prda_result_ why);

/* ThreadSanitizer does not see the sections, so it is told that what one thread puts in, another gets out. */
#if defined(__SANITIZE_THREAD__)
#define PRDA_TSAN_ 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PRDA_TSAN_ 1
#endif
#endif
#ifdef PRDA_TSAN_
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define PRDA_TSAN_IN_(a) __tsan_release((void *)((uintptr_t)(a) & ~PRDA_TAG_))
#define PRDA_TSAN_OUT_(a) __tsan_acquire((void *)((uintptr_t)(a) & ~PRDA_TAG_))
#else
#define PRDA_TSAN_IN_(a) ((void)0)
#define PRDA_TSAN_OUT_(a) ((void)0)
#endif

/* Run a section once; slow does it if that did not, and can use why. */
#define PRDA_RUN_(a, section, slow) do { \
		const enum prda_result_ why = prda_straight_(a) ? (section) : PRDA_SLOW_; \
		if (__builtin_expect(why != PRDA_DONE_, 0)) \
			slow; \
	} while (0)

static PRDA_INLINE_ void prda_op_add_(uintptr_t a, uint64_t v)
{
	PRDA_RUN_(a, prda_cs_add_(a, v), prda_slow_add_(a, v, why));
}

static PRDA_INLINE_ uint64_t prda_op_load_(uintptr_t a)
{
	uint64_t v = 0;
	PRDA_RUN_(a, prda_cs_load_(a, &v), v = prda_slow_load_(a, why));
	PRDA_TSAN_OUT_(a);
	return v;
}

static PRDA_INLINE_ void prda_op_store_(uintptr_t a, uint64_t v)
{
	PRDA_TSAN_IN_(a);
	PRDA_RUN_(a, prda_cs_store_(a, v), prda_slow_store_(a, v, why));
}

static PRDA_INLINE_ uint64_t prda_op_exchange_(uintptr_t a, uint64_t v)
{
	uint64_t old = 0;
	PRDA_TSAN_IN_(a);
	PRDA_RUN_(a, prda_cs_exchange_(a, v, &old), old = prda_slow_exchange_(a, v, why));
	PRDA_TSAN_OUT_(a);
	return old;
}

static PRDA_INLINE_ bool prda_op_compare_store_(uintptr_t a, uint64_t expected, uint64_t v)
{
	uint64_t old = 0;
	PRDA_TSAN_IN_(a);
	PRDA_RUN_(a, prda_cs_compare_store_(a, expected, v, &old),
		old = prda_slow_compare_store_(a, expected, v, why));
	PRDA_TSAN_OUT_(a);
	return old == expected;
}

static PRDA_INLINE_ void prda_push(prda_list list, struct prda_node *node)
{
	uintptr_t a = (uintptr_t)list.alias_;
	PRDA_TSAN_IN_(a);
	PRDA_RUN_(a, prda_cs_push_(a, node), prda_slow_push_(a, node, why));
}

static PRDA_INLINE_ struct prda_node *prda_pop(prda_list list)
{
	uintptr_t a = (uintptr_t)list.alias_;
	struct prda_node *node = NULL;
	PRDA_RUN_(a, prda_cs_pop_(a, &node), node = prda_slow_pop_(a, why));
	PRDA_TSAN_OUT_(a);
	return node;
}

static PRDA_INLINE_ struct prda_node *prda_pop_all(prda_list list)
{
	return (struct prda_node *)prda_op_exchange_((uintptr_t)list.alias_, 0);
}

static PRDA_INLINE_ bool prda_put(prda_ring ring, uint64_t v)
{
	uintptr_t a = (uintptr_t)ring.alias_;
	uint64_t room = 0;
	PRDA_TSAN_IN_(a);
	PRDA_RUN_(a, prda_cs_put_(a, v, &room), room = prda_slow_put_(a, v, why));
	return room != 0;
}

static PRDA_INLINE_ bool prda_get(prda_ring ring, uint64_t *v)
{
	uintptr_t a = (uintptr_t)ring.alias_;
	uint64_t got = 0, used = 0;
	PRDA_RUN_(a, prda_cs_get_(a, &got, &used), used = prda_slow_get_(a, &got, why));
	PRDA_TSAN_OUT_(a);
	if (used == 0)
		return false;
	*v = got;
	return true;
}

static PRDA_INLINE_ bool prda_append(prda_buffer buffer, const void *record, size_t len)
{
	uintptr_t a = (uintptr_t)buffer.alias_;
	bool fits = false;
	PRDA_TSAN_IN_(a);
#ifdef PRDA_HAVE_APPEND64_
	if (__builtin_constant_p(len) && len == 64) {
		PRDA_RUN_(a, prda_wide_ ? prda_cs_append64_wide_(a, record, &fits) : prda_cs_append64_(a, record, &fits), fits = prda_slow_append_(a, record, 64, why));
		return fits;
	}
#endif
	PRDA_RUN_(a, prda_cs_append_(a, record, len, &fits), fits = prda_slow_append_(a, record, len, why));
	return fits;
}

static PRDA_INLINE_ ssize_t prda_flush(prda_buffer buffer, void *out, size_t cap)
{
	uintptr_t a = (uintptr_t)buffer.alias_;
	size_t got = 0;
	PRDA_RUN_(a, prda_cs_flush_(a, out, cap, &got), got = prda_slow_flush_(a, out, cap, why));
	PRDA_TSAN_OUT_(a);
	return got == SIZE_MAX ? -ENOSPC : (ssize_t)got;
}

static PRDA_INLINE_ size_t prda_take(prda_cache cache, uint64_t *out, size_t n)
{
	uintptr_t a = (uintptr_t)cache.alias_;
	size_t got = 0;
	PRDA_RUN_(a, prda_cs_take_(a, out, n, &got), got = prda_slow_take_(a, out, n, why));
	PRDA_TSAN_OUT_(a);
	return got;
}

static PRDA_INLINE_ size_t prda_give(prda_cache cache, const uint64_t *in, size_t n)
{
	uintptr_t a = (uintptr_t)cache.alias_;
	size_t put = 0;
	PRDA_TSAN_IN_(a);
	PRDA_RUN_(a, prda_cs_give_(a, in, n, &put), put = prda_slow_give_(a, in, n, why));
	return put;
}

#endif
