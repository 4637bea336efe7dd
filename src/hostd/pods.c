// SPDX-License-Identifier: Apache-2.0
// All pods of this host; see pods.h. A pod enters from the API's watch or, at start, from its folder; it leaves when its
// worker has cleaned up.
#include "pods.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "k8s/client.h"
#include "netw.h"
#include "pagerd/proto/pager_msg.h"
#include "pod.h"
#include "pods_evict.h"
#include "pods_stats.h"
#include "prda/metrics.h"

#define WORKER_STACK (256 * 1024)
#define VM_NUMBERS 4096

struct pods {
	const struct host *host;
	pthread_mutex_t lock;
	struct pod *head;
	struct k8s_informer *informer;
	bool numbers[VM_NUMBERS];
	bool synced;              // the API's list has been seen once
};

void pod_poke(struct pod *p)
{
	pthread_mutex_lock(&p->lock);
	p->dirty = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

void pod_wake_at(struct pod *p, uint64_t mono_ns)
{
	if (!p->next_wake_mono_ns || mono_ns < p->next_wake_mono_ns)
		p->next_wake_mono_ns = mono_ns;
}

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

unsigned pods_number_take(struct pods *ps)
{
	unsigned found = 0;
	pthread_mutex_lock(&ps->lock);
	for (unsigned i = 1; i < VM_NUMBERS && !found; i++)
		if (!ps->numbers[i])
			ps->numbers[found = i] = true;
	pthread_mutex_unlock(&ps->lock);
	return found;
}

void pods_number_mark(struct pods *ps, unsigned n)
{
	pthread_mutex_lock(&ps->lock);
	if (n < VM_NUMBERS)
		ps->numbers[n] = true;
	pthread_mutex_unlock(&ps->lock);
}

void pods_number_drop(struct pods *ps, unsigned n)
{
	pthread_mutex_lock(&ps->lock);
	if (n < VM_NUMBERS)
		ps->numbers[n] = false;
	pthread_mutex_unlock(&ps->lock);
}

static void pod_free(struct pod *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->containers_count; i++) {
		struct container *c = &p->containers[i];
		free(c->image_id), free(c->image_ref), free(c->waiting_message), free(c->message);
		json_decref(c->image_config);
		json_decref(c->last_state);
		json_decref(c->resources);
	}
	free(p->containers);
	pod_claims_free(p);
	json_decref(p->obj);
	json_decref(p->seen);
	json_decref(p->reported);
	json_decref(p->remembered);
	free(p->message);
	free(p->dir);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* uid comes from the API and becomes a folder name. */
static bool uid_ok(const char *uid)
{
	size_t n = strspn(uid, "0123456789abcdefghijklmnopqrstuvwxyzABCDEF-");
	return n > 0 && n < 64 && !uid[n];
}

static struct pod *pod_new(const struct host *h, json_t *obj)
{
	const char *uid = jpath_str(obj, "metadata.uid", "");
	const char *ns = jpath_str(obj, "metadata.namespace", ""), *name = jpath_str(obj, "metadata.name", "");
	struct pod *p = calloc(1, sizeof(*p));
	if (!p || !uid_ok(uid) || strlen(ns) >= sizeof(p->ns) || strlen(name) >= sizeof(p->name)) {
		free(p);
		return NULL;
	}
	p->host = h;
	p->net.tap_fd = -1;
	strcpy(p->uid, uid);
	strcpy(p->ns, ns);
	strcpy(p->name, name);
	strcpy(p->phase, "Pending");
	snprintf(p->host_ip, sizeof(p->host_ip), "%s", h->node_addr);
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &attr);
	pthread_condattr_destroy(&attr);
	p->obj = json_incref(obj);
	p->dirty = true;
	p->start_ns = clock_real_ns();
	if (asprintf(&p->dir, "%s/pods/%s", h->root, uid) < 0) {
		p->dir = NULL;
		pod_free(p);
		return NULL;
	}
	return p;
}

/* With ps->lock held. */
static struct pod *find_uid(struct pods *ps, const char *uid)
{
	struct pod *p = ps->head;
	while (p && strcmp(p->uid, uid))
		p = p->next;
	return p;
}

/* With ps->lock held: forget pods whose worker has ended. */
static void reap(struct pods *ps)
{
	for (struct pod **at = &ps->head; *at;) {
		struct pod *p = *at;
		pthread_mutex_lock(&p->lock);
		bool finished = p->finished;
		pthread_mutex_unlock(&p->lock);
		if (!finished) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		pthread_join(p->worker, NULL);
		pod_free(p);
	}
}

