// SPDX-License-Identifier: Apache-2.0
// What the API is told about a pod: phase, conditions, container statuses; sent only when something changed.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "die.h"
#include "k8s/client.h"
#include "pod.h"

#define REPORT_RETRY_NS (2 * NS_PER_S)

static json_t *time_json(uint64_t ns)
{
	char text[CLOCK_TEXT_MAX];
	return ns ? json_string(clock_text(ns, 0, text)) : json_null();
}

static json_t *container_id_json(const struct pod *p, const struct container *c)
{
	char text[128], id[24];
	snprintf(text, sizeof(text), "bulkhead://%s-%s", p->uid, container_id(c, id));
	return json_string(c->used || c->created ? text : "");
}

json_t *container_state_json(const struct container *c)
{
	if (c->phase == CONTAINER_RUNNING)
		return json_pack("{s:{s:o}}", "running", "startedAt", time_json(c->started_ns));
	if (c->phase == CONTAINER_WAITING)
		return json_pack("{s:{s:s, s:s*}}", "waiting", "reason", c->waiting_reason, "message", c->waiting_message);
	json_t *t = json_pack("{s:i, s:s, s:s*, s:o, s:o}", "exitCode", c->exit_code, "reason", c->reason, "message", c->message,
			      "startedAt", time_json(c->started_ns), "finishedAt", time_json(c->finished_ns));
	if (c->signal)
		json_object_set_new(t, "signal", json_integer(c->signal));
	return json_pack("{s:o}", "terminated", t);
}

static json_t *container_status(const struct pod *p, const struct container *c)
{
	const json_t *spec = container_spec(p, c);
	bool done_init = c->kind == CONTAINER_INIT && c->phase == CONTAINER_TERMINATED && c->exit_code == 0;
	json_t *state = container_state_json(c);
	json_t *terminated = json_object_get(state, "terminated");
	if (terminated)
		json_object_set_new(terminated, "containerID", container_id_json(p, c));
	json_t *st = json_pack("{s:s, s:o, s:O?, s:b, s:i, s:s, s:s, s:o, s:b}", "name", c->name, "state", state, "lastState",
			 c->last_state, "ready", done_init || (c->kind != CONTAINER_INIT && c->ready), "restartCount",
			 (int)c->restart_count, "image", jpath_str(spec, "image", ""), "imageID", c->image_id ? c->image_id : "",
			 "containerID", container_id_json(p, c), "started", c->started || done_init);
	if (c->phase == CONTAINER_RUNNING && json_object_size(c->resources)) {
		json_object_set(st, "resources", c->resources);
		if (json_object_get(c->resources, "requests"))
			json_object_set(st, "allocatedResources", json_object_get(c->resources, "requests"));
	}
	return st;
}

/* Names of the containers that keep a condition from being true, "[a b]", or NULL. Heap. */
static char *unready_names(const struct pod *p, bool init)
{
	struct buf names = BUF_INIT;
	for (size_t i = 0; i < p->containers_count; i++) {
		const struct container *c = &p->containers[i];
		bool is_init = c->kind == CONTAINER_INIT;
		bool ok = is_init ? c->phase == CONTAINER_TERMINATED && c->exit_code == 0 :
			  init ? c->kind != CONTAINER_SIDECAR || c->started : c->ready;
		if (!ok && init == is_init && c->kind != CONTAINER_EPHEMERAL)
			buf_printf(&names, "%s%s", names.len ? " " : "[", c->name);
	}
	if (!names.len)
		return NULL;
	buf_puts(&names, "]");
	return buf_take(&names);
}

#define RESIZE_PENDING "PodResizePending"

static json_t *condition(const struct pod *p, const char *type, bool ok, const char *reason, const char *message)
{
	const char *status = ok ? "True" : "False";
	const char *since = NULL;
	size_t i;
	json_t *old;
	json_array_foreach(jpath_get(p->reported, "conditions"), i, old)
		if (!strcmp(jpath_str(old, "type", ""), type) && !strcmp(jpath_str(old, "status", ""), status))
			since = jpath_str(old, "lastTransitionTime", NULL);
	char now[CLOCK_TEXT_MAX];
	/* null, not absent: as a patch it takes away what was there while it was not so. */
	return json_pack("{s:s, s:s, s:n, s:s, s:s?, s:s?}", "type", type, "status", status, "lastProbeTime", "lastTransitionTime",
			 since ? since : clock_text(clock_real_ns(), 0, now), "reason", ok ? NULL : reason, "message",
			 ok ? NULL : message);
}

