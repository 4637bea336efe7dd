// SPDX-License-Identifier: Apache-2.0
// How long calls took, by kind.
#ifndef BH_BENCH_CALLS_H
#define BH_BENCH_CALLS_H

#include <stdint.h>

enum call {
	CALL_NODE_CREATE, CALL_NODE_STATUS, CALL_LEASE_CREATE, CALL_LEASE_RENEW, CALL_HOST_LIST, CALL_POD_RUNNING, CALL_POD_GONE,
	CALL_POD_CREATE, CALL_POD_DELETE, CALL_POD_GET, CALL_LIST_500, CALL_KINDS
};

void call_took(enum call c, uint64_t ns);
/* A line for each kind that was called since the last time: how often, p50, p99, max. Forgets them. Returns the worst p99, ns, and
 * whose it is. */
uint64_t calls_tell(const char *phase, const char **whose);

#endif
