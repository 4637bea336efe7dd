// SPDX-License-Identifier: Apache-2.0
// The probes of one pod; see pod_probes.h. Counters start anew with every instance of a container.
#include "pod_probes.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "events.h"
#include "pod.h"
#include "probe.h"

#define STACK (256 * 1024)

enum kind { STARTUP, READINESS, LIVENESS };
static const char *const spec_keys[] = {"startupProbe", "readinessProbe", "livenessProbe"};
static const char *const event_names[] = {"Startup", "Readiness", "Liveness"};

struct probe {
	char container[64];
	enum kind kind;
	json_t *spec, *container_spec;
	unsigned instance;            // of the container, that the counters are about
	bool sidecar;
	bool armed, settled;          // settled: the startup probe has succeeded
	unsigned successes, failures;
	uint64_t next_mono_ns;
};

struct pod_probes {
	struct pod *pod;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop, poked;
	size_t count;
	struct probe probes[];
};

static long long number(const struct probe *pr, const char *key, long long fallback)
{
	long long n = jpath_int(pr->spec, key, fallback);
	return n > 0 ? n : fallback;
}

/* What must be known to run it; false: not now. Arms the counters when the container has a new instance. */
static bool due(struct pod_probes *pp, struct probe *pr, uint64_t now, struct probe_target *t, char id[24], char ip[46], char **vsock)
{
	struct pod *p = pp->pod;
	pthread_mutex_lock(&p->lock);
	struct container *c = pod_container_find(p, pr->container);
	bool run = c && c->phase == CONTAINER_RUNNING && p->vm;
	if (run && (!pr->armed || pr->instance != c->restart_count)) {
		pr->armed = true;
		pr->settled = pr->kind == STARTUP && c->probe_started;   // known from before a hostd restart
		pr->instance = c->restart_count;
		pr->successes = pr->failures = 0;
		pr->next_mono_ns = now + (uint64_t)jpath_int(pr->spec, "initialDelaySeconds", 0) * NS_PER_S;
	}
	if (!run)
		pr->armed = false;
	run = run && now >= pr->next_mono_ns && !pr->settled && (pr->kind == STARTUP || c->probe_started);
	if (run) {
		container_id(c, id);
		snprintf(ip, 46, "%s", p->pod_ip);
		*vsock = strdup(vm_vsock_path(p->vm));
		*t = (struct probe_target){.vsock_path = *vsock, .container_id = id, .pod_ip = ip, .container = pr->container_spec};
	}
	pthread_mutex_unlock(&p->lock);
	return run;
}

static void verdict(struct pod_probes *pp, struct probe *pr, bool ok)
{
	struct pod *p = pp->pod;
	bool changed = false;
	pthread_mutex_lock(&p->lock);
	struct container *c = pod_container_find(p, pr->container);
	if (c && c->phase == CONTAINER_RUNNING && c->restart_count == pr->instance) {
		bool started = c->probe_started, ready = c->probe_ready, failed = c->probe_failed;
		if (pr->kind == STARTUP && ok)
			c->probe_started = pr->settled = true;
		else if (pr->kind == READINESS)
			c->probe_ready = ok;
		else if (!ok)
			c->probe_failed = true;
		changed = started != c->probe_started || ready != c->probe_ready || failed != c->probe_failed;
	}
	pthread_mutex_unlock(&p->lock);
	if (changed)
		pod_poke(p);
}

static void tell(struct pod_probes *pp, const struct probe *pr, const char *why)
{
	struct pod *p = pp->pod;
	char field[96];
	pthread_mutex_lock(&p->lock);
	json_t *obj = json_incref(p->obj);
	pthread_mutex_unlock(&p->lock);
	snprintf(field, sizeof(field), "spec.%s{%s}", pr->sidecar ? "initContainers" : "containers", pr->container);
	events_emit(p->host->events, obj, field, "Warning", "Unhealthy", "%s probe failed: %s", event_names[pr->kind], why);
	pthread_mutex_lock(&p->lock);   // json counts references without atomics we could rely on
	json_decref(obj);
	pthread_mutex_unlock(&p->lock);
}

