// SPDX-License-Identifier: Apache-2.0
// The containers of a pod: built from the spec, started in order, restarted with the kubelet's back-off, stopped. What
// the agent says is the truth about what runs; what we remember is only the past.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "base/utf8.h"
#include "die.h"
#include "events.h"
#include "k8s/quantity.h"
#include "pod.h"
#include "pod_probes.h"
#include "probe.h"

#define BACKOFF_FIRST_NS (10 * NS_PER_S)
#define BACKOFF_MAX_NS (300 * NS_PER_S)
#define BACKOFF_RESET_NS (600 * NS_PER_S)   // a container that ran this long starts afresh
#define CONFIG_RETRY_NS (5 * NS_PER_S)
#define AGENT_TIMEOUT_MS 60000
#define STOP_STACK (256 * 1024)
#define EXIT_KILLED 137
#define EXIT_START_ERROR 128

const char *container_id(const struct container *c, char out[24])
{
	static const char kinds[] = {'i', 'i', 'a', 'e'};
	snprintf(out, 24, "%c%u-%u", kinds[c->kind], c->index, c->restart_count);
	return out;
}

static const char *const spec_lists[] = {"spec.initContainers", "spec.containers", "spec.ephemeralContainers"};

json_t *container_spec(const struct pod *p, const struct container *c)
{
	const json_t *obj = p->seen ? p->seen : p->obj;
	for (size_t l = 0; l < 3; l++) {
		size_t i;
		json_t *spec;
		json_array_foreach(jpath_get(obj, spec_lists[l]), i, spec)
			if (!strcmp(jpath_str(spec, "name", ""), c->name))
				return spec;
	}
	return NULL;
}

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

static void set_waiting(struct pod *p, struct container *c, const char *reason, const char *message)
{
	pthread_mutex_lock(&p->lock);
	c->phase = CONTAINER_WAITING;
	c->ready = c->started = false;
	snprintf(c->waiting_reason, sizeof(c->waiting_reason), "%s", reason);
	free(c->waiting_message);
	c->waiting_message = message && *message ? utf8_clean(strdup(message)) : NULL;
	pthread_mutex_unlock(&p->lock);
}

static void set_terminated(struct pod *p, struct container *c, int exit_code, int sig, const char *reason, const char *message,
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
	c->finished_ns = finished_ns ? finished_ns : clock_real_ns();
	pthread_mutex_unlock(&p->lock);
}

static void set_running(struct pod *p, struct container *c, uint64_t started_ns)
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
	c->stop_sent = c->backoff_told = false;
	pthread_mutex_unlock(&p->lock);
}

/* --- what the agent says --- */

