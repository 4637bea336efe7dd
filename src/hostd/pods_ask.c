// SPDX-License-Identifier: Apache-2.0
// What others ask about the pods of this host: the operator's socket, the kubelet's API, claims, who is short of something.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "pagerd/proto/pager_msg.h"
#include "pod.h"
#include "pods.h"
#include "pods_evict.h"
#include "pods_internal.h"
#include "pods_stats.h"
#include "prda/metrics.h"

void pods_evict_one(struct pods *ps, enum evict_for what)
{
	pthread_mutex_lock(&ps->lock);
	struct pod *p = pods_evict_choose(ps->head, what);
	if (p)
		pods_evict_mark(p, what);
	pthread_mutex_unlock(&ps->lock);
}

static const struct pod_claim *claim_on(const struct pod *p, const char *volume)
{
	for (size_t i = 0; i < p->claims_count; i++)
		if (p->claims[i].id && !strcmp(p->claims[i].id, volume))
			return &p->claims[i];
	return NULL;
}

struct vm *pods_volume_vm(struct pods *ps, const char *volume, char serial[21])
{
	struct vm *vm = NULL;
	pthread_mutex_lock(&ps->lock);
	for (struct pod *p = ps->head; p && !vm; p = p->next) {
		pthread_mutex_lock(&p->lock);
		const struct pod_claim *c = claim_on(p, volume);
		if (c && p->vm && p->agent && !c->read_only && !p->finished && vm_alive(p->vm)) {
			vm = vm_get(p->vm);
			memcpy(serial, c->serial, sizeof(c->serial));
		}
		pthread_mutex_unlock(&p->lock);
	}
	pthread_mutex_unlock(&ps->lock);
	return vm;
}

bool pods_volume_user(struct pods *ps, const char *volume, const char *uid, bool writes, char *who, size_t who_len)
{
	bool found = false;
	pthread_mutex_lock(&ps->lock);
	for (struct pod *p = ps->head; p && !found; p = p->next) {
		pthread_mutex_lock(&p->lock);
		const struct pod_claim *c = strcmp(p->uid, uid) && !p->finished ? claim_on(p, volume) : NULL;
		found = c && p->vm_number && (writes || !c->read_only);   // the number: taken with the VM, dropped with its disks
		if (found)
			snprintf(who, who_len, "%s/%s", p->ns, p->name);
		pthread_mutex_unlock(&p->lock);
	}
	pthread_mutex_unlock(&ps->lock);
	return found;
}

/* What is known without asking the VM. With the pod's lock held. */
static json_t *vm_row(const struct pod *p)
{
	json_t *stages = json_object();
	const char *start = "";
	for (size_t i = 0; i < p->stages_count; i++) {
		if (!strcmp(p->stages[i].name, "boot") || !strcmp(p->stages[i].name, "template"))
			start = p->stages[i].name;
		if (!strcmp(p->stages[i].name, "waiting"))
			start = "template+waiting";
		json_object_set_new(stages, p->stages[i].name, json_real((double)p->stages[i].ns / 1e6));
	}
	own_free char *console = NULL;
	if (asprintf(&console, "%s/vm/console.log", p->dir) < 0)
		console = NULL;
	return json_pack("{s:s, s:s, s:s, s:s?, s:s, s:s, s:s, s:o}", "namespace", p->ns, "pod", p->name, "uid", p->uid, "console", console, "engine", p->engine ? p->engine : p->host->engine,
			 "podIP", p->pod_ip, "start", start, "stagesMs", stages);
}

/* How long pagerd took for the VM's faults: how many took less than so much, and not less than half of it. The last one, without
 * belowNs: all that took longer. */
json_t *pods_fault_latency(const struct pager_stats *s)
{
	json_t *out = json_array();
	size_t count = sizeof(s->latency_ns) / sizeof(s->latency_ns[0]);
	for (size_t i = 0; i < count; i++) {
		if (!s->latency_ns[i])
			continue;
		json_t *row = json_pack("{s:I}", "faults", (json_int_t)s->latency_ns[i]);
		if (i + 1 < count)
			json_object_set_new(row, "belowNs", json_integer((json_int_t)(2ull << i)));
		json_array_append_new(out, row);
	}
	return out;
}

