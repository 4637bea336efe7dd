// SPDX-License-Identifier: Apache-2.0
// The containers of a pod: built from the spec, and what is known of each. What the agent says is the truth about what runs;
// what we remember is only the past. They are started in pod_containers_start.c and stopped in pod_containers_stop.c.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "base/utf8.h"
#include "events.h"
#include "pod.h"
#include "pod_containers.h"

#define EXIT_KILLED 137

const char *container_id(const struct container *c, char out[24])
{
	static const char kinds[] = {'i', 'i', 'a', 'e'};
	snprintf(out, 24, "%c%u-%u", kinds[c->kind], c->index, c->restart_count);
	return out;
}

static const char *const spec_lists[] = {"spec.initContainers", "spec.containers", "spec.ephemeralContainers"};

json_t *pod_spec_of(const json_t *pod, const char *container)
{
	for (size_t l = 0; l < 3; l++) {
		size_t i;
		json_t *spec;
		json_array_foreach(jpath_get(pod, spec_lists[l]), i, spec)
			if (!strcmp(jpath_str(spec, "name", ""), container))
				return spec;
	}
	return NULL;
}

json_t *container_spec(const struct pod *p, const struct container *c) { return pod_spec_of(p->seen ? p->seen : p->obj, c->name); }

struct container *pod_container_find(struct pod *p, const char *name)
{
	for (size_t i = 0; i < p->containers_count; i++)
		if (!strcmp(p->containers[i].name, name))
			return &p->containers[i];
	return NULL;
}

bool pod_restart_always(const struct pod *p) { return !strcmp(jpath_str(p->seen, "spec.restartPolicy", "Always"), "Always"); }
bool pod_restart_never(const struct pod *p) { return !strcmp(jpath_str(p->seen, "spec.restartPolicy", "Always"), "Never"); }

static enum container_kind kind_of(size_t list, const json_t *spec)
{
	if (list == 0)
		return strcmp(jpath_str(spec, "restartPolicy", ""), "Always") ? CONTAINER_INIT : CONTAINER_SIDECAR;
	return list == 1 ? CONTAINER_APP : CONTAINER_EPHEMERAL;
}