static void note_exit(struct pod *p, struct container *c, const Bulkhead__Agent__ContainerStatus *st)
{
	const char *reason = st->oom_killed ? "OOMKilled" : st->exit_code == 0 ? "Completed" : "Error";
	set_terminated(p, c, st->exit_code, st->signal, reason, st->termination_message, st->started_real_ns, st->finished_real_ns);
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
	set_running(p, c, st->started_real_ns);
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
	if (agent_request(p->agent, &rq, AGENT_TIMEOUT_MS, &reply, &e)) {
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
			set_terminated(p, c, EXIT_KILLED, SIGKILL, "ContainerStatusUnknown",
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
static bool lets_pass(const struct container *c)
{
	if (c->kind == CONTAINER_SIDECAR)
		return c->phase == CONTAINER_RUNNING && c->started;
	return c->phase == CONTAINER_TERMINATED && c->exit_code == 0;
}

void pod_containers_vm_lost(struct pod *p, const char *why)
{
	for (size_t i = 0; i < p->containers_count; i++) {
		struct container *c = &p->containers[i];
		c->created = false;
		if (c->phase == CONTAINER_RUNNING)
			set_terminated(p, c, EXIT_KILLED, SIGKILL, "Error", why, 0, 0);
		else if (why && !pod_terminal(p) && c->kind == CONTAINER_INIT && lets_pass(c))
			set_waiting(p, c, "PodInitializing", NULL);   // a new VM is a new sandbox: init containers run again
	}
	pod_state_save(p, NULL);
}

/* --- starting --- */

static int agent_ref_call(struct pod *p, const struct container *c, Bulkhead__Agent__Request__WhatCase what, struct err *e)
{
	Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT;
	Bulkhead__Agent__ContainerRef ref = BULKHEAD__AGENT__CONTAINER_REF__INIT;
	char id[24];
	ref.id = (char *)container_id(c, id);
	rq.what_case = what;
	if (what == BULKHEAD__AGENT__REQUEST__WHAT_START_CONTAINER)
		rq.start_container = &ref;
	else
		rq.remove_container = &ref;
	return agent_request(p->agent, &rq, AGENT_TIMEOUT_MS, NULL, e);
}

static void container_event(struct pod *p, const struct container *c, const char *type, const char *reason, const char *text)
{
	char field[96];
	const char *list = c->kind <= CONTAINER_SIDECAR ? "initContainers" : c->kind == CONTAINER_APP ? "containers" : "ephemeralContainers";
	snprintf(field, sizeof(field), "spec.%s{%s}", list, c->name);
	events_emit(p->host->events, p->seen, field, type, reason, "%s", text);
}

static void config_error(struct pod *p, struct container *c, const char *reason, const struct err *e)
{
	char text[ERR_TEXT_MAX + 16];
	set_waiting(p, c, reason, e->text);
	snprintf(text, sizeof(text), "Error: %s", e->text);
	container_event(p, c, "Warning", "Failed", text);
	c->retry_mono_ns = clock_mono_ns() + CONFIG_RETRY_NS;
	pod_wake_at(p, c->retry_mono_ns);
}

static int create_in_agent(struct pod *p, struct container *c, const json_t *spec, const json_t *oci, struct err *e)
{
	Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT;
	Bulkhead__Agent__CreateContainer cc = BULKHEAD__AGENT__CREATE_CONTAINER__INIT;
	own_free char *config = json_dumps(oci, JSON_COMPACT);
	own_free char *user = NULL;
	const json_t *pod_sc = jpath_get(p->seen, "spec.securityContext"), *sc = jpath_get(spec, "securityContext");
	json_t *uid = jpath_get(sc, "runAsUser") ? jpath_get(sc, "runAsUser") : jpath_get(pod_sc, "runAsUser");
	json_t *gid = jpath_get(sc, "runAsGroup") ? jpath_get(sc, "runAsGroup") : jpath_get(pod_sc, "runAsGroup");
	const char *image_user = jpath_str(c->image_config, "config.User", "");
	char id[24];
	int n;
	if (uid && gid)
		n = asprintf(&user, "%lld:%lld", json_integer_value(uid), json_integer_value(gid));
	else if (uid)
		n = asprintf(&user, "%lld", json_integer_value(uid));
	else if (gid)
		n = asprintf(&user, "%.*s:%lld", (int)strcspn(image_user, ":"), *image_user ? image_user : "0", json_integer_value(gid));
	else
		n = asprintf(&user, "%s", image_user);
	if (n < 0 || !config)
		return err_sys(e, ENOMEM, "create container");
	json_t *groups = jpath_get(pod_sc, "supplementalGroups");
	uint32_t extra[32];
	if (json_array_size(groups) > 32)
		return err_set(e, EINVAL, "a pod can have 32 supplemental groups at most");
	for (cc.n_supplemental_groups = 0; cc.n_supplemental_groups < json_array_size(groups);
	     cc.n_supplemental_groups++)
		extra[cc.n_supplemental_groups] = (uint32_t)json_integer_value(json_array_get(groups, cc.n_supplemental_groups));
	cc.supplemental_groups = extra;
	cc.fs_group = (uint32_t)jpath_int(pod_sc, "fsGroup", 0);
	cc.id = (char *)container_id(c, id);
	cc.name = c->name;
	cc.image_serial = c->image_serial;
	cc.oci_config = config;
	cc.user = user;
	cc.tty = jpath_bool(spec, "tty", false);
	cc.stdin = jpath_bool(spec, "stdin", false);
	cc.stdin_once = jpath_bool(spec, "stdinOnce", false);
	cc.termination_message_path = (char *)jpath_str(spec, "terminationMessagePath", "/dev/termination-log");
	cc.writable_bytes = (uint64_t)k8s_quantity_value(jpath_get(spec, "resources.limits.ephemeral-storage"), 0);
	cc.run_as_non_root = jpath_bool(sc, "runAsNonRoot", jpath_bool(pod_sc, "runAsNonRoot", false));
	char target_id[24];
	const char *target_name = c->kind == CONTAINER_EPHEMERAL ? jpath_str(spec, "targetContainerName", "") : "";
	const struct container *target = *target_name ? pod_container_find(p, target_name) : NULL;
	if (*target_name && !target)
		return err_set(e, EINVAL, "target container %s not found", target_name);
	if (target)
		cc.process_namespace_of = (char *)container_id(target, target_id);
	int rc = pod_mounts(p, spec, &cc, e);
	if (!rc) {
		rq.what_case = BULKHEAD__AGENT__REQUEST__WHAT_CREATE_CONTAINER;
		rq.create_container = &cc;
		rc = agent_request(p->agent, &rq, AGENT_TIMEOUT_MS, NULL, e);
	}
	pod_mounts_free(&cc);
	return rc;
}

static int lifecycle(struct pod *p, const struct container *c, const char *which, char *why, size_t why_len);

static void post_start(struct pod *p, struct container *c)
{
	char why[512] = "", text[600];
	if (!lifecycle(p, c, "postStart", why, sizeof(why)))
		return;
	snprintf(text, sizeof(text), "PostStartHook failed: %s", why);
	container_event(p, c, "Warning", "FailedPostStartHook", text);
	pod_container_signal(p, c, SIGKILL);
}

static void start(struct pod *p, struct container *c)
{
	struct err e = ERR_INIT;
	own_json json_t *oci = NULL;
	char text[ERR_TEXT_MAX + 64];
	const json_t *spec = container_spec(p, c);
	if (c->created) {
		agent_ref_call(p, c, BULKHEAD__AGENT__REQUEST__WHAT_REMOVE_CONTAINER, NULL);
		c->created = false;
	}
	int rc = pod_image_late(p, c, &e);
	if (rc == -EAGAIN || rc == -ECANCELED || rc == -EPIPE)
		return;   // its waiting reason tells; or the VM has ended
	if (rc || oci_config(p, c, spec, &oci, &e) || pod_shares_ensure(p, &e)) {
		config_error(p, c, rc ? "CreateContainerError" : "CreateContainerConfigError", &e);
		return;
	}
	if (c->used) {
		pthread_mutex_lock(&p->lock);
		c->restart_count++;
		pthread_mutex_unlock(&p->lock);
		c->used = false;
	}
	pod_state_save(p, NULL);
	uint64_t t = clock_mono_ns();
	rc = create_in_agent(p, c, spec, oci, &e);
	die_at("created");
	if (rc == -EPIPE)
		return;   // the VM has ended; the next round sees it
	if (rc) {
		c->created = rc == -EEXIST;   // the next start removes it
		config_error(p, c, "CreateContainerError", &e);
		return;
	}
	c->created = true;
	snprintf(text, sizeof(text), "Created container %s", c->name);
	container_event(p, c, "Normal", "Created", text);
	pod_log_follow(p, c);
	rc = agent_ref_call(p, c, BULKHEAD__AGENT__REQUEST__WHAT_START_CONTAINER, &e);
	die_at("started");
	if (rc == -EPIPE)
		return;
	c->used = true;
	if (rc) {
		snprintf(text, sizeof(text), "Error: failed to start container \"%s\": %s", c->name, e.text);
		container_event(p, c, "Warning", "Failed", text);
		set_terminated(p, c, EXIT_START_ERROR, 0, "StartError", e.text, clock_real_ns(), 0);
	} else {
		set_running(p, c, 0);
		pod_resize_started(p, c);
		pod_probes_poke(p->probes);
		snprintf(text, sizeof(text), "Started container %s", c->name);
		container_event(p, c, "Normal", "Started", text);
		if (!c->restart_count)
			pod_stage_add(p, "container", clock_mono_ns() - t);
		pod_vm_sample(p);
		post_start(p, c);
	}
	pod_state_save(p, NULL);
}

/* An instance has ended and another shall follow: now, or after the back-off. */
static void plan_restart(struct pod *p, struct container *c)
{
	uint64_t ran = c->finished_ns > c->started_ns ? c->finished_ns - c->started_ns : 0;
	if (ran >= BACKOFF_RESET_NS)
		c->backoff_ns = 0;
	json_t *state = container_state_json(c);
	pthread_mutex_lock(&p->lock);
	json_decref(c->last_state);
	c->last_state = state;
	pthread_mutex_unlock(&p->lock);
	uint64_t now_real = clock_real_ns(), wait = 0;
	if (c->backoff_ns && now_real < c->finished_ns + c->backoff_ns)
		wait = c->finished_ns + c->backoff_ns - now_real;
	c->retry_mono_ns = clock_mono_ns() + wait;
	char text[512];
	snprintf(text, sizeof(text), "back-off %s restarting failed container=%s pod=%s_%s(%s)",
		 c->backoff_ns == 10 * NS_PER_S ? "10s" : c->backoff_ns == 20 * NS_PER_S ? "20s" : c->backoff_ns == 40 * NS_PER_S ?
		 "40s" : c->backoff_ns == 80 * NS_PER_S ? "1m20s" : c->backoff_ns == 160 * NS_PER_S ? "2m40s" : "5m0s",
		 c->name, p->name, p->ns, p->uid);
	set_waiting(p, c, wait ? "CrashLoopBackOff" : "ContainerCreating", wait ? text : NULL);
	if (wait) {
		snprintf(text, sizeof(text), "Back-off restarting failed container %s in pod %s_%s(%s)", c->name, p->name, p->ns, p->uid);
		container_event(p, c, "Warning", "BackOff", text);
	}
	c->backoff_ns = !c->backoff_ns ? BACKOFF_FIRST_NS : c->backoff_ns * 2 > BACKOFF_MAX_NS ? BACKOFF_MAX_NS : c->backoff_ns * 2;
	pod_state_save(p, NULL);
}

static bool should_restart(const struct pod *p, const struct container *c)
{
	if (c->kind == CONTAINER_SIDECAR)
		return true;
	if (c->kind == CONTAINER_EPHEMERAL)
		return false;
	if (c->kind == CONTAINER_INIT)
		return c->exit_code != 0 && !pod_restart_never(p);
	return pod_restart_always(p) || (c->exit_code != 0 && !pod_restart_never(p));
}

static void send_stop(struct pod *p, struct container *c, const char *why);
static uint64_t grace_of(const struct pod *p, const json_t *probe);

/* What the probes found since the last round. */
static void heed_probes(struct pod *p, struct container *c)
{
	char text[160];
	pthread_mutex_lock(&p->lock);
	c->started = c->probe_started;
	c->ready = c->started && c->probe_ready;
	bool failed = c->probe_failed;
	pthread_mutex_unlock(&p->lock);
	if (!failed)
		return;
	uint64_t now = clock_mono_ns();
	if (!c->kill_mono_ns) {
		bool startup = !c->started;
		c->kill_mono_ns = now + grace_of(p, json_object_get(container_spec(p, c), startup ? "startupProbe" : "livenessProbe"));
		snprintf(text, sizeof(text), "Container %s failed %s probe, will be restarted", c->name, startup ? "startup" : "liveness");
		send_stop(p, c, text);
	} else if (now >= c->kill_mono_ns) {
		pod_container_signal(p, c, SIGKILL);
		c->kill_mono_ns = now + NS_PER_S;
	}
	pod_wake_at(p, c->kill_mono_ns);
}

/* One step for one container. */
static void drive_one(struct pod *p, struct container *c)
{
	if (c->phase == CONTAINER_RUNNING)
		heed_probes(p, c);
	if (c->phase == CONTAINER_TERMINATED && should_restart(p, c))
		plan_restart(p, c);
	if (c->phase != CONTAINER_WAITING)
		return;
	if (c->image_id && clock_mono_ns() < c->retry_mono_ns) {   // a pull that waits says so by itself
		pod_wake_at(p, c->retry_mono_ns);
		return;
	}
	start(p, c);
	if (c->phase == CONTAINER_TERMINATED && should_restart(p, c))
		pod_wake_at(p, clock_mono_ns());   // a start that failed at once: plan the next one in another round
}

static void wait_for_init(struct pod *p)
{
	for (size_t i = 0; i < p->containers_count; i++) {
		struct container *c = &p->containers[i];
		if (c->kind == CONTAINER_APP && c->phase == CONTAINER_WAITING && !strcmp(c->waiting_reason, "ContainerCreating"))
			set_waiting(p, c, "PodInitializing", NULL);
	}
}

void pod_containers_drive(struct pod *p)
{
	bool held_back = false;   // by a sidecar that is not up: what runs goes on, nothing new starts
	for (size_t i = 0; i < p->containers_count; i++)   // these wait for nobody
		if (p->containers[i].kind == CONTAINER_EPHEMERAL)
			drive_one(p, &p->containers[i]);
	for (size_t i = 0; i < p->containers_count; i++) {
		struct container *c = &p->containers[i];
		if (c->kind == CONTAINER_EPHEMERAL)
			continue;
		if (held_back && c->phase != CONTAINER_RUNNING && !c->created)
			continue;
		drive_one(p, c);
		if (c->kind == CONTAINER_INIT && !lets_pass(c)) {
			wait_for_init(p);
			return;
		}
		held_back |= c->kind == CONTAINER_SIDECAR && !lets_pass(c);
	}
	if (held_back)
		wait_for_init(p);
}

/* --- stopping --- */

static int stop_signal(const struct container *c)
{
	static const struct { const char *name; int number; } names[] = {
		{"SIGTERM", SIGTERM}, {"SIGINT", SIGINT}, {"SIGQUIT", SIGQUIT}, {"SIGHUP", SIGHUP}, {"SIGKILL", SIGKILL},
		{"SIGUSR1", SIGUSR1}, {"SIGUSR2", SIGUSR2}, {"SIGWINCH", SIGWINCH}, {"SIGRTMIN+3", 37}};
	const char *want = jpath_str(c->image_config, "config.StopSignal", "SIGTERM");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(want, names[i].name) || !strcmp(want, names[i].name + 3))
			return names[i].number;
	int number = atoi(want);
	return number > 0 && number < 65 ? number : SIGTERM;
}

void pod_container_signal(struct pod *p, const struct container *c, int number)
{
	Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT;
	Bulkhead__Agent__SignalContainer sig = BULKHEAD__AGENT__SIGNAL_CONTAINER__INIT;
	struct err e = ERR_INIT;
	char id[24];
	sig.id = (char *)container_id(c, id);
	sig.signal = number;
	rq.what_case = BULKHEAD__AGENT__REQUEST__WHAT_SIGNAL_CONTAINER;
	rq.signal_container = &sig;
	if (agent_request(p->agent, &rq, 5000, NULL, &e) && e.code != ESRCH && e.code != ENOENT)
		log_warn("pods", "%s/%s: stop %s: %s", p->ns, p->name, c->name, e.text);
}

static uint64_t grace_of(const struct pod *p, const json_t *probe)
{
	long long s = jpath_int(probe, "terminationGracePeriodSeconds", jpath_int(p->seen, "metadata.deletionGracePeriodSeconds",
				jpath_int(p->seen, "spec.terminationGracePeriodSeconds", 30)));
	return (s < 0 ? 0 : (uint64_t)s) * NS_PER_S;
}

/* A lifecycle handler, waited for at most as long as the pod has to end. 0 or not. */
static int lifecycle(struct pod *p, const struct container *c, const char *which, char *why, size_t why_len)
{
	char id[24], path[32];
	const json_t *spec = container_spec(p, c);
	snprintf(path, sizeof(path), "lifecycle.%s", which);
	const json_t *handler = jpath_get(spec, path);
	long long pause_s = jpath_int(handler, "sleep.seconds", 0);
	if (!handler)
		return 0;
	uint64_t limit = grace_of(p, NULL);
	if (pause_s > 0) {
		uint64_t ns = (uint64_t)pause_s * NS_PER_S < limit ? (uint64_t)pause_s * NS_PER_S : limit;
		nanosleep(&(struct timespec){.tv_sec = (time_t)(ns / NS_PER_S)}, NULL);
		return 0;
	}
	struct probe_target t = {.vsock_path = vm_vsock_path(p->vm), .container_id = container_id(c, id), .pod_ip = p->pod_ip, .container = spec};
	return probe_run(&t, handler, (uint32_t)(limit / NS_PER_MS ? limit / NS_PER_MS : 1), why, why_len);
}

static void send_stop(struct pod *p, struct container *c, const char *why)
{
	char text[160], reason[512], said[600];
	snprintf(text, sizeof(text), "Stopping container %s", c->name);
	container_event(p, c, "Normal", "Killing", why ? why : text);
	if (lifecycle(p, c, "preStop", reason, sizeof(reason))) {
		snprintf(said, sizeof(said), "PreStopHook failed: %s", reason);
		container_event(p, c, "Warning", "FailedPreStopHook", said);
	}
	pod_container_signal(p, c, stop_signal(c));
	c->stop_sent = true;
}

struct stopping { struct pod *pod; struct container *container; pthread_t thread; bool threaded; };

static void *stop_one(void *arg)
{
	struct stopping *s = arg;
	send_stop(s->pod, s->container, NULL);
	return NULL;
}

/* All at once: a slow hook of one must not take the others' time. The worker waits, so what they read stands still. */
static void stop_together(struct stopping *list, size_t count)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STOP_STACK);
	for (size_t i = 1; i < count; i++)
		list[i].threaded = !pthread_create(&list[i].thread, &attr, stop_one, &list[i]);
	pthread_attr_destroy(&attr);
	for (size_t i = 0; i < count; i++)
		if (!list[i].threaded)
			stop_one(&list[i]);
	for (size_t i = 0; i < count; i++)
		if (list[i].threaded)
			pthread_join(list[i].thread, NULL);
}

bool pod_containers_stop(struct pod *p, bool kill)
{
	bool apps_run = false, any = false;
	own_free struct stopping *list = calloc(p->containers_count + 1, sizeof(*list));
	size_t count = 0;
	for (size_t i = 0; i < p->containers_count; i++)
		apps_run |= p->containers[i].phase == CONTAINER_RUNNING && p->containers[i].kind != CONTAINER_SIDECAR;
	for (size_t i = p->containers_count; i-- > 0;) {
		struct container *c = &p->containers[i];
		if (c->phase != CONTAINER_RUNNING)
			continue;
		any = true;
		if (kill || !p->agent || c->stop_sent || (c->kind == CONTAINER_SIDECAR && apps_run) || !list)
			continue;
		list[count++] = (struct stopping){.pod = p, .container = c};
	}
	if (count)
		stop_together(list, count);
	return !any;
}