static json_t *conditions(const struct pod *p)
{
	char *init = unready_names(p, true), *ready = unready_names(p, false);
	char text[512];
	bool completed = !strcmp(p->phase, "Succeeded"), failed = !strcmp(p->phase, "Failed");
	json_t *all = json_array();
	json_array_append_new(all, condition(p, "PodReadyToStartContainers", p->have_net, NULL, NULL));
	snprintf(text, sizeof(text), "containers with incomplete status: %s", init ? init : "");
	json_array_append_new(all, condition(p, "Initialized", !init || completed, "ContainersNotInitialized", text));
	bool ok = !ready && !init && !completed && !failed;
	const char *reason = completed ? "PodCompleted" : failed ? "PodFailed" : "ContainersNotReady";
	snprintf(text, sizeof(text), "containers with unready status: %s", ready ? ready : init ? init : "[]");
	const char *message = completed || failed ? NULL : text;
	json_array_append_new(all, condition(p, "Ready", ok, reason, message));
	json_array_append_new(all, condition(p, "ContainersReady", ok, reason, message));
	if (p->resize_pending[0]) {
		json_t *pending = condition(p, RESIZE_PENDING, true, NULL, NULL);
		json_object_set_new(pending, "reason", json_string("Infeasible"));
		json_object_set_new(pending, "message", json_string(p->resize_pending));
		json_array_append_new(all, pending);
	}
	free(init);
	free(ready);
	return all;
}

/* A pod that is to end has not ended while a container runs: whoever makes another one waits for that. */
static const char *phase_shown(const struct pod *p)
{
	for (size_t i = 0; pod_terminal(p) && i < p->containers_count; i++)
		if (p->containers[i].phase == CONTAINER_RUNNING && p->agent)
			return "Running";
	return p->phase;
}

json_t *pod_status(struct pod *p)
{
	json_t *init = json_array(), *app = json_array(), *eph = json_array();
	for (size_t i = 0; i < p->containers_count; i++) {
		const struct container *c = &p->containers[i];
		json_t *list = c->kind == CONTAINER_APP ? app : c->kind == CONTAINER_EPHEMERAL ? eph : init;
		json_array_append_new(list, container_status(p, c));
	}
	json_t *st = json_pack("{s:s, s:s, s:[{s:s}], s:o, s:o, s:o}", "phase", phase_shown(p), "hostIP", p->host_ip, "hostIPs", "ip",
			       p->host_ip, "startTime", time_json(p->start_ns), "conditions", conditions(p),
			       "containerStatuses", app);
	if (json_array_size(init))
		json_object_set(st, "initContainerStatuses", init);
	if (json_array_size(eph))
		json_object_set(st, "ephemeralContainerStatuses", eph);
	json_decref(init);
	json_decref(eph);
	if (p->pod_ip[0]) {
		json_object_set_new(st, "podIP", json_string(p->pod_ip));
		json_t *ips = json_pack("[{s:s}]", "ip", p->pod_ip);
		for (size_t i = 1; i < p->net.addrs_count; i++)
			json_array_append_new(ips, json_pack("{s:s}", "ip", p->net.addrs[i].address));
		json_object_set_new(st, "podIPs", ips);
	}
	if (p->reason[0])
		json_object_set_new(st, "reason", json_string(p->reason));
	if (p->message)
		json_object_set_new(st, "message", json_string(p->message));
	return st;
}

/* How long each stage of the start took, as JSON, once a container has started; heap. NULL: not yet. */
static char *start_stages(struct pod *p)
{
	own_json json_t *all = json_object();
	pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < p->stages_count; i++)
		json_object_set_new(all, p->stages[i].name, json_integer((json_int_t)((p->stages[i].ns + NS_PER_MS / 2) / NS_PER_MS)));
	pthread_mutex_unlock(&p->lock);
	return json_object_get(all, "container") ? json_dumps(all, JSON_COMPACT) : NULL;
}

static bool shows_pending(const json_t *status)
{
	size_t i;
	json_t *c;
	json_array_foreach(json_object_get(status, "conditions"), i, c)
		if (!strcmp(jpath_str(c, "type", ""), RESIZE_PENDING))
			return true;
	return false;
}

/* From what the API has to status: conditions are merged by type, so that one that is no more must be named. */
static json_t *patch_to(const struct pod *p, const char *uid, const json_t *status)
{
	json_t *to = json_copy((json_t *)status);
	if (shows_pending(p->reported) && !shows_pending(status)) {
		json_t *all = json_copy(json_object_get(status, "conditions"));
		json_array_append_new(all, json_pack("{s:s, s:s}", "type", RESIZE_PENDING, "$patch", "delete"));
		json_object_set_new(to, "conditions", all);
	}
	return json_pack("{s:{s:s}, s:o}", "metadata", "uid", uid, "status", to);
}

