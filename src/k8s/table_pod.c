// SPDX-License-Identifier: Apache-2.0
// Printer columns of Pod. The STATUS column tells the most telling thing about the containers, as kubectl users know it.
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "printers.h"
#include "table.h"

const struct k8s_column k8s_columns_pod[] = {
	COLUMN_NAME,
	COLUMN("Ready", "Containers that are ready, of all."),
	COLUMN("Status", "State of the pod as a whole, or what keeps its containers from running."),
	COLUMN("Restarts", "How often containers were restarted, and when last."),
	COLUMN_AGE,
	COLUMN_WIDE("IP", "Address of the pod."),
	COLUMN_WIDE("Node", "Node the pod is bound to."),
	COLUMN_WIDE("Nominated Node", "Node kept free for the pod by preemption."),
	COLUMN_WIDE("Readiness Gates", "Readiness gates that are true, of all."),
	COLUMN_END,
};

struct summary {
	char status[128];
	long long restarts, ready, total;
	uint64_t last_restart_ns;
};

static void note_restarts(struct summary *s, const json_t *container)
{
	uint64_t ns;
	const char *finished = jpath_str(container, "lastState.terminated.finishedAt", NULL);
	s->restarts += jpath_int(container, "restartCount", 0);
	if (finished && clock_parse(finished, &ns) == 0 && ns > s->last_restart_ns)
		s->last_restart_ns = ns;
}

static bool condition_true(const json_t *pod, const char *type)
{
	size_t i;
	json_t *c;
	json_array_foreach(jpath_get(pod, "status.conditions"), i, c)
		if (!strcmp(jpath_str(c, "type", ""), type))
			return !strcmp(jpath_str(c, "status", ""), "True");
	return false;
}

static bool restartable(const json_t *pod, const char *init_container)
{
	size_t i;
	json_t *c;
	json_array_foreach(jpath_get(pod, "spec.initContainers"), i, c)
		if (!strcmp(jpath_str(c, "name", ""), init_container))
			return !strcmp(jpath_str(c, "restartPolicy", ""), "Always");
	return false;
}

static void set_terminated(struct summary *s, const char *prefix, const json_t *terminated)
{
	const char *reason = jpath_str(terminated, "reason", "");
	long long signal = jpath_int(terminated, "signal", 0);
	if (*reason)
		snprintf(s->status, sizeof(s->status), "%s%s", prefix, reason);
	else
		snprintf(s->status, sizeof(s->status), "%s%s:%lld", prefix, signal ? "Signal" : "ExitCode",
			 signal ? signal : jpath_int(terminated, "exitCode", 0));
}

/* Returns whether initialization is still going on. sidecars: restarts of restartable init containers only. */
static bool look_at_init_containers(const json_t *pod, struct summary *s, struct summary *sidecars)
{
	size_t i;
	json_t *c;
	json_array_foreach(jpath_get(pod, "spec.initContainers"), i, c)
		s->total += !strcmp(jpath_str(c, "restartPolicy", ""), "Always");
	json_array_foreach(jpath_get(pod, "status.initContainerStatuses"), i, c) {
		const json_t *terminated = jpath_get(c, "state.terminated");
		const char *waiting = jpath_str(c, "state.waiting.reason", "");
		bool sidecar = restartable(pod, jpath_str(c, "name", ""));
		note_restarts(s, c);
		if (sidecar)
			note_restarts(sidecars, c);
		if (terminated && jpath_int(terminated, "exitCode", 0) == 0)
			continue;
		if (sidecar && jpath_bool(c, "started", false)) {
			s->ready += jpath_bool(c, "ready", false);
			continue;
		}
		if (terminated)
			set_terminated(s, "Init:", terminated);
		else if (*waiting && strcmp(waiting, "PodInitializing"))
			snprintf(s->status, sizeof(s->status), "Init:%s", waiting);
		else
			snprintf(s->status, sizeof(s->status), "Init:%zu/%zu", i,
				 json_array_size(jpath_get(pod, "spec.initContainers")));
		return true;
	}
	return false;
}

