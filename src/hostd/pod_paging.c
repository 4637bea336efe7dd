// SPDX-License-Identifier: Apache-2.0
// How a pod's VM shares the host's memory with the others: what it reserves, what it may have, and its weight when pages
// must be taken from somebody. From requests, limits and quality-of-service class.
#include <string.h>

#include "base/jpath.h"
#include "base/log.h"
#include "k8s/hooks.h"
#include "k8s/quantity.h"
#include "pager_client.h"
#include "pod.h"

static const struct { const char *qos; unsigned shares; } weights[] = {
	{"BestEffort", 50}, {"Burstable", 100}, {"Guaranteed", 200},
};

static uint64_t requested_bytes(const json_t *pod)
{
	int64_t whole = k8s_quantity_value(jpath_get(pod, "spec.resources.requests.memory"), 0);
	uint64_t sum = 0;
	size_t i;
	json_t *c;
	if (whole > 0)
		return (uint64_t)whole;
	json_array_foreach(jpath_get(pod, "spec.containers"), i, c) {
		json_t *requests = jpath_get(c, "resources.requests");
		int64_t n = k8s_quantity_value(json_object_get(requests, "memory"), 0);
		if (n > 0 && __builtin_add_overflow(sum, (uint64_t)n, &sum))
			return UINT64_MAX;
	}
	return sum;
}

void pod_weigh(const json_t *pod, uint64_t memory_bytes, struct vm_paging *out)
{
	const char *qos = k8s_pod_qos(pod);
	uint64_t asked = requested_bytes(pod), overhead = (uint64_t)POD_MEMORY_OVERHEAD_MIB << 20;
	out->limit_bytes = memory_bytes;
	if (!strcmp(qos, "Guaranteed") || asked > memory_bytes - overhead)
		out->reserve_bytes = memory_bytes;
	else
		out->reserve_bytes = asked ? asked + overhead : 0;
	for (size_t i = 0; i < sizeof(weights) / sizeof(weights[0]); i++)
		if (!strcmp(qos, weights[i].qos))
			out->shares = weights[i].shares;
}

const struct vm_paging *pod_paging(const struct pod *p, unsigned memory_mib, struct vm_paging *out)
{
	if (!p->host->pager)
		return NULL;
	*out = (struct vm_paging){.client = p->host->pager};
	pod_weigh(p->seen, (uint64_t)memory_mib << 20, out);
	return out;
}

bool pod_paging_works(const struct pod *p)
{
	char why[256];
	if (!p->host->pager || pager_client_usable(p->host->pager, why, sizeof(why)))
		return p->host->pager;
	log_warn("pods", "%s/%s: memory is not paged: %s", p->ns, p->name, why);
	return false;
}
