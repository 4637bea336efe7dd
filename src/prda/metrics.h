// SPDX-License-Identifier: Apache-2.0
// The counters of a program: PRDA variables with names, in a region file under the runtime folder
// (ROOT/run/metrics/PROGRAM.PID.prda), so that `bulkhead top` and `/metrics` of hostd read those of all programs.
//
//	struct metrics *m;
//	metrics_open("/run/bulkhead/metrics", "pagerd", &m, &e);
//	prda_u64 faults = metrics_counter(m, "bulkhead_pager_faults_total", NULL, "page faults resolved");
//	prda_add(faults, 1);                                        // anywhere, any thread, any signal handler
//
// Making a metric never fails: when the region is full (about 1900 names, 1 MiB), or a name is bad, it is a variable
// that nobody reads, and a warning is logged once.
#ifndef BH_METRICS_H
#define BH_METRICS_H

#include "base/buf.h"
#include "bulkhead/prda.h"

struct metrics;

/* dir: made if need be; NULL: nobody will read (tests, one-shot commands). program: for the file's name and the label
 * program="..."; letters, digits, '-'. The file is removed by metrics_close, and by metrics_sweep once the process is
 * gone. Returns 0 or -errno, text in e. */
int metrics_open(const char *dir, const char *program, struct metrics **m, struct err *e);

/* The same in a region that another process made (hostd, for a jailed vmx). fd: borrowed. */
int metrics_attach(int fd, struct metrics **m, struct err *e);

/* A region for a process that cannot make one: a sealed memfd. program as above. Returns the descriptor, the caller's,
 * or -errno. Readers find it if the maker keeps it open and links DIR/PROGRAM.ID.prda to /proc/PID/fd/N. */
int metrics_make_fd(const char *program, struct err *e);

void metrics_close(struct metrics *m);   // no thread counts any more. NULL: nothing
struct prda_region *metrics_region(struct metrics *m);

/* labels: NULL, or key="value",... with \\, \" and \n in values escaped (metrics_label does it). Strings are copied.
 * Names: [a-zA-Z_:][a-zA-Z0-9_:]*; counters end in _total. May block; not for signal handlers. */
prda_u64 metrics_counter(struct metrics *m, const char *name, const char *labels, const char *help);
prda_u64 metrics_gauge(struct metrics *m, const char *name, const char *labels, const char *help);   // add +n, -n

/* Values by their number of bits: bucket 0 counts zeroes, bucket n values from 2^(n-1) to 2^n - 1. */
struct metrics_histogram_ { uint64_t sum, bucket[65]; };
PRDA_TYPE(metrics_histogram, struct metrics_histogram_);
metrics_histogram metrics_histogram_new(struct metrics *m, const char *name, const char *labels, const char *help);

static inline void metrics_observe(metrics_histogram h, uint64_t v)
{
	int bits = v ? 64 - __builtin_clzll(v) : 0;
	prda_add(((prda_u64){ &h.alias_->bucket[bits] }), 1);
	prda_add(prda_member(prda_u64, h, sum), v);
}

/* Give a gauge one value. For gauges that nobody adds to; one thread at a time. */
void metrics_gauge_set(prda_u64 gauge, int64_t v);

/* Take away what belongs to an object that is gone (a pod). No thread may use it any more. */
#define metrics_remove(metric) prda_free(metric)

/* Append key="value", value escaped, to a labels text (a comma before it unless it is the first). 0 or -ENOMEM. */
int metrics_label(struct buf *labels, const char *key, const char *value);

/* Prometheus text (version 0.0.4) of all regions in dir, each sample with program="..." and pid="..." in front of its
 * labels. Files that cannot be read are left out. Returns 0 or -errno. */
int metrics_text(const char *dir, struct buf *out, struct err *e);

/* Remove the files of processes that are gone. Returns how many, or -errno. */
int metrics_sweep(const char *dir, struct err *e);

#endif