static void run_one(struct pod_probes *pp, struct probe *pr)
{
	struct probe_target t;
	char id[24], ip[46], why[1024] = "", *vsock = NULL;
	if (!due(pp, pr, clock_mono_ns(), &t, id, ip, &vsock))
		return;
	bool ok = probe_run(&t, pr->spec, (uint32_t)number(pr, "timeoutSeconds", 1) * 1000, why, sizeof(why)) == 0;
	free(vsock);
	pr->next_mono_ns = clock_mono_ns() + (uint64_t)number(pr, "periodSeconds", 10) * NS_PER_S;
	pr->successes = ok ? pr->successes + 1 : 0;
	pr->failures = ok ? 0 : pr->failures + 1;
	if (!ok)
		tell(pp, pr, why);
	if (ok ? pr->successes >= number(pr, "successThreshold", 1) : pr->failures >= number(pr, "failureThreshold", 3))
		verdict(pp, pr, ok);
}

static void *run(void *arg)
{
	struct pod_probes *pp = arg;
	pthread_mutex_lock(&pp->lock);
	while (!pp->stop) {
		pp->poked = false;
		pthread_mutex_unlock(&pp->lock);
		uint64_t next = clock_mono_ns() + 3600 * NS_PER_S;
		for (size_t i = 0; i < pp->count; i++)
			run_one(pp, &pp->probes[i]);
		uint64_t now = clock_mono_ns();
		for (size_t i = 0; i < pp->count; i++) {
			const struct probe *pr = &pp->probes[i];
			/* One that waits for the startup probe of its container looks again in a second. */
			uint64_t at = pr->next_mono_ns > now ? pr->next_mono_ns : now + NS_PER_S;
			if (pr->armed && !pr->settled && at < next)
				next = at;
		}
		struct timespec until = {.tv_sec = (time_t)(next / NS_PER_S), .tv_nsec = (long)(next % NS_PER_S)};
		pthread_mutex_lock(&pp->lock);
		if (!pp->stop && !pp->poked)
			pthread_cond_timedwait(&pp->wake, &pp->lock, &until);
	}
	pthread_mutex_unlock(&pp->lock);
	return NULL;
}

static void pod_probes_free(struct pod_probes *pp)
{
	for (size_t i = 0; i < pp->count; i++) {
		json_decref(pp->probes[i].spec);
		json_decref(pp->probes[i].container_spec);
	}
	pthread_cond_destroy(&pp->wake);
	pthread_mutex_destroy(&pp->lock);
	free(pp);
}

/* Copies, so that no other thread counts the same references. */
static void collect(struct pod_probes *pp)
{
	struct pod *p = pp->pod;
	for (size_t i = 0; i < p->containers_count; i++)
		for (size_t k = 0; k < 3; k++) {
			const json_t *spec = container_spec(p, &p->containers[i]), *probe = json_object_get(spec, spec_keys[k]);
			if (!probe || p->containers[i].kind == CONTAINER_INIT)
				continue;
			struct probe *pr = &pp->probes[pp->count++];
			strcpy(pr->container, p->containers[i].name);
			pr->kind = (enum kind)k;
			pr->sidecar = p->containers[i].kind == CONTAINER_SIDECAR;
			pr->spec = json_deep_copy(probe);
			pr->container_spec = json_deep_copy(spec);
		}
}

struct pod_probes *pod_probes_start(struct pod *p)
{
	struct pod_probes *pp = calloc(1, sizeof(*pp) + p->containers_count * 3 * sizeof(struct probe));
	if (!pp)
		return NULL;
	pp->pod = p;
	pthread_mutex_init(&pp->lock, NULL);
	pthread_condattr_t ca;
	pthread_condattr_init(&ca);
	pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	pthread_cond_init(&pp->wake, &ca);
	pthread_condattr_destroy(&ca);
	collect(pp);
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	if (pp->count == 0 || pthread_create(&pp->thread, &attr, run, pp)) {
		pod_probes_free(pp);
		pp = NULL;
	}
	pthread_attr_destroy(&attr);
	return pp;
}

void pod_probes_poke(struct pod_probes *pp)
{
	if (!pp)
		return;
	pthread_mutex_lock(&pp->lock);
	pp->poked = true;
	pthread_cond_signal(&pp->wake);
	pthread_mutex_unlock(&pp->lock);
}

void pod_probes_stop(struct pod_probes *pp)
{
	if (!pp)
		return;
	pthread_mutex_lock(&pp->lock);
	pp->stop = true;
	pthread_cond_signal(&pp->wake);
	pthread_mutex_unlock(&pp->lock);
	pthread_join(pp->thread, NULL);
	pod_probes_free(pp);
}