static int start_worker(struct pod *p)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK);
	int rc = pthread_create(&p->worker, &attr, pod_worker, p);
	pthread_attr_destroy(&attr);
	return rc;
}

/* With ps->lock held. */
static void admit(struct pods *ps, json_t *obj)
{
	struct pod *p = pod_new(ps->host, obj);
	if (!p) {
		log_warn("pods", "pod %s/%s not taken: bad uid or no memory", jpath_str(obj, "metadata.namespace", "?"),
			 jpath_str(obj, "metadata.name", "?"));
		return;
	}
	p->known = !pod_state_load(p);
	const char *phase = jpath_str(obj, "status.phase", "");
	if (!p->known && (!strcmp(phase, "Succeeded") || !strcmp(phase, "Failed")))
		strcpy(p->phase, phase);   // it has run before, not from this folder: it does not run again
	if (p->vm_number)
		ps->numbers[p->vm_number % VM_NUMBERS] = true;
	if (start_worker(p)) {
		log_error("pods", "no thread for pod %s/%s", p->ns, p->name);
		pod_free(p);
		return;
	}
	p->next = ps->head;
	ps->head = p;
}

static void update(struct pod *p, json_t *obj, bool gone)
{
	pthread_mutex_lock(&p->lock);
	if (obj) {
		json_incref(obj);
		json_decref(p->obj);
		p->obj = obj;
	}
	p->gone |= gone;
	if (gone || (obj && jpath_get(obj, "metadata.deletionTimestamp")))
		p->cancel = p->boot_cancel = 1;
	p->dirty = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

static void on_event(void *user, const char *type, json_t *obj)
{
	struct pods *ps = user;
	const char *uid = jpath_str(obj, "metadata.uid", "");
	bool gone = !strcmp(type, "DELETED");
	pthread_mutex_lock(&ps->lock);
	reap(ps);
	struct pod *p = find_uid(ps, uid);
	if (p)
		update(p, obj, gone);
	else if (!gone)
		admit(ps, obj);
	pthread_mutex_unlock(&ps->lock);
}

static void on_sync(void *user, json_t *items)
{
	struct pods *ps = user;
	size_t i;
	json_t *obj;
	json_array_foreach(items, i, obj)
		on_event(ps, "ADDED", obj);
	pthread_mutex_lock(&ps->lock);
	ps->synced = true;
	for (struct pod *p = ps->head; p; p = p->next) {
		bool there = false;
		json_array_foreach(items, i, obj)
			there |= !strcmp(jpath_str(obj, "metadata.uid", ""), p->uid);
		if (!there)
			update(p, NULL, true);
	}
	pthread_mutex_unlock(&ps->lock);
}

static void on_state(void *user, int connected, const char *why)
{
	(void)user;
	if (connected)
		log_info("pods", "watching the API server");
	else
		log_limited(LOG_LEVEL_WARN, "pods", "API server not reachable: %s", why ? why : "?");
}

/* Pods that an earlier hostd left: known before the API answers, so that their VMs are watched at once. */
static void adopt_folders(struct pods *ps)
{
	own_free char *dir = NULL;
	if (asprintf(&dir, "%s/pods", ps->host->root) < 0)
		return;
	own_dir DIR *d = opendir(dir);
	struct dirent *ent;
	while (d && (ent = readdir(d))) {
		if (!uid_ok(ent->d_name))
			continue;
		own_free char *path = NULL;
		own_buf struct buf text = BUF_INIT;
		if (asprintf(&path, "%s/%s/pod.json", dir, ent->d_name) < 0)
			return;
		own_json json_t *obj = file_read(path, 8 << 20, &text, NULL) ? NULL : json_loadb(text.data, text.len, 0, NULL);
		if (obj && !strcmp(jpath_str(obj, "metadata.uid", ""), ent->d_name)) {
			admit(ps, obj);
		} else {
			log_warn("pods", "folder %s/%s has no readable pod.json, removed", dir, ent->d_name);
			netw_teardown(ps->host->net, ent->d_name, NULL);
			char *at = strrchr(path, '/');
			*at = '\0';
			dir_remove(path, NULL);
		}
	}
}

int pods_open(const struct host *h, struct pods **out, struct err *e)
{
	own_free char *dir = NULL;
	struct pods *ps = calloc(1, sizeof(*ps));
	if (!ps || asprintf(&dir, "%s/pods", h->root) < 0) {
		free(ps);
		return err_sys(e, ENOMEM, "open pods");
	}
	int rc = dir_make(dir, 0700, e);
	if (rc) {
		free(ps);
		return rc;
	}
	ps->host = h;
	pthread_mutex_init(&ps->lock, NULL);
	*out = ps;
	return 0;
}

int pods_watch(struct pods *ps, struct err *e)
{
	static const struct k8s_informer_ops ops = {.on_sync = on_sync, .on_event = on_event, .on_state = on_state};
	char path[512];
	pthread_mutex_lock(&ps->lock);
	adopt_folders(ps);
	pthread_mutex_unlock(&ps->lock);
	snprintf(path, sizeof(path), "/api/v1/pods?fieldSelector=spec.nodeName%%3D%s", ps->host->node_name);
	return k8s_informer_start(ps->host->api, path, &ops, ps, &ps->informer, e);
}

void pods_close(struct pods *ps)
{
	if (!ps)
		return;
	if (ps->informer)
		k8s_informer_stop(ps->informer);
	for (struct pod *p = ps->head; p; p = p->next) {
		pthread_mutex_lock(&p->lock);
		p->quit = p->dirty = true;
		p->cancel = p->boot_cancel = p->leave = 1;
		pthread_cond_signal(&p->wake);
		pthread_mutex_unlock(&p->lock);
	}
	while (ps->head) {
		struct pod *p = ps->head;
		ps->head = p->next;
		pthread_join(p->worker, NULL);
		pod_free(p);
	}
	pthread_mutex_destroy(&ps->lock);
	free(ps);
}

/* --- what others ask --- */

void pods_evict_one(struct pods *ps, const char *resource)
{
	pthread_mutex_lock(&ps->lock);
	struct pod *p = pods_evict_choose(ps->head, !strcmp(resource, "memory"));
	if (p)
		pods_evict_mark(p, resource);
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
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "namespace", p->ns, "pod", p->name, "uid", p->uid, "engine", p->host->engine,
			 "podIP", p->pod_ip, "start", start, "stagesMs", stages);
}

