// SPDX-License-Identifier: Apache-2.0
// How long the stages of a pod's start took: kept with the pod, and counted in the histograms of /metrics.
#include <stdio.h>
#include <string.h>

#include "pod.h"
#include "prda/metrics.h"

/* How long it took, in the histogram of all pods' starts. */
static void stage_observe(const char *name, uint64_t ns)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct { char name[16]; metrics_histogram histogram; } known[POD_STAGES_MAX];
	char labels[40];
	size_t i = 0;
	pthread_mutex_lock(&lock);
	while (i < POD_STAGES_MAX && known[i].name[0] && strcmp(known[i].name, name))
		i++;
	if (i < POD_STAGES_MAX && !known[i].name[0]) {
		snprintf(known[i].name, sizeof(known[i].name), "%s", name);
		snprintf(labels, sizeof(labels), "stage=\"%s\"", known[i].name);
		known[i].histogram = metrics_histogram_new("bulkhead_pod_start_stage_ns", labels, "how long the stages of pods' starts took");
	}
	if (i < POD_STAGES_MAX)
		metrics_observe(known[i].histogram, ns);
	pthread_mutex_unlock(&lock);
}

void pod_stage_add(struct pod *p, const char *name, uint64_t ns)
{
	pod_stage_set(p, name, ns);
	stage_observe(name, ns);
}

void pod_stage_set(struct pod *p, const char *name, uint64_t ns)
{
	size_t i = 0;
	pthread_mutex_lock(&p->lock);
	while (i < p->stages_count && strcmp(p->stages[i].name, name))
		i++;
	if (i < POD_STAGES_MAX) {
		snprintf(p->stages[i].name, sizeof(p->stages[i].name), "%s", name);
		p->stages[i].ns = ns;
		p->stages_count += i == p->stages_count;
	}
	pthread_mutex_unlock(&p->lock);
}

void pod_stage_drop(struct pod *p, const char *name)
{
	pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < p->stages_count; i++) {
		if (strcmp(p->stages[i].name, name))
			continue;
		memmove(p->stages + i, p->stages + i + 1, (p->stages_count - i - 1) * sizeof(p->stages[0]));
		p->stages_count--;
	}
	pthread_mutex_unlock(&p->lock);
}