/* Where the guest's memory is, as pagerd says. */
static void memory_row(json_t *said, struct vm *vm)
{
	struct pager_stats s;
	bool paged = !vm_memory_stats(vm, &s, NULL);
	json_object_set_new(said, "paged", json_boolean(paged));
	json_object_set_new(said, "sharedBytes", json_integer(paged ? (json_int_t)s.shared_bytes : 0));
	json_object_set_new(said, "compressedBytes", json_integer(paged ? (json_int_t)s.evicted_bytes : 0));
	json_object_set_new(said, "faults", json_integer(paged ? (json_int_t)s.faults : 0));
	json_object_set_new(said, "faultLatency", paged ? pods_fault_latency(&s) : json_array());
}

/* What the VM says. Without any lock. */
void pods_vm_ask(json_t *row, struct vm *vm)
{
	static const char *const states[] = {"Starting", "Running", "Paused", "Stopping", "Waiting"};
	struct vmx_status st = {0};
	char started[CLOCK_TEXT_MAX] = "";
	bool live = vm_alive(vm) && !vm_status(vm, &st, NULL);
	if (live)
		clock_text(st.start_real_ns, 0, started);
	json_t *said = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:I, s:I, s:s}", "engine", live ? (st.engine ? "kvm" : "qemu") :
				 jpath_str(row, "engine", ""), "state", live ? states[st.state <= VMX_WAITING ? st.state : VMX_STOPPING] :
				 vm_alive(vm) ? "Silent" : "Ended", "pid", (int)st.pid, "enginePid", (int)st.engine_pid, "vcpus",
				 (int)st.vcpus, "memoryMiB", (int)st.memory_mib, "residentBytes",
				 (json_int_t)st.memory_resident_bytes, "balloonedBytes", (json_int_t)st.memory_balloon_bytes, "startedAt",
				 started);
	memory_row(said, vm);
	json_object_update(row, said);
	json_decref(said);
}

json_t *pods_vm_memory(struct vm *vm)
{
	static const char *const keys[] = {"residentBytes", "sharedBytes", "compressedBytes", "balloonedBytes"};
	own_json json_t *row = json_object();
	json_t *out = json_object();
	pods_vm_ask(row, vm);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		json_object_set(out, keys[i], json_object_get(row, keys[i]));
	return out;
}

json_t *pods_vms(struct pods *ps)
{
	json_t *rows = json_array(), *row;
	size_t n = 0, i, room = 1;
	pthread_mutex_lock(&ps->lock);
	for (struct pod *p = ps->head; p; p = p->next)
		room++;
	struct vm **vms = calloc(room, sizeof(*vms));
	for (struct pod *p = ps->head; p && vms; p = p->next) {
		pthread_mutex_lock(&p->lock);
		if (p->vm && !p->finished && !json_array_append_new(rows, vm_row(p)))
			vms[n++] = vm_get(p->vm);
		pthread_mutex_unlock(&p->lock);
	}
	pthread_mutex_unlock(&ps->lock);
	json_array_foreach(rows, i, row) {
		pods_vm_ask(row, vms[i]);
		vm_put(vms[i]);
	}
	free(vms);
	return rows;
}

static const struct container *default_container(const struct pod *p, const char *want)
{
	const char *named = *want ? want : json_string_value(json_object_get(jpath_get(p->obj, "metadata.annotations"),
										       "kubectl.kubernetes.io/default-container"));
	for (size_t i = 0; i < p->containers_count; i++) {
		const struct container *c = &p->containers[i];
		if (named ? !strcmp(c->name, named) : c->kind == CONTAINER_APP)
			return c;
	}
	return NULL;
}

static int fill_target(const struct pod *p, const char *name, struct streaming_target *out, struct err *e)
{
	if (!name) {
		*out = (struct streaming_target){.vsock_path = p->vm && vm_alive(p->vm) ? strdup(vm_vsock_path(p->vm)) : NULL};
		return 0;
	}
	const struct container *c = default_container(p, name);
	if (!c)
		return err_set(e, ENOENT, "container %s not found in pod %s_%s", name, p->name, p->ns);
	char id[24];
	const json_t *spec = container_spec(p, c);
	*out = (struct streaming_target){.restart_count = c->restart_count, .running = c->phase == CONTAINER_RUNNING,
		.tty = jpath_bool(spec, "tty", false), .stdin_open = jpath_bool(spec, "stdin", false),
		.stdin_once = jpath_bool(spec, "stdinOnce", false)};
	if (p->vm && vm_alive(p->vm))
		out->vsock_path = strdup(vm_vsock_path(p->vm));
	if (c->created)
		out->container_id = strdup(container_id(c, id));
	if (c->phase == CONTAINER_WAITING)
		out->waiting_reason = strdup(c->waiting_reason);
	if (asprintf(&out->log_dir, "%s/logs/%s", p->dir, c->name) < 0)
		out->log_dir = NULL;
	return 0;
}

