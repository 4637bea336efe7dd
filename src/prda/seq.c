// SPDX-License-Identifier: Apache-2.0
// Sequences in C. prda_seq_begin names prda_seq_cs_ as this thread's critical section while the thread is still outside
// of its range, and the kernel's rule for that (include/uapi/linux/rseq.h, member rseq_cs) is to clear the name when it
// preempts the thread, moves it, or delivers a signal to it. The range itself is the commit: is the name still there?
// then store. So the compiler may put what it likes between begin and commit.
#include "hold.h"
#include "seq.h"

enum { SEQ_STRAIGHT, SEQ_DELAYED, SEQ_LOCKED };   // prda_seq.how

void *prda_seq_begin_slow_(struct prda_seq *q, uintptr_t a)
{
	if (q->tries <= PRDA_SEQ_TRIES_ && prda_delayed(a)) {
		uint32_t cpu = prda_seq_arm_();
		if (cpu < prda_local_(a)->cpus) {
			q->how = SEQ_DELAYED;
			return prda_at_(a, cpu);
		}
		prda_delayed_end(a);
	}
	q->how = SEQ_LOCKED;
	return prda_hold_take(&q->hold, a);
}

bool prda_seq_commit_slow_(struct prda_seq *q, uint64_t *where, uint64_t v)
{
	bool done = false;
	if (q->how == SEQ_LOCKED) {
		__atomic_store_n(where, v, __ATOMIC_RELEASE);
		prda_hold_drop(&q->hold);
		done = true;
	} else if (q->how == SEQ_DELAYED) {
		done = prda_seq_store_(where, v);
		prda_delayed_end(q->alias);
	}
	q->how = SEQ_STRAIGHT;
	if (!done) {
		prda_count(prda_region_of(q->alias), restarts);
		q->tries++;
	}
	return done;
}

void prda_seq_cancel(struct prda_seq *q)
{
	if (q->how == SEQ_LOCKED)
		prda_hold_drop(&q->hold);
	else
		prda_seq_disarm();
	if (q->how == SEQ_DELAYED)
		prda_delayed_end(q->alias);
	q->how = SEQ_STRAIGHT;
}