/* Where the guest's memory is. */
static void memory_row(json_t *said, struct vm *vm)
{
	struct pager_stats s;
	bool paged = !vm_memory_stats(vm, &s, NULL);
	json_object_set_new(said, "paged", json_boolean(paged));
	json_object_set_new(said, "sharedBytes", json_integer(paged ? (json_int_t)s.shared_bytes : 0));
	json_object_set_new(said, "compressedBytes", json_integer(paged ? (json_int_t)s.evicted_bytes : 0));
	json_object_set_new(said, "faults", json_integer(paged ? (json_int_t)s.faults : 0));
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
		if (strcmp(p->ns, ns) || strcmp(p->name, name) || (uid && *uid && strcmp(p->uid, uid)))
			continue;
		pthread_mutex_lock(&p->lock);
		if (!p->finished)
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
		json_t *copy = json_copy(p->obj);
		if (p->reported)
			json_object_set(copy, "status", p->reported);
		json_array_append_new(items, copy);
		pthread_mutex_unlock(&p->lock);
	}
	pthread_mutex_unlock(&ps->lock);
	return json_pack("{s:s, s:s, s:{}, s:o}", "kind", "PodList", "apiVersion", "v1", "metadata", "items", items);
}

struct pods_running *pods_running(struct pods *ps, size_t *count)
{
	size_t n = 0, room = 1;
	pthread_mutex_lock(&ps->lock);
	for (struct pod *p = ps->head; p; p = p->next)
		room++;
	struct pods_running *all = calloc(room, sizeof(*all));
	for (struct pod *p = ps->head; p && all; p = p->next) {
		char started[CLOCK_TEXT_MAX];
		pthread_mutex_lock(&p->lock);
		if (p->vm && p->agent && vm_alive(p->vm))
			all[n++] = (struct pods_running){strdup(p->ns), strdup(p->name), strdup(p->uid), strdup(vm_vsock_path(p->vm)),
							 strdup(clock_text(p->start_ns, 0, started))};
		pthread_mutex_unlock(&p->lock);
	}
	pthread_mutex_unlock(&ps->lock);
	*count = n;
	return all;
}

void pods_running_free(struct pods_running *all, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(all[i].ns), free(all[i].name), free(all[i].uid), free(all[i].vsock_path), free(all[i].started);
	free(all);
}

static json_t *stats_summary(void *ctx)
{
	struct pods *ps = ctx;
	return pods_stats_summary(ps, ps->host->node_name);
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
	return *which ? pods_metrics_resource(ctx) : start_metrics(ctx);
}

const struct streaming_ops pods_streaming_ops = {.find = find_container, .pods = pod_list, .stats_summary = stats_summary,
						 .metrics = metrics};
