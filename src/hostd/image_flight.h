// SPDX-License-Identifier: Apache-2.0
// Work that must happen once although several threads ask for it: the first one does it, the others wait for its
// result.
#ifndef BH_HOSTD_IMAGE_FLIGHT_H
#define BH_HOSTD_IMAGE_FLIGHT_H

#include <stdint.h>

#include "base/err.h"

struct flights;
struct flight;

typedef void flight_progress_fn(void *user, const char *stage, uint64_t done, uint64_t total);

struct flight_job {
	const char *key;                 // what is the same work
	int (*work)(void *ctx, struct flight *f, struct err *e);
	void *ctx;
	flight_progress_fn *progress;    // this caller's; may be NULL
	void *user;
	const volatile int *cancel;      // this caller's; may be NULL
};

struct flights *flights_new(void);         // NULL: no memory
void flights_free(struct flights *t);      // nobody may be inside

/* Do the work, or wait for the thread that does it. Returns the work's result and error, whoever did it; -ECANCELED
 * when this caller's cancel was set. A worker that was cancelled hands the work to one of those who wait. */
int flight_run(struct flights *t, const struct flight_job *job, struct err *e);

/* Called by work: tells everyone who waits. stage: static string. */
void flight_report(struct flight *f, const char *stage, uint64_t done, uint64_t total);

#endif
