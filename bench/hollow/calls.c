// SPDX-License-Identifier: Apache-2.0
#include "calls.h"

#include <stdio.h>
#include <stdlib.h>

#include "../server/conn.h"

static const char *const names[CALL_KINDS] = {
	[CALL_NODE_CREATE] = "create node", [CALL_NODE_STATUS] = "node status", [CALL_LEASE_CREATE] = "create lease",
	[CALL_LEASE_RENEW] = "renew lease", [CALL_HOST_LIST] = "list for a host", [CALL_POD_RUNNING] = "pod is running",
	[CALL_POD_GONE] = "pod is gone", [CALL_POD_CREATE] = "create pod", [CALL_POD_DELETE] = "delete pod", [CALL_POD_GET] = "get pod",
	[CALL_LIST_500] = "list 500 pods",
};

static struct { uint64_t *took; size_t count, cap; } calls[CALL_KINDS];

void call_took(enum call c, uint64_t ns)
{
	if (calls[c].count == calls[c].cap) {
		calls[c].cap = calls[c].cap ? 2 * calls[c].cap : 1024;
		calls[c].took = realloc(calls[c].took, calls[c].cap * sizeof ns);
		if (!calls[c].took)
			give_up("out of memory");
	}
	calls[c].took[calls[c].count++] = ns;
}

static int cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

uint64_t calls_tell(const char *phase, const char **whose)
{
	uint64_t worst = 0;

	*whose = "none";
	for (int c = 0; c < CALL_KINDS; c++) {
		size_t n = calls[c].count;
		uint64_t *took = calls[c].took, p99;
		if (!n)
			continue;
		qsort(took, n, sizeof *took, cmp);
		p99 = took[n - 1 - n / 100];
		if (p99 > worst) {
			worst = p99;
			*whose = names[c];
		}
		printf("%s: %-16s %7zu calls  p50 %8.2f  p99 %8.2f  max %8.2f ms\n", phase, names[c], n, took[n / 2] / 1e6, p99 / 1e6,
		       took[n - 1] / 1e6);
		calls[c].count = 0;
	}
	fflush(stdout);
	return worst;
}
