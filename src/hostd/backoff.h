// SPDX-License-Identifier: Apache-2.0
// The kubelet's back-off, for containers that end and for images that cannot be pulled: at once, then 10 s, 20 s, 40 s, ... 300 s after
// an event; from the start again after ten good minutes. No clock of its own: whoever asks says what time it is, of one clock.
#ifndef BH_HOSTD_BACKOFF_H
#define BH_HOSTD_BACKOFF_H

#include <stdint.h>

struct backoff {
	uint64_t delay_ns;   // from an event to the next try; 0: there was no try yet
	uint64_t since_ns;   // of the last try
};

/* How long from now on a try must wait after an event (the container ended, the pull failed) at event_ns; 0: it may be. Never more
 * than the delay, whatever event_ns says: a guest's clock has no say. */
uint64_t backoff_wait_ns(const struct backoff *b, uint64_t event_ns, uint64_t now_ns);
/* The try after that event is made now: the next one waits longer, unless the time up to the event was long enough to forget. */
void backoff_step(struct backoff *b, uint64_t event_ns, uint64_t now_ns);

#define BACKOFF_TEXT_MAX 24
const char *backoff_text(uint64_t delay_ns, char out[BACKOFF_TEXT_MAX]);   // "40s", "1m20s", as Go writes it; returns out

#endif
