// SPDX-License-Identifier: Apache-2.0
// CPU and memory of containers that change while they run. The VM keeps its size: within it the guest's cgroups follow at
// once, beyond it the change waits, and the pod says that it is not feasible.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "events.h"
#include "k8s/quantity.h"
#include "pod.h"

#define GUEST_MIB 96                 // of the VM's memory, for its kernel and agent
#define MIB (1 << 20)

/* What counts of a container's resources here. */
static json_t *wanted(const json_t *spec)
{
	static const char *const lists[] = {"limits", "requests"}, *const names[] = {"cpu", "memory"};
	json_t *out = json_object();
	for (int l = 0; l < 2; l++)
		for (int n = 0; n < 2; n++) {
			json_t *v = json_object_get(jpath_get(json_object_get(spec, "resources"), lists[l]), names[n]);
			if (!v)
				continue;
			if (!json_object_get(out, lists[l]))
				json_object_set_new(out, lists[l], json_object());
			json_object_set(json_object_get(out, lists[l]), names[n], v);
		}
	return out;
}

void pod_resize_started(struct pod *p, struct container *c)
{
	json_t *now = wanted(container_spec(p, c));
	pthread_mutex_lock(&p->lock);
	json_decref(c->resources);
	c->resources = now;
	pthread_mutex_unlock(&p->lock);
}

/* NULL, or why the VM cannot hold what its containers shall have. */
static const char *misfit(struct pod *p, char why[160])
{
	struct vmx_status vm;
	int64_t memory = 0, cpu_max = 0;
	if (vm_status(p->vm, &vm, NULL))
		return NULL;
	for (size_t i = 0; i < p->containers_count; i++) {
		const struct container *c = &p->containers[i];
		const json_t *limits = jpath_get(container_spec(p, c), "resources.limits");
		if (c->kind != CONTAINER_APP && c->kind != CONTAINER_SIDECAR)
			continue;
		memory += k8s_quantity_value(json_object_get(limits, "memory"), 0) / MIB;
		int64_t cpu = k8s_quantity_milli(json_object_get(limits, "cpu"), 0);
		cpu_max = cpu > cpu_max ? cpu : cpu_max;
	}
	if (memory > (int64_t)vm.memory_mib - GUEST_MIB)
		snprintf(why, 160, "the pod's virtual machine has %u MiB of memory, of which containers can have %u: %lld are asked for", vm.memory_mib,
			 vm.memory_mib - GUEST_MIB, (long long)memory);
	else if (cpu_max > (int64_t)vm.vcpus * 1000)
		snprintf(why, 160, "the pod's virtual machine has %u CPUs: a container asks for %lldm", vm.vcpus, (long long)cpu_max);
	else
		return NULL;
	return why;
}

static int update(struct pod *p, const struct container *c, const json_t *spec, struct err *e)
{
	Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT;
	Bulkhead__Agent__UpdateResources ur = BULKHEAD__AGENT__UPDATE_RESOURCES__INIT;
	own_json json_t *resources = oci_resources(p, spec);
	json_object_del(resources, "devices");   // what a container may reach does not change
	own_free char *text = json_dumps(resources, JSON_COMPACT);
	char id[24];
	if (!text)
		return err_sys(e, ENOMEM, "resize %s", c->name);
	ur.id = (char *)container_id(c, id);
	ur.linux_resources = text;
	rq.what_case = BULKHEAD__AGENT__REQUEST__WHAT_UPDATE_RESOURCES;
	rq.update_resources = &ur;
	return agent_request(p->agent, &rq, AGENT_ANSWER_MS, NULL, e);
}

/* Does the container want to be started anew for what changes? */
static bool wants_restart(const struct pod *p, const json_t *spec, const json_t *before, const json_t *after)
{
	size_t i;
	json_t *policy;
	if (pod_restart_never(p))                      // the API refuses that; in place is what is left
		return false;
	json_array_foreach(json_object_get(spec, "resizePolicy"), i, policy) {
		const char *name = jpath_str(policy, "resourceName", "");
		char limit[32];
		snprintf(limit, sizeof(limit), "limits.%.20s", name);
		if (!strcmp(jpath_str(policy, "restartPolicy", ""), "RestartContainer") &&
		    k8s_quantity_milli(jpath_get(before, limit), -1) != k8s_quantity_milli(jpath_get(after, limit), -1))
			return true;
	}
	return false;
}

static void set_pending(struct pod *p, const char *why)
{
	bool new_ = strcmp(why, p->resize_pending);
	pthread_mutex_lock(&p->lock);
	snprintf(p->resize_pending, sizeof(p->resize_pending), "%s", why);
	pthread_mutex_unlock(&p->lock);
	if (new_ && *why)
		events_emit(p->host->events, p->seen, NULL, "Warning", "ResizeInfeasible", "%s", why);
}

void pod_resize(struct pod *p)
{
	char why[160];
	bool looked = false;
	for (size_t i = 0; i < p->containers_count; i++) {
		struct container *c = &p->containers[i];
		const json_t *spec = container_spec(p, c);
		struct err e = ERR_INIT;
		if (c->phase != CONTAINER_RUNNING || (c->kind != CONTAINER_APP && c->kind != CONTAINER_SIDECAR) || !spec)
			continue;
		own_json json_t *want = wanted(spec);
		if (!c->resources)
			c->resources = json_incref(want);   // started by a hostd that did not note it
		if (json_equal(want, c->resources))
			continue;
		const char *bad = looked ? NULL : misfit(p, why);
		looked = true;
		if (bad) {
			set_pending(p, why);
			return;
		}
		if (c->new_size)
			continue;
		if (wants_restart(p, spec, c->resources, want)) {
			c->new_size = true;                    // pod_containers_drive does it
			pod_wake_at(p, clock_mono_ns());
			continue;
		}
		if (update(p, c, spec, &e)) {
			set_pending(p, e.text);
			pod_wake_at(p, clock_mono_ns() + 5 * NS_PER_S);
			return;
		}
		pod_resize_started(p, c);
		events_emit(p->host->events, p->seen, NULL, "Normal", "ResizeCompleted", "Container %s has its new resources", c->name);
	}
	set_pending(p, "");
}
