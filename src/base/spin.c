// SPDX-License-Identifier: Apache-2.0
// Looking before sleeping; see spin.h.
#include "spin.h"

#include "base/clock.h"

#define MISSES_MAX 8
#define LOST_NS 50000   // between two looks: somebody else had the processor

static void missed(struct spin *s, unsigned misses)
{
	s->misses = misses < MISSES_MAX ? misses : MISSES_MAX;
	s->pause = (1u << s->misses) - 1;
}

bool spin_for(struct spin *s, uint64_t ns, bool (*there)(void *arg), void *arg)
{
	if (s->pause) {
		s->pause--;
		return false;
	}
	for (uint64_t now = clock_mono_ns(), end = now + ns, last; now < end;) {
		if (there(arg)) {
			s->misses = 0;
			return true;
		}
		last = now;
		now = clock_mono_ns();
		if (now - last > LOST_NS) {
			missed(s, MISSES_MAX);
			return there(arg);
		}
	}
	missed(s, s->misses + 1);
	return false;
}
