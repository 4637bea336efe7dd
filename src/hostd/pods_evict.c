// SPDX-License-Identifier: Apache-2.0
// Which pod goes when the host is short of something. Memory: lowest class of service first (BestEffort, Burstable, Guaranteed),
// then lowest priority, then the one that takes most. Disk, as a kubelet: those that take more than they asked for, lowest
// priority first, then the one that takes most beyond that. Process numbers: lowest priority, then the VM with most threads.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "k8s/quantity.h"
#include "pod.h"
#include "pods.h"
#include "pods_evict.h"

static int class_of(const struct pod *p)
{
	const char *qos = jpath_str(p->obj, "status.qosClass", "");
	return !strcmp(qos, "Guaranteed") ? 2 : !strcmp(qos, "Burstable") ? 1 : 0;
}

static uint64_t memory_of(const struct pod *p)
{
	struct vmx_status vm;
	return !vm_status(p->vm, &vm, NULL) ? vm.memory_resident_bytes : 0;
}

/* A folder has as many links as it has folders, and two. */
static uint64_t threads_of(const struct pod *p)
{
	struct stat st;
	char path[48];
	snprintf(path, sizeof(path), "/proc/%u/task", vm_pid(p->vm));
	return !stat(path, &st) && st.st_nlink > 2 ? st.st_nlink - 2 : 0;
}

/* What a folder's files take. */
static uint64_t files_in(const char *path)
{
	own_dir DIR *d = opendir(path);
	struct dirent *ent;
	struct stat st;
	uint64_t sum = 0;
	while (d && (ent = readdir(d)))
		if (!fstatat(dirfd(d), ent->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_blocks * 512;
	return sum;
}

/* The writable disk, which has layers and emptyDirs, and the logs. */
static uint64_t disk_of(const struct pod *p)
{
	struct stat st;
	char path[4200];
	uint64_t sum = 0;
	snprintf(path, sizeof(path), "%s/scratch.data", p->dir);
	if (!stat(path, &st))
		sum += (uint64_t)st.st_blocks * 512;
	for (size_t i = 0; i < p->containers_count; i++) {
		snprintf(path, sizeof(path), "%s/logs/%s", p->dir, p->containers[i].name);
		sum += files_in(path);
	}
	return sum;
}

static uint64_t disk_asked(const struct pod *p)
{
	uint64_t sum = 0;
	size_t i;
	json_t *c;
	json_array_foreach(jpath_get(p->obj, "spec.containers"), i, c) {
		long long one = k8s_quantity_value(jpath_get(c, "resources.requests.ephemeral-storage"), 0);
		sum += one > 0 ? (uint64_t)one : 0;
	}
	return sum;
}

bool pods_evict_before(const struct evict_rank *a, const struct evict_rank *b)
{
	if (a->modest != b->modest)
		return b->modest;
	if (a->class_ != b->class_)
		return a->class_ < b->class_;
	if (a->priority != b->priority)
		return a->priority < b->priority;
	return a->takes > b->takes;
}

/* Can it go, and what would that be worth? With its lock held. */
static bool rank(const struct pod *p, enum evict_for what, struct evict_rank *r)
{
	if (!p->vm || p->is_static || p->finished || p->gone || p->evicted[0] || jpath_get(p->obj, "metadata.deletionTimestamp"))
		return false;
	*r = (struct evict_rank){.priority = jpath_int(p->obj, "spec.priority", 0)};
	if (what == EVICT_MEMORY) {
		r->class_ = class_of(p);
		r->takes = memory_of(p);
	} else if (what == EVICT_PIDS) {
		r->takes = threads_of(p);
	} else {
		uint64_t disk = disk_of(p), asked = disk_asked(p);
		r->modest = disk <= asked;
		r->takes = r->modest ? 0 : disk - asked;
	}
	return r->priority < 2000000000;   // system-cluster-critical and above stay
}

struct pod *pods_evict_choose(struct pod *head, enum evict_for what)
{
	struct pod *worst = NULL;
	struct evict_rank worst_rank = {0}, r;
	for (struct pod *p = head; p; p = p->next) {
		pthread_mutex_lock(&p->lock);
		if (p->evicted[0] && p->vm && !p->finished) {   // one is on its way out: wait for what it gives back
			pthread_mutex_unlock(&p->lock);
			return NULL;
		}
		if (rank(p, what, &r) && (!worst || pods_evict_before(&r, &worst_rank))) {
			worst = p;
			worst_rank = r;
		}
		pthread_mutex_unlock(&p->lock);
	}
	return worst;
}

void pods_evict_mark(struct pod *p, enum evict_for what)
{
	static const char *const names[] = {"memory", "ephemeral-storage", "pids"};
	const char *resource = names[what];
	pthread_mutex_lock(&p->lock);
	snprintf(p->evicted, sizeof(p->evicted), "The node was low on resource: %s.", resource);
	p->cancel = p->boot_cancel = 1;
	pthread_mutex_unlock(&p->lock);
	log_warn("pressure", "evicting pod=%s/%s: low on %s", p->ns, p->name, resource);
	pod_poke(p);
}
