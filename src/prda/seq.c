// SPDX-License-Identifier: Apache-2.0
// Sequences in C. prda_seq_begin names prda_seq_cs_ as this thread's critical section while the thread is still outside
// of its range, and the kernel's rule for that (include/uapi/linux/rseq.h, member rseq_cs) is to clear the name when it
// preempts the thread, moves it, or delivers a signal to it. The range itself is the commit: is the name still there?
// then store. So the compiler may put what it likes between begin and commit.
#include "hold.h"
#include "seq.h"

/* prda_seq.how. SEQ_LOCKED + 1: by a signal handler that interrupted something locked. */
enum { SEQ_STRAIGHT, SEQ_DELAYED, SEQ_LOCKED };

/* Of the locked sequence that this thread runs: there is one, and perhaps one of a signal handler. */
static _Thread_local struct prda_hold_ holds[2];

void *prda_seq_begin_slow_(struct prda_seq *q, uintptr_t alias)
{
	const uintptr_t a = alias & ~PRDA_TAG_;
	if (alias & PRDA_TAG_ && q->tries <= PRDA_SEQ_TRIES_ && prda_delayed(a)) {
		q->how = SEQ_DELAYED;
		return prda_at_(a, prda_seq_arm_());
	}
	struct prda_hold_ hold;
	void *p = prda_hold_take(&hold, a);
	q->how = SEQ_LOCKED + hold.nested;
	holds[hold.nested] = hold;
	return p;
}

bool prda_seq_commit_slow_(struct prda_seq *q, uint64_t *where, uint64_t v)
{
	bool done = false;
	if (q->how >= SEQ_LOCKED) {
		__atomic_store_n(where, v, __ATOMIC_RELEASE);
		prda_hold_drop(&holds[q->how - SEQ_LOCKED]);
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
	if (q->how >= SEQ_LOCKED)
		prda_hold_drop(&holds[q->how - SEQ_LOCKED]);
	else
		prda_seq_disarm();
	if (q->how == SEQ_DELAYED)
		prda_delayed_end(q->alias);
	q->how = SEQ_STRAIGHT;
}
