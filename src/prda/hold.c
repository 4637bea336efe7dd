// SPDX-License-Identifier: Apache-2.0
// Locked form: the lock of one slot, held while an operation runs on it in plain C.
//
// A holder can be stopped in three ways. Killed: its process's seat is empty, and the next one takes the lock over; the
// area is consistent, because operations in this form, too, end in one store. Interrupted by a signal whose handler uses
// the library: the handler finds that its thread holds something, and uses the last slot, with all signals blocked, so
// that there is no third level. Preempted: the others wait, giving up the CPU.
#include "region.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define SPINS 128
#define LIVENESS_CHECK_NS (2 * NS_PER_MS)

/* This thread holds, or is about to hold, a lock. */
static _Thread_local volatile sig_atomic_t busy;
static _Thread_local uint32_t thread_id;

/* The system call itself: its mask is eight bytes, sigset_t has 128. */
static void mask_signals(uint64_t mask, uint64_t *old)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, old, sizeof(mask));
}

static uint64_t token(const struct prda_region *r)
{
	if (thread_id == 0)
		thread_id = (uint32_t)gettid();
	return (uint64_t)r->seat << 32 | thread_id;
}

static void lock_slot(struct prda_region *r, struct prda_area *area)
{
	const uint64_t mine = token(r);
	uint64_t waited_for = 0, since = 0;
	for (unsigned i = 0;; i++) {
		uint64_t owner = 0;
		if (atomic_compare_exchange_weak_explicit(&area->lock, &owner, mine, memory_order_acquire, memory_order_relaxed))
			return;
		if (i < SPINS)
			continue;
		uint64_t now = clock_mono_ns();
		if (owner != waited_for) {
			waited_for = owner;
			since = now;
		} else if (owner && now - since > LIVENESS_CHECK_NS) {
			since = now;
			if (prda_seat_empty(r, (uint32_t)(owner >> 32)) && atomic_compare_exchange_strong_explicit(&area->lock, &owner,
					mine, memory_order_acquire, memory_order_relaxed)) {
				area->takeovers++;
				return;
			}
		}
		if (i < 2 * SPINS)
			sched_yield();
		else
			nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
	}
}

void *prda_hold_take_(struct prda_hold_ *h, uintptr_t a)
{
	struct prda_region *r = prda_region_of(a);
	int saved = errno;
	h->region = r;
	h->nested = busy != 0;
	if (h->nested) {
		mask_signals(UINT64_MAX, &h->mask);
		h->slot = r->slots - 1;
	} else {
		int cpu = sched_getcpu();
		h->slot = r->cpus + (cpu < 0 ? 0 : (uint32_t)cpu % r->cpus);
	}
	if (!atomic_load_explicit(&r->shared->locked_used, memory_order_relaxed))
		atomic_store(&r->shared->locked_used, 1);
	if (!h->nested)
		busy = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	struct prda_area *area = prda_area(r, h->slot);
	lock_slot(r, area);
	area->locked++;
	errno = saved;
	return prda_at_(a, h->slot);
}

void prda_hold_drop_(struct prda_hold_ *h)
{
	atomic_store_explicit(&prda_area(h->region, h->slot)->lock, 0, memory_order_release);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (h->nested)
		mask_signals(h->mask, NULL);
	else
		busy = 0;
}
