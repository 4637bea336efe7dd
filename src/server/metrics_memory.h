// SPDX-License-Identifier: Apache-2.0
// Memory of pods' VMs in metrics.k8s.io: annotations bulkhead.dev/resident, shared, compressed and ballooned, of a pod and, as sums, of its
// node. They are no `usage` of a container, because a VM's memory is not a container's; what is compressed is, as `swap`, which the node
// has divided among the containers.
#ifndef BH_SERVER_METRICS_MEMORY_H
#define BH_SERVER_METRICS_MEMORY_H

#include <jansson.h>
#include <stdbool.h>

#define METRICS_MEMORY_KINDS 4

struct metrics_memory {
	long long bytes[METRICS_MEMORY_KINDS];
	bool said;                            // by any pod: a node of another make does not
};

/* Add what a pod of a node's /stats/summary says in bulkheadMemory. */
void metrics_memory_add(struct metrics_memory *m, const json_t *pod);
/* {"bulkhead.dev/resident": "12Ki", ...}, new reference; NULL: nobody has said. */
json_t *metrics_memory_annotations(const struct metrics_memory *m);

#endif
