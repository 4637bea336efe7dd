// SPDX-License-Identifier: Apache-2.0
// The output of a pod's containers on its way to ROOT/pods/<uid>/logs/<container>/<restart count>.log.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "cri_log.h"
#include "log_collector.h"
#include "pod.h"

#define DRAIN_NS (3 * NS_PER_S)
#define DRAIN_STEP_NS (2 * NS_PER_MS)

static char *log_dir(const struct pod *p, const struct container *c)
{
	char *dir;
	return asprintf(&dir, "%s/logs/%s", p->dir, c->name) < 0 ? NULL : dir;
}

void pod_log_follow(struct pod *p, struct container *c)
{
	struct err e = ERR_INIT;
	char id[24];
	own_free char *dir = log_dir(p, c);
	pod_log_end(p, c);
	struct log_source_spec spec = {.vsock_path = vm_vsock_path(p->vm), .container_id = container_id(c, id), .log_dir = dir,
				       .instance = c->restart_count};
	if (!dir || log_collector_add(p->host->logs, &spec, &c->log, &e))
		log_warn("pods", "%s/%s: log of %s: %s", p->ns, p->name, c->name, dir ? e.text : "no memory");
}

void pod_log_drain(struct pod *p, struct container *c)
{
	own_free char *dir = log_dir(p, c);
	uint64_t end = clock_mono_ns() + DRAIN_NS;
	while (dir && c->log && cri_log_is_ended(dir, c->restart_count) == 0 && clock_mono_ns() < end)
		nanosleep(&(struct timespec){.tv_nsec = DRAIN_STEP_NS}, NULL);
}

void pod_log_end(struct pod *p, struct container *c)
{
	log_collector_remove(p->host->logs, c->log);
	c->log = NULL;
}
