// SPDX-License-Identifier: Apache-2.0
// What controllers need to know of a pod, taken from it once.
#ifndef BH_SERVER_CONTROLLERS_POD_INFO_H
#define BH_SERVER_CONTROLLERS_POD_INFO_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pod_phase { POD_PENDING, POD_RUNNING, POD_SUCCEEDED, POD_FAILED, POD_UNKNOWN };

struct pod_info {
	char *name, *uid, *node;       // node "": it has none yet
	char *revision;                // label controller-revision-hash or pod-template-hash; ""
	enum pod_phase phase;
	bool ready, deleting;
	bool killed;                   // deleting, and its node has said that nothing of it runs
	bool tracked;                  // holds the finalizer of jobs that count their pods
	int restarts;                  // of all containers
	long index;                    // of an Indexed job; -1: none
	long index_failures;           // how many pods of that index failed before it
	uint64_t created_ns;           // real time
	uint64_t ready_ns;             // when it became ready
	uint64_t finished_ns;          // when its last container ended
};

int pod_info_init(struct pod_info *p, const json_t *pod);    // 0 or -ENOMEM (then p is empty)
void pod_info_fini(struct pod_info *p);

static inline bool pod_is_over(const struct pod_info *p) { return p->phase == POD_SUCCEEDED || p->phase == POD_FAILED; }
static inline bool pod_is_active(const struct pod_info *p) { return !pod_is_over(p) && !p->deleting; }

/* Ready for at least so long. When it is not but will be, *next (may be NULL) is lowered to that real time. */
bool pod_is_available(const struct pod_info *p, long long min_ready_s, uint64_t now, uint64_t *next);

/* Order of deletion: those that are missed least come first (for qsort of struct pod_info *). */
int pod_compare_missed(const void *a, const void *b);

/* A pod from a workload's template: labels, annotations, spec, and owner as its controller. new. */
json_t *pod_from_template(const json_t *template_, const json_t *owner);

#endif
