// SPDX-License-Identifier: Apache-2.0
// What pods use; see pods_stats.c.
#ifndef BH_HOSTD_PODS_STATS_H
#define BH_HOSTD_PODS_STATS_H

#include <jansson.h>
#include <stddef.h>

struct pods;

struct vm;
struct pods_running { char *ns, *name, *uid, *vsock_path, *started; struct vm *vm; };   // a pod whose VM runs; vm: counted

struct pods_running *pods_running(struct pods *ps, size_t *count);   // pods.c; heap
void pods_running_free(struct pods_running *all, size_t count);

json_t *pods_stats_summary(struct pods *ps, const char *node_name);  // new reference
char *pods_metrics_resource(struct pods *ps);                        // Prometheus text, heap

#endif
