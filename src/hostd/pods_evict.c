// SPDX-License-Identifier: Apache-2.0
// Which pod goes when the host is short of something: lowest class of service first (BestEffort, Burstable, Guaranteed),
// then lowest priority, then the one that takes most.
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/jpath.h"
#include "base/log.h"
#include "pod.h"
#include "pods.h"
#include "pods_evict.h"

static int class_of(const struct pod *p)
{
	const char *qos = jpath_str(p->obj, "status.qosClass", "");
	return !strcmp(qos, "Guaranteed") ? 2 : !strcmp(qos, "Burstable") ? 1 : 0;
}

static uint64_t takes(const struct pod *p, bool memory)
{
	struct vmx_status vm;
	struct stat st;
	char path[4096];
	if (memory)
		return p->vm && !vm_status(p->vm, &vm, NULL) ? vm.memory_resident_bytes : 0;
	snprintf(path, sizeof(path), "%s/scratch.data", p->dir);
	return stat(path, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

bool pods_evict_before(const struct evict_rank *a, const struct evict_rank *b)
{
	if (a->class_ != b->class_)
		return a->class_ < b->class_;
	if (a->priority != b->priority)
		return a->priority < b->priority;
	return a->takes > b->takes;
}

/* Can it go, and what would that be worth? With its lock held. */
static bool rank(const struct pod *p, bool memory, struct evict_rank *r)
{
	if (!p->vm || p->is_static || p->finished || p->gone || p->evicted[0] || jpath_get(p->obj, "metadata.deletionTimestamp"))
		return false;
	*r = (struct evict_rank){.class_ = class_of(p), .priority = jpath_int(p->obj, "spec.priority", 0), .takes = takes(p, memory)};
	return r->priority < 2000000000;   // system-cluster-critical and above stay
}

struct pod *pods_evict_choose(struct pod *head, bool memory)
{
	struct pod *worst = NULL;
	struct evict_rank worst_rank = {0}, r;
	for (struct pod *p = head; p; p = p->next) {
		pthread_mutex_lock(&p->lock);
		if (p->evicted[0] && p->vm && !p->finished) {   // one is on its way out: wait for what it gives back
			pthread_mutex_unlock(&p->lock);
			return NULL;
		}
		if (rank(p, memory, &r) && (!worst || pods_evict_before(&r, &worst_rank))) {
			worst = p;
			worst_rank = r;
		}
		pthread_mutex_unlock(&p->lock);
	}
	return worst;
}

void pods_evict_mark(struct pod *p, const char *resource)
{
	pthread_mutex_lock(&p->lock);
	snprintf(p->evicted, sizeof(p->evicted), "The node was low on resource: %s.", resource);
	p->cancel = p->boot_cancel = 1;
	pthread_mutex_unlock(&p->lock);
	log_warn("pressure", "evicting pod=%s/%s: low on %s", p->ns, p->name, resource);
	pod_poke(p);
}
