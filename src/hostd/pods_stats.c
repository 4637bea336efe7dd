// SPDX-License-Identifier: Apache-2.0
// What pods use, as their agents say: the kubelet's /stats/summary and /metrics/resource. Each answer asks every running
// VM over a connection of its own, so that no worker waits for a reader of statistics.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent_client.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "pods.h"
#include "pods_stats.h"

#define CONNECT_MS 500
#define ANSWER_MS 2000

static void ignore_event(void *user, const Bulkhead__Agent__Event *ev) { (void)user, (void)ev; }

/* The agent's answer, or NULL. Freed by bulkhead__agent__reply__free_unpacked. */
static Bulkhead__Agent__Reply *ask(const char *vsock_path)
{
	struct agent_client *c = NULL;
	Bulkhead__Agent__Reply *reply = NULL;
	Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT;
	Bulkhead__Agent__Nothing nothing = BULKHEAD__AGENT__NOTHING__INIT;
	rq.what_case = BULKHEAD__AGENT__REQUEST__WHAT_STATS;
	rq.stats = &nothing;
	if (agent_client_open(vsock_path, CONNECT_MS, NULL, ignore_event, NULL, &c, NULL, NULL))
		return NULL;
	if (!agent_request(c, &rq, ANSWER_MS, &reply, NULL) && reply->what_case != BULKHEAD__AGENT__REPLY__WHAT_STATS) {
		bulkhead__agent__reply__free_unpacked(reply, NULL);
		reply = NULL;
	}
	agent_client_close(c);
	return reply;
}

static json_t *cpu_json(const char *now, const Bulkhead__Agent__CgroupStats *s)
{
	return json_pack("{s:s, s:I}", "time", now, "usageCoreNanoSeconds", s ? (json_int_t)s->cpu_usage_ns : 0);
}

static json_t *memory_json(const char *now, const Bulkhead__Agent__CgroupStats *s)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "time", now, "usageBytes", s ? (json_int_t)s->memory_usage_bytes : 0,
			 "workingSetBytes", s ? (json_int_t)s->memory_working_set_bytes : 0, "rssBytes",
			 s ? (json_int_t)s->memory_rss_bytes : 0, "pageFaults", s ? (json_int_t)s->page_faults : 0,
			 "majorPageFaults", s ? (json_int_t)s->major_page_faults : 0);
}

static uint64_t working_set(const Bulkhead__Agent__PodStats *st, size_t container)
{
	return st->containers[container]->cgroup ? st->containers[container]->cgroup->memory_working_set_bytes : 0;
}

/* Pages of a VM belong to no container of it: of what it has in the compressed store each is said to have as large a share as it has of
 * the memory that all of them use, and together they have all of it. */
static uint64_t swap_of(const Bulkhead__Agent__PodStats *st, size_t container, uint64_t compressed)
{
	double all = 0, before = 0;
	for (size_t i = 0; i < st->n_containers; i++) {
		all += (double)working_set(st, i);
		before += i < container ? (double)working_set(st, i) : 0;
	}
	if (all == 0)
		return container ? 0 : compressed;
	double until = container + 1 == st->n_containers ? all : before + (double)working_set(st, container);
	return (uint64_t)((double)compressed * (until / all)) - (uint64_t)((double)compressed * (before / all));
}

static json_t *swap_json(const char *now, uint64_t bytes)
{
	return json_pack("{s:s, s:I}", "time", now, "swapUsageBytes", (json_int_t)bytes);
}

static json_t *pod_json(const struct pods_running *r, const char *now, const Bulkhead__Agent__PodStats *st, uint64_t compressed)
{
	json_t *containers = json_array(), *volumes = json_array();
	for (size_t i = 0; i < st->n_containers; i++)
		json_array_append_new(containers, json_pack("{s:s, s:s, s:o, s:o, s:o, s:{s:s, s:I}}", "name", st->containers[i]->name,
			"startTime", r->started, "cpu", cpu_json(now, st->containers[i]->cgroup), "memory",
			memory_json(now, st->containers[i]->cgroup), "swap", swap_json(now, swap_of(st, i, compressed)), "rootfs", "time",
			now, "usedBytes", (json_int_t)st->containers[i]->writable_used_bytes));
	for (size_t i = 0; i < st->n_volumes; i++)
		json_array_append_new(volumes, json_pack("{s:s, s:s, s:I, s:I, s:I}", "name", st->volumes[i]->name, "time", now, "usedBytes",
			(json_int_t)st->volumes[i]->used_bytes, "capacityBytes", (json_int_t)st->volumes[i]->capacity_bytes,
			"availableBytes", (json_int_t)st->volumes[i]->available_bytes));
	json_t *pod = json_pack("{s:{s:s, s:s, s:s}, s:s, s:o, s:o, s:o, s:o, s:o, s:{s:s, s:I, s:I}}", "podRef", "name", r->name, "namespace",
		r->ns, "uid", r->uid, "startTime", r->started, "containers", containers, "cpu", cpu_json(now, st->pod), "memory",
		memory_json(now, st->pod), "swap", swap_json(now, compressed), "volume", volumes, "ephemeral-storage", "time", now, "usedBytes",
		(json_int_t)st->scratch_used_bytes, "capacityBytes", (json_int_t)st->scratch_capacity_bytes);
	if (st->n_interfaces) {
		const Bulkhead__Agent__NetworkStats *n = st->interfaces[0];
		json_object_set_new(pod, "network", json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "time", now, "name", n->name, "rxBytes",
			(json_int_t)n->rx_bytes, "rxErrors", (json_int_t)n->rx_errors, "txBytes", (json_int_t)n->tx_bytes, "txErrors",
			(json_int_t)n->tx_errors));
	}
	return pod;
}

