// SPDX-License-Identifier: Apache-2.0
// When a container that has ended is started again, and what is said of it until then.
#include <stdio.h>

#include "backoff.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "pod.h"
#include "pod_containers.h"

/* The end that decides whether it waits. A container that was ended from here (a probe failed) is started at once unless the end
 * before was a short while ago: so does a kubelet, which looks for the last exit before it stops the container. 0: none. */
static uint64_t deciding_end(const struct container *c)
{
	uint64_t ns = 0;
	if (!c->kill_mono_ns)
		return c->finished_ns;
	clock_parse(jpath_str(c->last_state, "terminated.finishedAt", ""), &ns);
	return ns;
}

void container_ended(struct pod *p, struct container *c)
{
	uint64_t from = deciding_end(c);
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
	uint64_t wait = backoff_wait_ns(&c->restart, c->finished_ns, now_ns);
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
		backoff_step(&c->restart, c->finished_ns, now_ns);
}
