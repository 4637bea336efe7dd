// SPDX-License-Identifier: Apache-2.0
// The output of a pod's containers on its way to ROOT/pods/<uid>/logs/<container>/<restart count>.log.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "cri_log.h"
#include "log_collector.h"
#include "pod.h"

#define DRAIN_NS (3 * NS_PER_S)
#define DRAIN_STEP_NS (2 * NS_PER_MS)
#define MESSAGE_LINES 80          // of a termination message made from the log, as a kubelet takes them
#define MESSAGE_BYTES 2048
#define MESSAGE_READ_MAX (1u << 20)

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

char *pod_log_tail(struct pod *p, const struct container *c)
{
	struct cri_log_query q = CRI_LOG_QUERY_INIT;
	struct cri_log_reader *r = NULL;
	own_free char *dir = NULL;
	struct buf text = BUF_INIT;
	char chunk[4096];
	long n;
	q.tail_lines = MESSAGE_LINES;
	if (asprintf(&dir, "%s/logs/%s", p->dir, c->name) < 0 || cri_log_reader_open(dir, c->restart_count, &q, &r, NULL))
		return NULL;
	while ((n = cri_log_reader_read(r, chunk, sizeof(chunk))) > 0 && text.len < MESSAGE_READ_MAX)
		buf_append(&text, chunk, (size_t)n);
	cri_log_reader_close(r);
	char *message = text.len > MESSAGE_BYTES ? strdup(text.data + text.len - MESSAGE_BYTES) : text.len ? strdup(text.data) : NULL;
	buf_fini(&text);
	return message;
}