/* This machine: CPU time used since boot and memory in use. */
static void node_use(uint64_t *cpu_ns, uint64_t *memory_bytes)
{
	struct buf b = BUF_INIT;
	unsigned long long user = 0, nice = 0, sys = 0, idle = 0, total = 0, available = 0;
	char *at;
	if (!file_read("/proc/stat", 1 << 20, &b, NULL) && b.data)
		sscanf(b.data, "cpu %llu %llu %llu %llu", &user, &nice, &sys, &idle);
	buf_fini(&b);
	if (!file_read("/proc/meminfo", 65536, &b, NULL) && b.data) {
		if ((at = strstr(b.data, "MemTotal:")))
			total = strtoull(at + 9, NULL, 10);
		if ((at = strstr(b.data, "MemAvailable:")))
			available = strtoull(at + 13, NULL, 10);
	}
	buf_fini(&b);
	*cpu_ns = (user + nice + sys) * (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK));
	*memory_bytes = (total - available) << 10;
}

json_t *pods_stats_summary(struct pods *ps, const char *node_name)
{
	char now[CLOCK_TEXT_MAX];
	size_t count;
	uint64_t cpu, memory, swap = 0;
	struct pods_running *all = pods_running(ps, &count);
	json_t *list = json_array();
	clock_text(clock_real_ns(), 0, now);
	for (size_t i = 0; i < count; i++) {
		Bulkhead__Agent__Reply *reply = ask(all[i].vsock_path);
		if (!reply)
			continue;   // just ended
		json_t *vm_memory = pods_vm_memory(all[i].vm);
		uint64_t compressed = (uint64_t)jpath_int(vm_memory, "compressedBytes", 0);
		json_t *pod = pod_json(&all[i], now, reply->stats, compressed);
		swap += compressed;
		json_object_set_new(pod, "bulkheadMemory", vm_memory);   // of the VM; not in the kubelet's
		json_array_append_new(list, pod);
		bulkhead__agent__reply__free_unpacked(reply, NULL);
	}
	pods_running_free(all, count);
	node_use(&cpu, &memory);
	return json_pack("{s:{s:s, s:{s:s, s:I}, s:{s:s, s:I, s:I}, s:o}, s:o}", "node", "nodeName", node_name, "cpu", "time", now,
			 "usageCoreNanoSeconds", (json_int_t)cpu, "memory", "time", now, "workingSetBytes", (json_int_t)memory,
			 "usageBytes", (json_int_t)memory, "swap", swap_json(now, swap), "pods", list);
}

static void family(struct buf *b, const char *name, const char *kind, const char *help)
{
	buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

char *pods_metrics_resource(struct pods *ps)
{
	struct buf cpu = BUF_INIT, memory = BUF_INIT, swap = BUF_INIT, out = BUF_INIT;
	size_t count;
	uint64_t node_cpu, node_memory, node_swap = 0;
	struct pods_running *all = pods_running(ps, &count);
	int errors = 0;
	family(&cpu, "container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the container in core-seconds");
	family(&memory, "container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes");
	family(&swap, "container_swap_usage_bytes", "gauge", "Current amount of the container swap usage in bytes");
	for (size_t i = 0; i < count; i++) {
		Bulkhead__Agent__Reply *reply = ask(all[i].vsock_path);
		own_json json_t *vm_memory = pods_vm_memory(all[i].vm);
		uint64_t compressed = (uint64_t)jpath_int(vm_memory, "compressedBytes", 0);
		errors |= !reply;
		node_swap += compressed;
		for (size_t k = 0; reply && k < reply->stats->n_containers; k++) {
			const Bulkhead__Agent__ContainerStats *c = reply->stats->containers[k];
			if (!c->cgroup)
				continue;
			buf_printf(&cpu, "container_cpu_usage_seconds_total{container=\"%s\",namespace=\"%s\",pod=\"%s\"} %.9f\n", c->name,
				   all[i].ns, all[i].name, (double)c->cgroup->cpu_usage_ns / 1e9);
			buf_printf(&memory, "container_memory_working_set_bytes{container=\"%s\",namespace=\"%s\",pod=\"%s\"} %llu\n",
				   c->name, all[i].ns, all[i].name, (unsigned long long)c->cgroup->memory_working_set_bytes);
			buf_printf(&swap, "container_swap_usage_bytes{container=\"%s\",namespace=\"%s\",pod=\"%s\"} %llu\n", c->name,
				   all[i].ns, all[i].name, (unsigned long long)swap_of(reply->stats, k, compressed));
		}
		if (reply)
			bulkhead__agent__reply__free_unpacked(reply, NULL);
	}
	pods_running_free(all, count);
	node_use(&node_cpu, &node_memory);
	buf_printf(&out, "%s%s%s", cpu.data ? cpu.data : "", memory.data ? memory.data : "", swap.data ? swap.data : "");
	family(&out, "node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds");
	buf_printf(&out, "node_cpu_usage_seconds_total %.9f\n", (double)node_cpu / 1e9);
	family(&out, "node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes");
	buf_printf(&out, "node_memory_working_set_bytes %llu\n", (unsigned long long)node_memory);
	family(&out, "node_swap_usage_bytes", "gauge", "Current swap usage of the node in bytes");
	buf_printf(&out, "node_swap_usage_bytes %llu\n", (unsigned long long)node_swap);
	family(&out, "scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise");
	buf_printf(&out, "scrape_error %d\n", errors);
	buf_fini(&cpu);
	buf_fini(&memory);
	buf_fini(&swap);
	return buf_take(&out);
}
