// SPDX-License-Identifier: Apache-2.0
// How large a pod's VM and its scratch disk are: from the limits of the pod as a whole, or of its containers.
#include <stdint.h>
#include <stdio.h>
#include <sys/sysinfo.h>

#include "base/jpath.h"
#include "k8s/quantity.h"
#include "pod.h"

#define MEMORY_DEFAULT_MIB 512          // of a pod without memory limits
#define MEMORY_MIN_MIB 192

static int64_t limit_sum(const struct pod *p, const char *resource, bool *every)
{
	int64_t sum = 0, init_max = 0;
	char path[64];
	snprintf(path, sizeof(path), "resources.limits.%s", resource);
	*every = true;
	const json_t *whole = json_object_get(jpath_get(p->seen ? p->seen : p->obj, "spec.resources.limits"), resource);
	if (k8s_quantity_milli(whole, 0) > 0)
		return k8s_quantity_milli(whole, 0);
	for (size_t i = 0; i < p->containers_count; i++) {
		const struct container *c = &p->containers[i];
		int64_t milli = k8s_quantity_milli(jpath_get(container_spec(p, c), path), -1);
		if (c->kind == CONTAINER_EPHEMERAL)
			continue;
		*every &= milli > 0;
		if (milli > 0 && c->kind == CONTAINER_INIT)
			init_max = milli > init_max ? milli : init_max;
		else if (milli > 0 && __builtin_add_overflow(sum, milli, &sum))
			sum = INT64_MAX;
	}
	return sum > init_max ? sum : init_max;
}

static unsigned host_mib(void)
{
	struct sysinfo si;
	sysinfo(&si);
	return (unsigned)((uint64_t)si.totalram * si.mem_unit >> 20);
}

unsigned pod_memory_mib(const struct pod *p)
{
	bool every;
	int64_t mib = limit_sum(p, "memory", &every) / 1000 / (1 << 20);
	if (!every)
		mib += MEMORY_DEFAULT_MIB;
	mib += POD_MEMORY_OVERHEAD_MIB;
	int64_t host = host_mib();
	if (mib > host)
		mib = host;   // a limit is a promise of the pod, not of the host
	return templates_memory_class(mib < MEMORY_MIN_MIB ? MEMORY_MIN_MIB : (unsigned)((mib + 1) / 2 * 2), (unsigned)host);
}

unsigned pod_vcpus(const struct pod *p)
{
	bool every;
	unsigned host = (unsigned)get_nprocs();
	int64_t n = (limit_sum(p, "cpu", &every) + 999) / 1000;
	return n < 1 ? 1 : n > host ? host : (unsigned)n;
}

uint64_t pod_scratch_bytes(const struct pod *p)
{
	bool every;
	int64_t sum = 0;
	json_t *spec_limit;
	for (size_t i = 0; i < p->containers_count; i++) {
		json_t *limits = jpath_get(container_spec(p, &p->containers[i]), "resources.limits");
		spec_limit = json_object_get(limits, "ephemeral-storage");
		every = spec_limit != NULL;
		sum += every ? k8s_quantity_value(spec_limit, 0) : 0;
	}
	uint64_t want = (uint64_t)sum + (1ull << 30);
	return want > POD_SCRATCH_BYTES ? want : POD_SCRATCH_BYTES;
}
