// SPDX-License-Identifier: Apache-2.0
// What the scheduler and the controllers run on: a thread that follows kinds through watches, hands changes to its units
// in order, and lets each do its work when all that is known has been handed over. It sleeps while nothing happens.
#ifndef BH_SERVER_LOOP_H
#define BH_SERVER_LOOP_H

#include <stdint.h>

#include "base/err.h"
#include "server/server.h"
#include "server/store.h"

struct loop;

#define LOOP_NEVER UINT64_MAX

struct unit_source {
	const char *group, *version, *plural;     // plural "*": objects of all kinds
	/* type: EVENT_*; o: borrowed. */
	void (*changed)(void *unit, int type, struct obj *o);
	/* Forget what was seen of this kind: everything that is there now comes again as ADDED. NULL: nothing to forget. */
	void (*reset)(void *unit);
};

struct unit_ops {
	const char *name;
	const struct unit_source *sources;         // ended by plural NULL
	int (*open)(struct server *srv, void **unit, struct err *e);
	/* All sources are complete up to now. Returns the monotonic time (ns) at which to be called again at the latest, or
	 * LOOP_NEVER. May block for commits. */
	uint64_t (*work)(void *unit, uint64_t now);
	void (*close)(void *unit);
};

/* ops: ended by NULL. The thread starts at once. */
int loop_start(struct server *srv, const char *name, const struct unit_ops *const *ops, struct loop **l, struct err *e);
void loop_stop(struct loop *l);   // NULL is fine

#endif