static void look_at_containers(const json_t *pod, struct summary *s)
{
	const json_t *list = jpath_get(pod, "status.containerStatuses");
	bool running = false;
	for (size_t i = json_array_size(list); i-- > 0;) {
		const json_t *c = json_array_get(list, i), *terminated = jpath_get(c, "state.terminated");
		const char *waiting = jpath_str(c, "state.waiting.reason", "");
		note_restarts(s, c);
		if (*waiting) {
			snprintf(s->status, sizeof(s->status), "%s", waiting);
		} else if (terminated) {
			set_terminated(s, "", terminated);
		} else if (jpath_bool(c, "ready", false) && jpath_get(c, "state.running")) {
			running = true;
			s->ready++;
		}
	}
	if (running && !strcmp(s->status, "Completed"))
		snprintf(s->status, sizeof(s->status), "%s", condition_true(pod, "Ready") ? "Running" : "NotReady");
}

static void summarize(const json_t *pod, struct summary *s)
{
	struct summary sidecars = {0};
	const char *phase = jpath_str(pod, "status.phase", ""), *reason = jpath_str(pod, "status.reason", "");
	size_t i;
	json_t *c;
	s->total = (long long)json_array_size(jpath_get(pod, "spec.containers"));
	snprintf(s->status, sizeof(s->status), "%s", *reason ? reason : phase);
	json_array_foreach(jpath_get(pod, "status.conditions"), i, c)
		if (!strcmp(jpath_str(c, "type", ""), "PodScheduled") && !strcmp(jpath_str(c, "reason", ""), "SchedulingGated"))
			snprintf(s->status, sizeof(s->status), "SchedulingGated");
	if (!look_at_init_containers(pod, s, &sidecars) || condition_true(pod, "Initialized")) {
		s->restarts = sidecars.restarts;
		s->last_restart_ns = sidecars.last_restart_ns;
		look_at_containers(pod, s);
	}
	if (!jpath_get(pod, "metadata.deletionTimestamp"))
		return;
	if (!strcmp(reason, "NodeLost"))
		snprintf(s->status, sizeof(s->status), "Unknown");
	else if (strcmp(phase, "Succeeded") && strcmp(phase, "Failed"))
		snprintf(s->status, sizeof(s->status), "Terminating");
}

static int cell_restarts(json_t *cells, const struct summary *s)
{
	char text[80], age[K8S_AGE_MAX];
	uint64_t now = clock_real_ns();
	int n = snprintf(text, sizeof(text), "%lld", s->restarts);
	if (s->restarts && s->last_restart_ns) {
		uint64_t ago = now > s->last_restart_ns ? now - s->last_restart_ns : 0;
		snprintf(text + n, sizeof(text) - (size_t)n, " (%s ago)", k8s_duration_text((int64_t)(ago / NS_PER_S), age));
	}
	return k8s_cell(cells, text);
}

static int cell_gates(json_t *cells, const json_t *pod)
{
	const json_t *gates = jpath_get(pod, "spec.readinessGates");
	size_t i, ready = 0;
	json_t *gate;
	char text[64];
	if (json_array_size(gates) == 0)
		return k8s_cell(cells, "<none>");
	json_array_foreach(gates, i, gate)
		ready += condition_true(pod, jpath_str(gate, "conditionType", ""));
	snprintf(text, sizeof(text), "%zu/%zu", ready, json_array_size(gates));
	return k8s_cell(cells, text);
}

int k8s_cells_pod(const json_t *pod, json_t *cells)
{
	struct summary s = {0};
	char ready[64];
	const char *ip = jpath_str(json_array_get(jpath_get(pod, "status.podIPs"), 0), "ip", jpath_str(pod, "status.podIP", NULL));
	summarize(pod, &s);
	snprintf(ready, sizeof(ready), "%lld/%lld", s.ready, s.total);
	int rc = k8s_cell(cells, jpath_str(pod, "metadata.name", ""));
	rc = rc ? rc : k8s_cell(cells, ready);
	rc = rc ? rc : k8s_cell(cells, s.status);
	rc = rc ? rc : cell_restarts(cells, &s);
	rc = rc ? rc : k8s_cell_age(cells, jpath_str(pod, "metadata.creationTimestamp", NULL));
	rc = rc ? rc : k8s_cell_or(cells, ip, "<none>");
	rc = rc ? rc : k8s_cell_or(cells, jpath_str(pod, "spec.nodeName", NULL), "<none>");
	rc = rc ? rc : k8s_cell_or(cells, jpath_str(pod, "status.nominatedNodeName", NULL), "<none>");
	return rc ? rc : cell_gates(cells, pod);
}
