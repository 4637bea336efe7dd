// SPDX-License-Identifier: Apache-2.0
// The metrics of all programs of a cluster, kept mapped. Looking at the folder takes system calls; reading the values,
// however many there are, takes none, and nobody who counts notices it. Everything in the regions is checked.
#ifndef BH_METRICS_VIEW_H
#define BH_METRICS_VIEW_H

#include "bulkhead/prda_reader.h"
#include "metrics_name.h"

struct metrics_view;

struct metrics_view *metrics_view_new(const char *dir);   // NULL: no memory
void metrics_view_free(struct metrics_view *v);           // NULL: nothing

/* Look who is there: map regions that came, drop those whose process is gone and remove their links, where that is
 * allowed. Returns 0 or -errno, text in e: the folder cannot be read. */
int metrics_view_refresh(struct metrics_view *v, struct err *e);

size_t metrics_view_regions(const struct metrics_view *v);
size_t metrics_view_refused(const struct metrics_view *v);      // regions there are that could not be read
const char *metrics_view_refusal(const struct metrics_view *v); // of one of them, why; "" when none

/* Call fn for every metric of every region. fn: s, r, m are valid during the call; its value is prda_reader_sum(r, m, 0),
 * of a histogram sum and buckets word by word. No system calls but fn's. */
typedef void metrics_read_fn(void *user, const struct metrics_source *s, const struct prda_reader *r,
	const struct prda_variable *m);
void metrics_view_read(const struct metrics_view *v, metrics_read_fn *fn, void *user);

#endif
