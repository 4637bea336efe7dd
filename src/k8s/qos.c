// SPDX-License-Identifier: Apache-2.0
// Quality-of-service class of a pod: from requests and limits of CPU and memory, its own if it has `resources`, else those of
// all its containers.
#include <stdint.h>
#include <string.h>

#include "base/jpath.h"
#include "hooks.h"
#include "quantity.h"

struct sums {
	int64_t request[2], limit[2];   // of CPU, of memory; milli
	bool all_limited;               // every container limits both
};

static const char *const names[] = {"cpu", "memory"};

/* of: a container or the pod's spec. */
static void add_resources(struct sums *s, const json_t *of)
{
	for (int r = 0; r < 2; r++) {
		const json_t *requests = jpath_get(of, "resources.requests"), *limits = jpath_get(of, "resources.limits");
		int64_t request = k8s_quantity_milli(json_object_get(requests, names[r]), 0);
		int64_t limit = k8s_quantity_milli(json_object_get(limits, names[r]), 0);
		if (request > 0 && __builtin_add_overflow(s->request[r], request, &s->request[r]))
			s->request[r] = INT64_MAX;
		if (limit > 0 && __builtin_add_overflow(s->limit[r], limit, &s->limit[r]))
			s->limit[r] = INT64_MAX;
		s->all_limited &= limit > 0;
	}
}

static void add_containers(struct sums *s, const json_t *list)
{
	size_t i;
	json_t *c;
	json_array_foreach(list, i, c)
		add_resources(s, c);
}

const char *k8s_pod_qos(const json_t *pod)
{
	struct sums s = {.all_limited = true};
	const json_t *spec = json_object_get(pod, "spec");
	if (json_is_object(json_object_get(spec, "resources"))) {   // whatever is in there, the containers' are not looked at
		add_resources(&s, spec);
	} else {
		add_containers(&s, json_object_get(spec, "containers"));
		add_containers(&s, json_object_get(spec, "initContainers"));
	}
	if (!s.request[0] && !s.request[1] && !s.limit[0] && !s.limit[1])
		return "BestEffort";
	bool equal = s.request[0] == s.limit[0] && s.request[1] == s.limit[1];
	return s.all_limited && equal ? "Guaranteed" : "Burstable";
}
