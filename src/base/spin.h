// SPDX-License-Identifier: Apache-2.0
// Looking for the next request for a short while before sleeping: whoever sends one request at a time sends the next soon
// after the answer, and being awake then saves the wake-up, which costs more than the request. Where it does not help it is
// done less and less often, down to once in 256 waits; and at once that seldom where others want the processor.
#ifndef BH_SPIN_H
#define BH_SPIN_H

#include <stdbool.h>
#include <stdint.h>

struct spin {               // of one thread and what it waits for; zeroed to begin with
	unsigned misses;    // in a row
	unsigned pause;     // waits to make without looking first
};

/* Call there(arg) again and again for at most ns. Returns whether it was true once; false at once when it is not worth it. */
bool spin_for(struct spin *s, uint64_t ns, bool (*there)(void *arg), void *arg);

#endif
