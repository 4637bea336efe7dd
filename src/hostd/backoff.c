// SPDX-License-Identifier: Apache-2.0
// See backoff.h.
#include "backoff.h"

#include <stdbool.h>
#include <stdio.h>

#include "base/clock.h"

#define FIRST_NS (10 * NS_PER_S)
#define MAX_NS (300 * NS_PER_S)
#define GOOD_NS (2 * MAX_NS)   // longer than this from a try to the next event, and what was before is forgotten

static bool is_forgotten(const struct backoff *b, uint64_t event_ns)
{
	return !b->delay_ns || (event_ns > b->since_ns && event_ns - b->since_ns > GOOD_NS);
}

static uint64_t not_after(uint64_t event_ns, uint64_t now_ns) { return event_ns < now_ns ? event_ns : now_ns; }

uint64_t backoff_wait_ns(const struct backoff *b, uint64_t event_ns, uint64_t now_ns)
{
	event_ns = not_after(event_ns, now_ns);
	if (is_forgotten(b, event_ns) || now_ns - event_ns >= b->delay_ns)
		return 0;
	return b->delay_ns - (now_ns - event_ns);
}

void backoff_step(struct backoff *b, uint64_t event_ns, uint64_t now_ns)
{
	if (is_forgotten(b, not_after(event_ns, now_ns)))
		b->delay_ns = FIRST_NS;
	else
		b->delay_ns = b->delay_ns > MAX_NS / 2 ? MAX_NS : b->delay_ns * 2;
	b->since_ns = now_ns;
}

const char *backoff_text(uint64_t delay_ns, char out[BACKOFF_TEXT_MAX])
{
	unsigned long long s = delay_ns / NS_PER_S;
	if (s < 60)
		snprintf(out, BACKOFF_TEXT_MAX, "%llus", s);
	else
		snprintf(out, BACKOFF_TEXT_MAX, "%llum%llus", s / 60, s % 60);
	return out;
}