static int find_container(void *ctx, const char *ns, const char *name, const char *uid, const char *container,
			  struct streaming_target *out, struct err *e)
{
	struct pods *ps = ctx;
	int rc = -1;
	pthread_mutex_lock(&ps->lock);
	for (struct pod *p = ps->head; p && rc == -1; p = p->next) {
		if (strcmp(p->ns, ns) || strcmp(p->name, name) || (!p->is_static && uid && *uid && strcmp(p->uid, uid)))
			continue;   // a static pod goes by its name, and by the uid of whatever shows it
		pthread_mutex_lock(&p->lock);
		if (!p->finished && !p->mirror_over)
			rc = fill_target(p, container, out, e);
		pthread_mutex_unlock(&p->lock);
	}
	pthread_mutex_unlock(&ps->lock);
	return rc == -1 ? err_set(e, ENOENT, "pod does not exist") : rc;
}

static json_t *pod_list(void *ctx)
{
	struct pods *ps = ctx;
	json_t *items = json_array();
	pthread_mutex_lock(&ps->lock);
	for (struct pod *p = ps->head; p; p = p->next) {
		pthread_mutex_lock(&p->lock);
		json_t *copy = json_copy(p->obj), *status = json_copy(json_object_get(p->obj, "status"));
		if (p->reported && status)
			json_object_update(status, p->reported);
		json_object_set_new(copy, "status", status ? status : json_incref(p->reported));
		json_array_append_new(items, copy);
		pthread_mutex_unlock(&p->lock);
	}
	pthread_mutex_unlock(&ps->lock);
	return json_pack("{s:s, s:s, s:{}, s:o}", "kind", "PodList", "apiVersion", "v1", "metadata", "items", items);
}

static json_t *stats_summary(void *ctx)
{
	struct pods *ps = ctx;
	return pods_stats_summary(ps, ps->host);
}

/* What hostd itself counts: how long the stages of pod starts took, over the pods that are here now. */
static char *start_metrics(struct pods *ps)
{
	struct buf b = BUF_INIT;
	unsigned pods = 0, vms = 0;
	buf_puts(&b, "# HELP bulkhead_pod_start_stage_seconds Duration of each stage of a pod's start\n"
		     "# TYPE bulkhead_pod_start_stage_seconds gauge\n");
	pthread_mutex_lock(&ps->lock);
	for (struct pod *p = ps->head; p; p = p->next) {
		pthread_mutex_lock(&p->lock);
		pods++;
		vms += p->vm != NULL;
		for (size_t i = 0; i < p->stages_count; i++)
			buf_printf(&b, "bulkhead_pod_start_stage_seconds{namespace=\"%s\",pod=\"%s\",stage=\"%s\"} %.6f\n", p->ns,
				   p->name, p->stages[i].name, (double)p->stages[i].ns / 1e9);
		pthread_mutex_unlock(&p->lock);
	}
	pthread_mutex_unlock(&ps->lock);
	buf_printf(&b, "# HELP kubelet_running_pods Number of pods that have a running pod sandbox\n# TYPE kubelet_running_pods gauge\n"
		       "kubelet_running_pods %u\n# HELP bulkhead_pods Number of pods on this host\n# TYPE bulkhead_pods gauge\n"
		       "bulkhead_pods %u\n", vms, pods);
	metrics_text(ps->host->metrics_dir, &b, NULL);
	return buf_take(&b);
}

static char *metrics(void *ctx, const char *which)
{
	return !*which ? start_metrics(ctx) : !strcmp(which, "cadvisor") ? pods_metrics_cadvisor(ctx) : pods_metrics_resource(ctx);
}

const struct streaming_ops pods_streaming_ops = {.find = find_container, .pods = pod_list, .stats_summary = stats_summary,
						 .metrics = metrics};