void pod_report(struct pod *p)
{
	char path[512];
	struct err e = ERR_INIT;
	json_t *status = pod_status(p);
	if (p->reported && json_equal(p->reported, status)) {
		json_decref(status);
		return;
	}
	char uid[64];
	pthread_mutex_lock(&p->lock);
	snprintf(uid, sizeof(uid), "%s", p->is_static ? p->mirror_uid : p->uid);
	pthread_mutex_unlock(&p->lock);
	if (!*uid) {   // the API does not show it yet
		json_decref(status);
		return;
	}
	json_t *patch = patch_to(p, uid, status);
	own_free char *stages = start_stages(p);
	if (stages)
		jpath_set(patch, "metadata.annotations", json_pack("{s:s}", "bulkhead.io/start-stages-ms", stages));
	snprintf(path, sizeof(path), "/api/v1/namespaces/%s/pods/%s/status", p->ns, p->name);
	int rc = k8s_client_call(p->host->api, "PATCH", path, "application/strategic-merge-patch+json", patch, 10000, NULL, &e);
	json_decref(patch);
	die_at(!strcmp(p->phase, "Running") ? "running-told" : "told");
	if (!rc) {
		pthread_mutex_lock(&p->lock);
		json_decref(p->reported);
		p->reported = json_incref(status);
		pthread_mutex_unlock(&p->lock);
		pod_state_save(p, NULL);
	} else if (rc != -ENOENT && rc != -ESTALE) {   // not found, other uid: the watch will say so
		log_limited(LOG_LEVEL_WARN, "pods", "%s/%s: status not written: %s", p->ns, p->name, e.text);
		pod_wake_at(p, clock_mono_ns() + REPORT_RETRY_NS);
	}
	json_decref(status);
}

bool pod_terminal(const struct pod *p) { return !strcmp(p->phase, "Succeeded") || !strcmp(p->phase, "Failed"); }

/* It has ended, and is to be started anew whatever the pod does when its containers end. */
static bool another_follows(const struct container *c)
{
	return c->phase == CONTAINER_WAITING ? c->last_state != NULL : c->phase == CONTAINER_TERMINATED && (c->again || c->new_size);
}

void pod_phase_update(struct pod *p)
{
	size_t waiting = 0, running = 0, succeeded = 0, failed = 0, apps = 0;
	bool init_pending = false, init_failed = false, deleted = jpath_get(p->seen, "metadata.deletionTimestamp");
	if (pod_terminal(p))
		return;
	for (size_t i = 0; i < p->containers_count; i++) {
		const struct container *c = &p->containers[i];
		if (c->kind == CONTAINER_INIT) {
			bool done = c->phase == CONTAINER_TERMINATED && c->exit_code == 0;
			init_pending |= !done;
			init_failed |= c->phase == CONTAINER_TERMINATED && c->exit_code != 0 && pod_restart_never(p);
		}
		if (c->kind != CONTAINER_APP)
			continue;
		apps++;
		bool again = !deleted && another_follows(c);
		bool ended = !again && (c->phase == CONTAINER_TERMINATED || (c->phase == CONTAINER_WAITING && c->last_state));
		int code = c->phase == CONTAINER_TERMINATED ? c->exit_code : (int)jpath_int(c->last_state, "terminated.exitCode", 0);
		waiting += c->phase == CONTAINER_WAITING && !c->last_state;
		running += c->phase == CONTAINER_RUNNING || again;
		succeeded += ended && code == 0;
		failed += ended && code != 0;
	}
	const char *phase = "Pending";
	bool ended_all = apps && succeeded + failed == apps;
	bool restarts = pod_restart_always(p) || (failed && !pod_restart_never(p));
	if (init_failed)
		phase = "Failed";
	else if (init_pending && !running && !(ended_all))
		phase = "Pending";
	else if (waiting)
		phase = "Pending";
	else if (running || (ended_all && restarts))
		phase = "Running";
	else if (ended_all)
		phase = failed ? "Failed" : "Succeeded";
	if (deleted && ended_all)
		phase = failed ? "Failed" : "Succeeded";
	pthread_mutex_lock(&p->lock);
	strcpy(p->phase, phase);
	pthread_mutex_unlock(&p->lock);
}
