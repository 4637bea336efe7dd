// SPDX-License-Identifier: Apache-2.0
// When a container that has ended is started again, and what is said of it until then.
#include <stdio.h>

#include "backoff.h"
#include "base/jpath.h"
#include "pod.h"
#include "pod_containers.h"

bool container_must_end(struct pod *p, struct container *c, bool probe_failed, const json_t **probe, char *text, size_t text_len)
{
	bool startup = !c->started, long_lived = c->kind == CONTAINER_APP || c->kind == CONTAINER_SIDECAR;
	*probe = probe_failed ? json_object_get(container_spec(p, c), startup ? "startupProbe" : "livenessProbe") : NULL;
	bool restarts = c->kind == CONTAINER_SIDECAR || !pod_restart_never(p);
	if (probe_failed)
		snprintf(text, text_len, "Container %s failed %s probe%s", c->name, startup ? "startup" : "liveness",
			 restarts ? ", will be restarted" : "");
	else if (c->new_size)
		snprintf(text, text_len, "Container %s resize requires restart", c->name);
	else if (long_lived && pod_image_changed(p, c))
		snprintf(text, text_len, "Container %s definition changed, will be restarted", c->name);
	else if (c->again)     // by an earlier hostd, or for what is no more so: it has been told, there is no way back
		snprintf(text, text_len, "Container %s will be restarted", c->name);
	else
		return false;
	c->again |= !probe_failed || restarts;
	return true;
}

bool container_starts_anew(const struct pod *p, const struct container *c)
{
	if (c->kind == CONTAINER_SIDECAR || c->new_size || c->again)
		return true;
	if (c->kind == CONTAINER_EPHEMERAL)
		return false;
	if (c->kind == CONTAINER_INIT)
		return c->exit_code != 0 && !pod_restart_never(p);
	return pod_restart_always(p) || (c->exit_code != 0 && !pod_restart_never(p));
}

/* By the host's clock: a guest that sets its own, or that a step of ours has not reached, has no say in how long it waits. */
static uint64_t own_end(const struct container *c)
{
	return c->ended_ns > c->restart.since_ns ? c->ended_ns : c->restart.since_ns;   // no instance ends before it began
}

/* The end that decides whether it waits. A container that was ended from here (a probe failed) is started at once unless the end
 * before was a short while ago: so does a kubelet, which looks for the last exit before it stops the container. 0: none. */
static uint64_t deciding_end(const struct container *c) { return c->again ? c->ended_before_ns : own_end(c); }

void container_ended(struct pod *p, struct container *c)
{
	uint64_t from = deciding_end(c);
	c->ended_before_ns = own_end(c);
	json_t *state = container_state_json(c);
	pthread_mutex_lock(&p->lock);
	json_decref(c->last_state);
	c->last_state = state;
	pthread_mutex_unlock(&p->lock);
	c->wait_from_ns = from;
	c->planned = false;
	container_set_waiting(p, c, "ContainerCreating", NULL);
}

uint64_t container_plan_restart(struct pod *p, struct container *c, uint64_t now_ns)
{
	char text[512], delay[BACKOFF_TEXT_MAX];
	c->planned = true;
	if (c->new_size || !backoff_wait_ns(&c->restart, c->wait_from_ns, now_ns))   // what was asked for does not wait
		return 0;
	uint64_t wait = backoff_wait_ns(&c->restart, own_end(c), now_ns);
	snprintf(text, sizeof(text), "back-off %s restarting failed container=%s pod=%s_%s(%s)", backoff_text(c->restart.delay_ns, delay),
		 c->name, p->name, p->ns, p->uid);
	container_set_waiting(p, c, "CrashLoopBackOff", text);
	snprintf(text, sizeof(text), "Back-off restarting failed container %s in pod %s_%s(%s)", c->name, p->name, p->ns, p->uid);
	container_event(p, c, "Warning", "BackOff", text);
	return wait;
}

void container_next_instance(struct pod *p, struct container *c, uint64_t now_ns)
{
	pthread_mutex_lock(&p->lock);
	c->restart_count++;
	pthread_mutex_unlock(&p->lock);
	c->used = false;
	c->kill_mono_ns = 0;
	if (!c->new_size && c->wait_from_ns)
		backoff_step(&c->restart, own_end(c), now_ns);
}
