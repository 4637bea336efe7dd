// SPDX-License-Identifier: Apache-2.0
// Containers are started in order, and restarted with the kubelet's back-off.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "die.h"
#include "k8s/quantity.h"
#include "pod.h"
#include "pod_containers.h"
#include "pod_probes.h"

#define CONFIG_RETRY_NS (5 * NS_PER_S)
#define EXIT_START_ERROR 128

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
	return agent_request(p->agent, &rq, AGENT_ANSWER_MS, NULL, e);
}

static void config_error(struct pod *p, struct container *c, const char *reason, const struct err *e)
{
	char text[ERR_TEXT_MAX + 16];
	container_set_waiting(p, c, reason, e->text);
	snprintf(text, sizeof(text), "Error: %s", e->text);
	container_event(p, c, "Warning", "Failed", text);
	c->retry_mono_ns = clock_mono_ns() + CONFIG_RETRY_NS;
	pod_wake_at(p, c->retry_mono_ns);
}

/* A field of the container's security context, else of the pod's. */
static json_t *security(const struct pod *p, const json_t *spec, const char *field)
{
	json_t *own = json_object_get(jpath_get(spec, "securityContext"), field);
	return own ? own : json_object_get(jpath_get(p->seen, "spec.securityContext"), field);
}

static int not_root(const struct pod *p, const struct container *c, struct err *e, const char *why)
{
	return err_set(e, EKEYREJECTED, "%s (pod: \"%s_%s(%s)\", container: %s)", why, p->name, p->ns, p->uid, c->name);
}

/* Who it runs as, in words that the agent understands. Heap. */
static int user_of(const struct pod *p, const struct container *c, const json_t *spec, char **user, struct err *e)
{
	json_t *uid = security(p, spec, "runAsUser"), *gid = security(p, spec, "runAsGroup");
	const char *image_user = jpath_str(c->image_config, "config.User", "");
	int n;
	if (uid && !json_integer_value(uid) && json_is_true(security(p, spec, "runAsNonRoot")))
		return not_root(p, c, e, "container's runAsUser breaks non-root policy");
	if (uid && gid)
		n = asprintf(user, "%lld:%lld", json_integer_value(uid), json_integer_value(gid));
	else if (uid)
		n = asprintf(user, "%lld", json_integer_value(uid));
	else if (gid)
		n = asprintf(user, "%.*s:%lld", (int)strcspn(image_user, ":"), *image_user ? image_user : "0", json_integer_value(gid));
	else
		n = asprintf(user, "%s", image_user);
	if (n < 0)
		*user = NULL;
	return n < 0 ? err_sys(e, ENOMEM, "create container") : 0;
}

/* *asked: the agent was; what is wrong before is wrong with the configuration. */
static int create_in_agent(struct pod *p, struct container *c, const json_t *spec, const json_t *oci, bool *asked, struct err *e)
{
	Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT;
	Bulkhead__Agent__CreateContainer cc = BULKHEAD__AGENT__CREATE_CONTAINER__INIT;
	own_free char *config = json_dumps(oci, JSON_COMPACT);
	own_free char *user = NULL;
	const json_t *pod_sc = jpath_get(p->seen, "spec.securityContext");
	char id[24];
	int rc = config ? user_of(p, c, spec, &user, e) : err_sys(e, ENOMEM, "create container");
	if (rc)
		return rc;
	json_t *groups = jpath_get(pod_sc, "supplementalGroups");
	uint32_t extra[32];
	if (json_array_size(groups) > 32)
		return err_set(e, EINVAL, "a pod can have 32 supplemental groups at most");
	for (cc.n_supplemental_groups = 0; cc.n_supplemental_groups < json_array_size(groups);
	     cc.n_supplemental_groups++)
		extra[cc.n_supplemental_groups] = (uint32_t)json_integer_value(json_array_get(groups, cc.n_supplemental_groups));
	cc.supplemental_groups = extra;
	cc.strict_groups = !strcmp(jpath_str(pod_sc, "supplementalGroupsPolicy", ""), "Strict");
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
	cc.run_as_non_root = json_is_true(security(p, spec, "runAsNonRoot"));
	char target_id[24];
	const char *target_name = c->kind == CONTAINER_EPHEMERAL ? jpath_str(spec, "targetContainerName", "") : "";
	const struct container *target = *target_name ? pod_container_find(p, target_name) : NULL;
	if (*target_name && !target)
		return err_set(e, EINVAL, "target container %s not found", target_name);
	if (target)
		cc.process_namespace_of = (char *)container_id(target, target_id);
	rc = pod_mounts(p, spec, &cc, e);
	*asked = !rc;
	if (!rc) {
		rq.what_case = BULKHEAD__AGENT__REQUEST__WHAT_CREATE_CONTAINER;
		rq.create_container = &cc;
		rc = agent_request(p->agent, &rq, AGENT_ANSWER_MS, NULL, e);
	}
	pod_mounts_free(&cc);
	struct err why = *e;
	return rc == -EKEYREJECTED ? not_root(p, c, e, why.text) : rc;
}

