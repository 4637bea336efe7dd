// SPDX-License-Identifier: Apache-2.0
// Containers are told to end: their hooks, their signals, their time.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "pod.h"
#include "pod_containers.h"
#include "probe.h"

#define STOP_STACK (256 * 1024)

static int stop_signal(const struct pod *p, const struct container *c)
{
	static const struct { const char *name; int number; } names[] = {
		{"SIGTERM", SIGTERM}, {"SIGINT", SIGINT}, {"SIGQUIT", SIGQUIT}, {"SIGHUP", SIGHUP}, {"SIGKILL", SIGKILL},
		{"SIGUSR1", SIGUSR1}, {"SIGUSR2", SIGUSR2}, {"SIGWINCH", SIGWINCH}, {"SIGRTMIN+3", 37}};
	const char *want = jpath_str(container_spec(p, c), "lifecycle.stopSignal", jpath_str(c->image_config, "config.StopSignal", "SIGTERM"));
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

uint64_t container_grace_ns(const struct pod *p, const json_t *probe)
{
	long long s = jpath_int(probe, "terminationGracePeriodSeconds", jpath_int(p->seen, "metadata.deletionGracePeriodSeconds",
				jpath_int(p->seen, "spec.terminationGracePeriodSeconds", 30)));
	return (s < 0 ? 0 : (uint64_t)s) * NS_PER_S;
}

/* A lifecycle handler, waited for at most as long as the pod has to end. 0 or not. */
int container_lifecycle(struct pod *p, const struct container *c, const char *which, char *why, size_t why_len)
{
	char id[24], path[32];
	const json_t *spec = container_spec(p, c);
	snprintf(path, sizeof(path), "lifecycle.%s", which);
	const json_t *handler = jpath_get(spec, path);
	long long pause_s = jpath_int(handler, "sleep.seconds", 0);
	if (!handler)
		return 0;
	uint64_t limit = container_grace_ns(p, NULL);
	if (pause_s > 0) {
		uint64_t ns = (uint64_t)pause_s * NS_PER_S < limit ? (uint64_t)pause_s * NS_PER_S : limit;
		nanosleep(&(struct timespec){.tv_sec = (time_t)(ns / NS_PER_S)}, NULL);
		return 0;
	}
	struct probe_target t = {.vsock_path = vm_vsock_path(p->vm), .container_id = container_id(c, id), .pod_ip = p->pod_ip, .container = spec};
	return probe_run(&t, handler, (uint32_t)(limit / NS_PER_MS ? limit / NS_PER_MS : 1), why, why_len);
}

static void pre_stop(struct pod *p, struct container *c, const char *why)
{
	char text[160], reason[512], said[600];
	snprintf(text, sizeof(text), "Stopping container %s", c->name);
	container_event(p, c, "Normal", "Killing", why ? why : text);
	if (container_lifecycle(p, c, "preStop", reason, sizeof(reason))) {
		snprintf(said, sizeof(said), "PreStopHook failed: %s", reason);
		container_event(p, c, "Warning", "FailedPreStopHook", said);
	}
	c->stop_hook_ran = true;
}

static void send_signal(struct pod *p, struct container *c)
{
	pod_container_signal(p, c, stop_signal(p, c));
	c->stop_sent = true;
}

void container_send_stop(struct pod *p, struct container *c, const char *why)
{
	pre_stop(p, c, why);
	send_signal(p, c);
}

/* A sidecar serves the containers and the sidecars after it until they have ended. */
static bool is_needed(const struct pod *p, const struct container *sidecar)
{
	for (size_t i = 0; i < p->containers_count; i++) {
		const struct container *c = &p->containers[i];
		if (c->phase == CONTAINER_RUNNING &&
		    (c->kind == CONTAINER_APP || (c->kind == CONTAINER_SIDECAR && c->index > sidecar->index)))
			return true;
	}
	return false;
}

struct stopping { struct pod *pod; struct container *container; pthread_t thread; bool threaded; };

static void *stop_one(void *arg)
{
	struct stopping *s = arg;
	pre_stop(s->pod, s->container, NULL);
	if (s->container->kind != CONTAINER_SIDECAR || !is_needed(s->pod, s->container))
		send_signal(s->pod, s->container);
	return NULL;
}

/* All at once: a slow hook of one must not take the others' time. The worker waits, so what they read stands still: a sidecar whose
 * turn comes with the end of a container that ends meanwhile is told when the last hook has ended. */
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

bool pod_containers_stop(struct pod *p)
{
	own_free struct stopping *list = calloc(p->containers_count + 1, sizeof(*list));
	size_t count = 0;
	bool any = false;
	for (size_t i = p->containers_count; i-- > 0;) {
		struct container *c = &p->containers[i];
		any |= c->phase == CONTAINER_RUNNING;
		if (c->phase == CONTAINER_RUNNING && p->agent && !c->stop_hook_ran && list)
			list[count++] = (struct stopping){.pod = p, .container = c};
	}
	if (count)
		stop_together(list, count);
	for (size_t i = 0; i < p->containers_count; i++) {
		struct container *c = &p->containers[i];
		if (c->phase == CONTAINER_RUNNING && p->agent && c->stop_hook_ran && !c->stop_sent && !is_needed(p, c))
			send_signal(p, c);
	}
	return !any;
}

static bool is_untold(const struct container *c)
{
	return c->phase == CONTAINER_RUNNING && c->kind == CONTAINER_SIDECAR && !c->stop_sent;
}

bool pod_containers_stop_late(struct pod *p)
{
	bool untold = false;
	for (size_t i = 0; i < p->containers_count; i++)
		untold |= is_untold(&p->containers[i]);
	if (!p->agent || !untold)          // the VM's end is theirs: a guest that does not answer must not delay it
		return false;
	for (size_t i = 0; i < p->containers_count; i++) {
		struct container *c = &p->containers[i];
		if (is_untold(c))
			send_signal(p, c);
		else if (c->phase == CONTAINER_RUNNING)
			pod_container_signal(p, c, SIGKILL);
	}
	return true;
}
