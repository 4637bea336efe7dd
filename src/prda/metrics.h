// SPDX-License-Identifier: Apache-2.0
// The counters of a program: the named variables of its process region, which it puts into shared memory at start and
// links from the cluster's folder, so that `bulkhead top` and `/metrics` of hostd read those of all programs.
//
//	PRDA_DEFINE_COUNTER(faults, "bulkhead_pager_faults_total", "page faults taken");  // bulkhead/prda.h
//	metrics_open("/var/lib/bulkhead/run/metrics", "pagerd", NULL, &m, &e);            // in main, before threads
//	prda_add(faults, 1);                                        // anywhere, any thread, any signal handler
//
// Names: [a-zA-Z_:][a-zA-Z0-9_:]*; counters end in _total. About 1900 of them fit.
//
// DIR/PROGRAM.PID.prda, or PROGRAM@NAMESPACE_POD.PID.prda for a process of one VM, is a link to /proc/PID/fd/N, a sealed
// memfd. Who counts is said by the link, which the process cannot change once it has given up its privileges; what is
// in the region, its process can make up.
#ifndef BH_METRICS_H
#define BH_METRICS_H

#include "base/buf.h"
#include "bulkhead/prda.h"

struct metrics;

/* Share the process region and link it. dir: made if need be; NULL: nobody will read (tests, one-shot commands).
 * program: 1 to 31 letters, digits, '-'. vm: "namespace/pod" of the VM that the process belongs to, or NULL.
 * Call while there is one thread. Returns 0 and *m, or -errno, text in e. */
int metrics_open(const char *dir, const char *program, const char *vm, struct metrics **m, struct err *e);

void metrics_close(struct metrics *m);   // removes the link. NULL: nothing

/* Metrics of objects that come and go, in the process region. Making one never fails: when the region is full, or a name
 * is bad, it is a variable that nobody reads, and a warning is logged once.
 * labels: NULL, or key="value",... with \\, \" and \n in values escaped (metrics_label does it); not program, pid, vm, le.
 * Strings are copied. May block; not for signal handlers. */
prda_u64 metrics_counter(const char *name, const char *labels, const char *help);
prda_u64 metrics_gauge(const char *name, const char *labels, const char *help);   // add +n, -n

/* Values by their number of bits: bucket 0 counts zeroes, bucket n values from 2^(n-1) to 2^n - 1. */
struct metrics_histogram_ { uint64_t sum, bucket[65]; };
PRDA_TYPE(metrics_histogram, struct metrics_histogram_);
metrics_histogram metrics_histogram_new(const char *name, const char *labels, const char *help);

/* A static one: METRICS_DEFINE_HISTOGRAM(latency, "bulkhead_pager_fault_ns", "how long faults took"); */
#define METRICS_DEFINE_HISTOGRAM(variable, name, help) \
	PRDA_DEFINE_(static, metrics_histogram, variable, PRDA_HISTOGRAM, name, help)

static inline void metrics_observe(metrics_histogram h, uint64_t v)
{
	int bits = v ? 64 - __builtin_clzll(v) : 0;
	prda_add(((prda_u64){ &h.alias_->bucket[bits] }), 1);
	prda_add(prda_member(prda_u64, h, sum), v);
}

/* Give a gauge one value. For gauges that nobody adds to; one thread at a time. */
void metrics_gauge_set(prda_u64 gauge, int64_t v);

/* Take away what belongs to an object that is gone (a pod). No thread may use it any more. */
#define metrics_remove(metric) metrics_remove_(prda_number(metric))
void metrics_remove_(uintptr_t alias);

/* Remove the links of processes that are gone: of this number (0: none), or of this VM (NULL: none). A killed process, and
 * a jailed one at its end, leaves its link; who reads removes it as well. */
void metrics_forget(const char *dir, uint32_t pid, const char *vm);

/* The process of this number counted for no VM, and does for this one now. For whoever may write in dir. 0 or -errno. */
int metrics_assign(const char *dir, const char *program, uint32_t pid, const char *vm);

/* Append key="value", value escaped, to a labels text (a comma before it unless it is the first). 0 or -ENOMEM. */
int metrics_label(struct buf *labels, const char *key, const char *value);

/* Prometheus text (version 0.0.4) of all regions in dir, each sample with program="...", pid="..." and vm="..." in front
 * of its labels. Regions that cannot be read are left out. Returns 0 or -errno. */
int metrics_text(const char *dir, struct buf *out, struct err *e);

#endif