static void post_start(struct pod *p, struct container *c)
{
	char why[512] = "", text[600];
	if (!container_lifecycle(p, c, "postStart", why, sizeof(why)))
		return;
	snprintf(text, sizeof(text), "PostStartHook failed: %s", why);
	container_event(p, c, "Warning", "FailedPostStartHook", text);
	pod_container_signal(p, c, SIGKILL);
}

static void container_start(struct pod *p, struct container *c)
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
	if (c->used)
		container_next_instance(p, c, clock_real_ns());
	pod_state_save(p, NULL);
	uint64_t t = clock_mono_ns();
	bool asked = false;
	rc = create_in_agent(p, c, spec, oci, &asked, &e);
	die_at("created");
	if (rc == -EPIPE)
		return;   // the VM has ended; the next round sees it
	if (rc) {
		c->created = rc == -EEXIST;   // the next start removes it
		config_error(p, c, asked && rc != -EKEYREJECTED ? "CreateContainerError" : "CreateContainerConfigError", &e);
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
	c->image_fresh = c->again = c->new_size = false;   // whatever comes of it
	if (rc) {
		snprintf(text, sizeof(text), "Error: failed to start container \"%s\": %s", c->name, e.text);
		container_event(p, c, "Warning", "Failed", text);
		container_set_terminated(p, c, EXIT_START_ERROR, 0, "StartError", e.text, clock_real_ns(), 0);
	} else {
		container_set_running(p, c, 0);
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
	if (c->phase == CONTAINER_TERMINATED)
		container_ended(p, c);
	c->retry_mono_ns = clock_mono_ns() + container_plan_restart(p, c, clock_real_ns());
	pod_state_save(p, NULL);
}

static void end_for_restart(struct pod *p, struct container *c, uint64_t grace_ns, const char *text)
{
	uint64_t now = clock_mono_ns();
	if (!c->kill_mono_ns) {
		c->kill_mono_ns = now + grace_ns;
		pod_state_save(p, NULL);               // a hostd that finds it ended must know that another shall follow
		container_send_stop(p, c, text);
	} else if (now >= c->kill_mono_ns) {
		pod_container_signal(p, c, SIGKILL);
		c->kill_mono_ns = now + NS_PER_S;
	}
	pod_wake_at(p, c->kill_mono_ns);
}

/* What the probes found since the last round, and what has been asked for. */
static void heed(struct pod *p, struct container *c)
{
	const json_t *probe;
	char text[160];
	pthread_mutex_lock(&p->lock);
	c->started = c->probe_started;
	c->ready = c->started && c->probe_ready;
	bool failed = c->probe_failed;
	pthread_mutex_unlock(&p->lock);
	if (container_must_end(p, c, failed, &probe, text, sizeof(text)))
		end_for_restart(p, c, container_grace_ns(p, probe), text);
}

/* One step for one container. */
static void drive_one(struct pod *p, struct container *c)
{
	if (c->phase == CONTAINER_RUNNING)
		heed(p, c);
	bool again = c->phase == CONTAINER_TERMINATED ? container_starts_anew(p, c) : c->phase == CONTAINER_WAITING && c->used && !c->planned;
	if ((again || c->phase == CONTAINER_WAITING) && pod_image_changed(p, c))
		pod_image_drop(p, c);
	if (again)
		plan_restart(p, c);
	if (c->phase != CONTAINER_WAITING)
		return;
	if (c->image_id && clock_mono_ns() < c->retry_mono_ns) {   // a pull that waits says so by itself
		pod_wake_at(p, c->retry_mono_ns);
		return;
	}
	container_start(p, c);
	if (c->phase == CONTAINER_TERMINATED && container_starts_anew(p, c))
		pod_wake_at(p, clock_mono_ns());   // a start that failed at once: plan the next one in another round
}

static void wait_for_init(struct pod *p)
{
	for (size_t i = 0; i < p->containers_count; i++) {
		struct container *c = &p->containers[i];
		if (c->kind == CONTAINER_APP && c->phase == CONTAINER_WAITING && !strcmp(c->waiting_reason, "ContainerCreating"))
			container_set_waiting(p, c, "PodInitializing", NULL);
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
		if (c->kind == CONTAINER_INIT && !container_lets_pass(c)) {
			wait_for_init(p);
			return;
		}
		held_back |= c->kind == CONTAINER_SIDECAR && !container_lets_pass(c);
	}
	if (held_back)
		wait_for_init(p);
}