int pod_containers_load(struct pod *p)
{
	size_t total = 0;
	for (size_t l = 0; l < 3; l++)
		total += json_array_size(jpath_get(p->seen, spec_lists[l]));
	if (total == p->containers_count && p->containers_loaded)
		return 0;   // containers are only ever added (ephemeral ones)
	struct container *all = calloc(total ? total : 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	size_t n = 0;
	for (size_t l = 0; l < 3; l++) {
		size_t i;
		json_t *spec;
		json_array_foreach(jpath_get(p->seen, spec_lists[l]), i, spec) {
			struct container *old = pod_container_find(p, jpath_str(spec, "name", ""));
			if (old) {
				all[n] = *old;
			} else {
				snprintf(all[n].name, sizeof(all[n].name), "%s", jpath_str(spec, "name", ""));
				strcpy(all[n].waiting_reason, "ContainerCreating");
			}
			all[n].kind = kind_of(l, spec);
			all[n++].index = (unsigned)i;
		}
	}
	pthread_mutex_lock(&p->lock);
	free(p->containers);
	p->containers = all;
	p->containers_count = n;
	p->containers_loaded = true;
	pthread_mutex_unlock(&p->lock);
	return 0;
}

void container_set_waiting(struct pod *p, struct container *c, const char *reason, const char *message)
{
	pthread_mutex_lock(&p->lock);
	c->phase = CONTAINER_WAITING;
	c->ready = c->started = false;
	snprintf(c->waiting_reason, sizeof(c->waiting_reason), "%s", reason);
	free(c->waiting_message);
	c->waiting_message = message && *message ? utf8_clean(strdup(message)) : NULL;
	pthread_mutex_unlock(&p->lock);
}

void container_set_terminated(struct pod *p, struct container *c, int exit_code, int sig, const char *reason, const char *message,
			   uint64_t started_ns, uint64_t finished_ns)
{
	pthread_mutex_lock(&p->lock);
	c->phase = CONTAINER_TERMINATED;
	c->ready = c->started = false;
	c->exit_code = exit_code;
	c->signal = sig;
	snprintf(c->reason, sizeof(c->reason), "%s", reason);
	free(c->message);
	c->message = message && *message ? utf8_clean(strdup(message)) : NULL;
	if (started_ns)
		c->started_ns = started_ns;
	c->ended_ns = clock_real_ns();
	c->finished_ns = finished_ns ? finished_ns : c->ended_ns;
	pthread_mutex_unlock(&p->lock);
}

void container_set_running(struct pod *p, struct container *c, uint64_t started_ns)
{
	pthread_mutex_lock(&p->lock);
	const json_t *spec = container_spec(p, c);
	c->phase = CONTAINER_RUNNING;
	c->started_ns = started_ns ? started_ns : clock_real_ns();
	c->started = c->probe_started = !json_object_get(spec, "startupProbe");
	c->probe_ready = !json_object_get(spec, "readinessProbe");
	c->ready = c->started && c->probe_ready;
	c->probe_failed = false;
	c->kill_mono_ns = 0;
	c->stop_hook_ran = c->stop_sent = c->new_size = c->again = false;
	pthread_mutex_unlock(&p->lock);
}

/* --- what the agent says --- */

static void note_exit(struct pod *p, struct container *c, const Bulkhead__Agent__ContainerStatus *st)
{
	const char *reason = st->oom_killed ? "OOMKilled" : st->exit_code == 0 ? "Completed" : "Error";
	container_set_terminated(p, c, st->exit_code, st->signal, reason, st->termination_message, st->started_real_ns, st->finished_real_ns);
	/* The log must be on the host before the status says so: kubectl logs right after the end is complete. */
	pod_log_drain(p, c);
	const char *policy = jpath_str(container_spec(p, c), "terminationMessagePolicy", "");
	if (!c->message && st->exit_code && !strcmp(policy, "FallbackToLogsOnError")) {
		char *tail = pod_log_tail(p, c);
		pthread_mutex_lock(&p->lock);
		c->message = utf8_clean(tail);
		pthread_mutex_unlock(&p->lock);
	}
	log_info("pods", "container ended pod=%s/%s container=%s exit=%d reason=%s", p->ns, p->name, c->name, st->exit_code, reason);
}

/* A hostd that was killed between the agent's answer and its own note of it: the agent knows better. */
static void found_in_agent(struct pod *p, struct container *c, const Bulkhead__Agent__ContainerStatus *st)
{
	c->created = true;
	if (st->state == BULKHEAD__AGENT__CONTAINER_STATE__CREATED)
		return;   // the next start removes it and makes it again
	c->used = true;
	container_set_running(p, c, st->started_real_ns);
	pod_log_follow(p, c);
	if (st->state == BULKHEAD__AGENT__CONTAINER_STATE__EXITED)
		note_exit(p, c, st);
}

void pod_containers_sync(struct pod *p)
{
	Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT;
	Bulkhead__Agent__Nothing nothing = BULKHEAD__AGENT__NOTHING__INIT;
	Bulkhead__Agent__Reply *reply = NULL;
	struct err e = ERR_INIT;
	bool changed = false;
	rq.what_case = BULKHEAD__AGENT__REQUEST__WHAT_LIST_CONTAINERS;
	rq.list_containers = &nothing;
	if (agent_request(p->agent, &rq, AGENT_ANSWER_MS, &reply, &e)) {
		log_warn("pods", "%s/%s: agent: %s", p->ns, p->name, e.text);
		pod_wake_at(p, clock_mono_ns() + NS_PER_S);
		return;
	}
	for (size_t i = 0; i < p->containers_count; i++) {
		struct container *c = &p->containers[i];
		const Bulkhead__Agent__ContainerStatus *st = NULL;
		char id[24];
		container_id(c, id);
		for (size_t j = 0; reply->what_case == BULKHEAD__AGENT__REPLY__WHAT_CONTAINERS && j < reply->containers->n_containers; j++)
			if (!strcmp(reply->containers->containers[j]->id, id))
				st = reply->containers->containers[j];
		if (c->phase == CONTAINER_WAITING && st && !c->created) {
			found_in_agent(p, c, st);
			changed = true;
		} else if (c->phase == CONTAINER_RUNNING && !st) {
			container_set_terminated(p, c, EXIT_KILLED, SIGKILL, "ContainerStatusUnknown",
				       "The container could not be located when the pod was terminated", 0, 0);
			changed = true;
		} else if (c->phase == CONTAINER_RUNNING && st->state == BULKHEAD__AGENT__CONTAINER_STATE__EXITED) {
			note_exit(p, c, st);
			changed = true;
		}
		if (c->phase != CONTAINER_RUNNING)
			c->created &= st != NULL;
	}
	bulkhead__agent__reply__free_unpacked(reply, NULL);
	if (changed)
		pod_state_save(p, NULL);
}

/* True when the containers after this init container or sidecar may start. */
bool container_lets_pass(const struct container *c)
{
	if (c->kind == CONTAINER_SIDECAR)
		return c->phase == CONTAINER_RUNNING && c->started;
	return c->phase == CONTAINER_TERMINATED && c->exit_code == 0;
}

/* A new VM is a new sandbox: init containers run again. That is no restart of what has failed: it waits for nothing. */
static void run_again(struct pod *p, struct container *c)
{
	container_set_waiting(p, c, "PodInitializing", NULL);
	c->wait_from_ns = 0;
	c->planned = false;
}

void pod_containers_vm_lost(struct pod *p, const char *why)
{
	for (size_t i = 0; i < p->containers_count; i++) {
		struct container *c = &p->containers[i];
		c->created = false;
		if (c->phase == CONTAINER_RUNNING)
			container_set_terminated(p, c, EXIT_KILLED, SIGKILL, "Error", why, 0, 0);
		else if (why && !pod_terminal(p) && c->kind == CONTAINER_INIT && container_lets_pass(c))
			run_again(p, c);
	}
	pod_state_save(p, NULL);
}

void container_event(struct pod *p, const struct container *c, const char *type, const char *reason, const char *text)
{
	char field[96];
	const char *list = c->kind <= CONTAINER_SIDECAR ? "initContainers" : c->kind == CONTAINER_APP ? "containers" : "ephemeralContainers";
	snprintf(field, sizeof(field), "spec.%s{%s}", list, c->name);
	events_emit(p->host->events, p->seen, field, type, reason, "%s", text);
}
