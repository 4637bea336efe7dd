// SPDX-License-Identifier: Apache-2.0
// What pods use; see pods_stats.c.
#ifndef BH_HOSTD_PODS_STATS_H
#define BH_HOSTD_PODS_STATS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "agent.pb-c.h"

struct host;
struct pods;
struct vm;

/* A pod whose VM runs. about: {containers: {NAME: {id, image, memoryLimit, cpuLimitMilli, cpuRequestMilli}}, volumes: {the agent's name:
 * {name, claim}}}. vm: counted. */
struct pods_running { char *ns, *name, *uid, *vsock_path, *started; json_t *about; struct vm *vm; };

struct pods_running *pods_running(struct pods *ps, size_t *count);   // pods_running.c; heap
void pods_running_free(struct pods_running *all, size_t count);

/* The agent's answer, or NULL. Freed by bulkhead__agent__reply__free_unpacked. */
Bulkhead__Agent__Reply *pods_stats_ask(const char *vsock_path);
void pods_stats_node(uint64_t *cpu_ns, uint64_t *memory_bytes);      // of this machine: CPU time since boot, memory in use

/* Pages of a VM belong to no container of it: of what it has in the compressed store each is said to have as large a share as it has of
 * the memory that all of them use, and together they have all of it. */
uint64_t pods_stats_swap(const Bulkhead__Agent__PodStats *st, size_t container, uint64_t compressed);

json_t *pods_stats_summary(struct pods *ps, const struct host *h);   // new reference
char *pods_metrics_resource(struct pods *ps);                        // pods_metrics.c: Prometheus text, heap
char *pods_metrics_cadvisor(struct pods *ps);

#endif
