// SPDX-License-Identifier: Apache-2.0
// What pods use as Prometheus text: the kubelet's /metrics/resource and /metrics/cadvisor.
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysinfo.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "pods.h"
#include "pods_series.h"
#include "pods_stats.h"

#define CPU_PERIOD_US 100000

struct asked {
	struct pods_running *pods;
	Bulkhead__Agent__Reply **replies;      // of each; NULL: no answer
	uint64_t *compressed;                  // bytes of each one's VM
	size_t count;
	bool silent;                           // somebody did not answer
};

static void ask_all(struct pods *ps, struct asked *a)
{
	a->pods = pods_running(ps, &a->count);
	a->replies = calloc(a->count + 1, sizeof(*a->replies));
	a->compressed = calloc(a->count + 1, sizeof(*a->compressed));
	a->silent = !a->replies || !a->compressed;
	if (a->silent) {
		pods_running_free(take(a->pods), a->count);
		a->count = 0;
	}
	for (size_t i = 0; i < a->count; i++) {
		own_json json_t *memory = pods_vm_memory(a->pods[i].vm);
		a->compressed[i] = (uint64_t)jpath_int(memory, "compressedBytes", 0);
		a->replies[i] = pods_stats_ask(a->pods[i].vsock_path);
		a->silent |= !a->replies[i];
	}
}

static void asked_free(struct asked *a)
{
	for (size_t i = 0; i < a->count; i++)
		if (a->replies[i])
			bulkhead__agent__reply__free_unpacked(a->replies[i], NULL);
	free(a->replies);
	free(a->compressed);
	pods_running_free(a->pods, a->count);
}

static void family(struct buf *b, const char *name, const char *kind, const char *help)
{
	buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

/* The value of a series. 15 digits: bytes of a machine and milliseconds of a date are exact. */
static void number(struct buf *b, double v) { buf_printf(b, " %.15g\n", v); }

/* One number of a cgroup. */
struct measure {
	const char *name, *kind, *help;
	size_t at;                             // in CgroupStats
	double unit;                           // of the number, as a part of what is shown
	const char *labels;                    // more of them; ""
};

#define CGROUP(member) offsetof(Bulkhead__Agent__CgroupStats, member)

static double value_of(const struct measure *m, const Bulkhead__Agent__CgroupStats *s)
{
	return (double)*(const uint64_t *)((const char *)s + m->at) / m->unit;
}

/* --- /metrics/resource --- */

static void resource_family(struct buf *b, const struct asked *a, const struct measure *m, bool pods)
{
	family(b, m->name, m->kind, m->help);
	for (size_t i = 0; i < a->count; i++) {
		const struct pods_running *p = &a->pods[i];
		const Bulkhead__Agent__PodStats *st = a->replies[i] ? a->replies[i]->stats : NULL;
		if (st && st->pod && pods)
			number(pods_series_short(b, m->name, p, NULL), value_of(m, st->pod));
		for (size_t k = 0; st && !pods && k < st->n_containers; k++)
			if (st->containers[k]->cgroup && st->containers[k]->started_real_ns)
				number(pods_series_short(b, m->name, p, st->containers[k]->name), value_of(m, st->containers[k]->cgroup));
	}
}

static void swap_families(struct buf *b, const struct asked *a)
{
	uint64_t all = 0;
	family(b, "container_swap_usage_bytes", "gauge", "Current amount of the container swap usage in bytes");
	for (size_t i = 0; i < a->count; i++) {
		const Bulkhead__Agent__PodStats *st = a->replies[i] ? a->replies[i]->stats : NULL;
		all += a->compressed[i];
		for (size_t k = 0; st && k < st->n_containers; k++)
			if (st->containers[k]->started_real_ns)
				number(pods_series_short(b, "container_swap_usage_bytes", &a->pods[i], st->containers[k]->name),
				       (double)pods_stats_swap(st, k, a->compressed[i]));
	}
	family(b, "node_swap_usage_bytes", "gauge", "Current swap usage of the node in bytes");
	buf_printf(b, "node_swap_usage_bytes %llu\n", (unsigned long long)all);
}

static void start_times(struct buf *b, const struct asked *a)
{
	family(b, "container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds");
	for (size_t i = 0; i < a->count; i++)
		for (size_t k = 0; a->replies[i] && k < a->replies[i]->stats->n_containers; k++) {
			const Bulkhead__Agent__ContainerStats *c = a->replies[i]->stats->containers[k];
			if (c->started_real_ns)
				number(pods_series_short(b, "container_start_time_seconds", &a->pods[i], c->name), (double)c->started_real_ns / 1e9);
		}
}

char *pods_metrics_resource(struct pods *ps)
{
	static const struct measure containers[] = {
		{"container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the container in core-seconds",
		 CGROUP(cpu_usage_ns), 1e9, ""},
		{"container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes",
		 CGROUP(memory_working_set_bytes), 1, ""}}, pods[] = {
		{"pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds", CGROUP(cpu_usage_ns), 1e9, ""},
		{"pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes", CGROUP(memory_working_set_bytes), 1, ""}};
	struct asked a;
	struct buf out = BUF_INIT;
	uint64_t cpu, memory;
	ask_all(ps, &a);
	for (size_t i = 0; i < 2; i++) {
		resource_family(&out, &a, &containers[i], false);
		resource_family(&out, &a, &pods[i], true);
	}
	start_times(&out, &a);
	swap_families(&out, &a);
	pods_stats_node(&cpu, &memory);
	family(&out, "node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds");
	buf_printf(&out, "node_cpu_usage_seconds_total %.9f\n", (double)cpu / 1e9);
	family(&out, "node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes");
	buf_printf(&out, "node_memory_working_set_bytes %llu\n", (unsigned long long)memory);
	static const char *const errors[] = {"scrape_error", "resource_scrape_error"};   // before and since 1.29
	for (size_t i = 0; i < 2; i++) {
		family(&out, errors[i], "gauge", "1 if there was an error while getting container metrics, 0 otherwise");
		buf_printf(&out, "%s %d\n", errors[i], a.silent);
	}
	asked_free(&a);
	return buf_take(&out);
}

/* --- /metrics/cadvisor --- */

static const struct measure cgroups[] = {
	{"container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", CGROUP(cpu_usage_ns), 1e9, "cpu=\"total\","},
	{"container_cpu_user_seconds_total", "counter", "Cumulative user cpu time consumed in seconds.", CGROUP(cpu_user_ns), 1e9, ""},
	{"container_cpu_system_seconds_total", "counter", "Cumulative system cpu time consumed in seconds.", CGROUP(cpu_system_ns), 1e9, ""},
	{"container_cpu_cfs_periods_total", "counter", "Number of elapsed enforcement period intervals.", CGROUP(cpu_periods), 1, ""},
	{"container_cpu_cfs_throttled_periods_total", "counter", "Number of throttled period intervals.", CGROUP(cpu_throttled_periods), 1, ""},
	{"container_cpu_cfs_throttled_seconds_total", "counter", "Total time duration the container has been throttled.",
	 CGROUP(cpu_throttled_ns), 1e9, ""},
	{"container_memory_usage_bytes", "gauge", "Current memory usage in bytes, including all memory regardless of when it was accessed",
	 CGROUP(memory_usage_bytes), 1, ""},
	{"container_memory_working_set_bytes", "gauge", "Current working set in bytes.", CGROUP(memory_working_set_bytes), 1, ""},
	{"container_memory_rss", "gauge", "Size of RSS in bytes.", CGROUP(memory_rss_bytes), 1, ""},
	{"container_memory_cache", "gauge", "Number of bytes of page cache memory.", CGROUP(memory_cache_bytes), 1, ""},
	{"container_memory_max_usage_bytes", "gauge", "Maximum memory usage recorded in bytes", CGROUP(memory_max_usage_bytes), 1, ""},
	{"container_memory_failures_total", "counter", "Cumulative count of memory allocation failures.", CGROUP(page_faults), 1,
	 "failure_type=\"pgfault\",scope=\"container\""},
	{"container_memory_failures_total", NULL, NULL, CGROUP(major_page_faults), 1, "failure_type=\"pgmajfault\",scope=\"container\""},
	{"container_oom_events_total", "counter", "Count of out of memory events observed for the container", CGROUP(oom_kills), 1, ""},
	{"container_processes", "gauge", "Number of processes running inside the container.", CGROUP(pids), 1, ""},
};

static void cgroup_family(struct buf *b, const struct asked *a, const struct measure *m)
{
	if (m->kind)
		family(b, m->name, m->kind, m->help);
	for (size_t i = 0; i < a->count; i++) {
		const Bulkhead__Agent__PodStats *st = a->replies[i] ? a->replies[i]->stats : NULL;
		if (st && st->pod) {
			number(pods_series(b, m->name, &a->pods[i], NULL, m->labels), value_of(m, st->pod));
		}
		for (size_t k = 0; st && k < st->n_containers; k++) {
			const Bulkhead__Agent__ContainerStats *c = st->containers[k];
			if (!c->cgroup || !c->started_real_ns)
				continue;
			number(pods_series(b, m->name, &a->pods[i], c->name, m->labels), value_of(m, c->cgroup));
		}
	}
}

enum of_container { START, LAST_SEEN, FS_USAGE, MEMORY_LIMIT, CPU_QUOTA, CPU_PERIOD, CPU_SHARES };

static double number_of(enum of_container what, const Bulkhead__Agent__ContainerStats *c, const json_t *spec, uint64_t now_ns)
{
	double limit = (double)jpath_int(spec, "cpuLimitMilli", 0), shares = (double)jpath_int(spec, "cpuRequestMilli", 0) * 1024 / 1000;
	switch (what) {
	case START: return (double)c->started_real_ns / 1e9;
	case LAST_SEEN: return (double)now_ns / 1e9;
	case FS_USAGE: return (double)c->writable_used_bytes;
	case MEMORY_LIMIT: return (double)jpath_int(spec, "memoryLimit", 0);
	case CPU_QUOTA: return limit > 0 ? limit * CPU_PERIOD_US / 1000 : -1;
	case CPU_PERIOD: return CPU_PERIOD_US;
	case CPU_SHARES: return shares < 2 ? 2 : shares;
	}
	return 0;
}

static void container_families(struct buf *b, const struct asked *a)
{
	static const struct { enum of_container what; const char *name, *help; } all[] = {
		{START, "container_start_time_seconds", "Start time of the container since unix epoch in seconds."},
		{LAST_SEEN, "container_last_seen", "Last time a container was seen by the exporter"},
		{FS_USAGE, "container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem."},
		{MEMORY_LIMIT, "container_spec_memory_limit_bytes", "Memory limit for the container."},
		{CPU_QUOTA, "container_spec_cpu_quota", "CPU quota of the container."},
		{CPU_PERIOD, "container_spec_cpu_period", "CPU period of the container."},
		{CPU_SHARES, "container_spec_cpu_shares", "CPU share of the container."}};
	uint64_t now = clock_real_ns();
	for (size_t f = 0; f < sizeof(all) / sizeof(all[0]); f++) {
		family(b, all[f].name, "gauge", all[f].help);
		for (size_t i = 0; i < a->count; i++)
			for (size_t k = 0; a->replies[i] && k < a->replies[i]->stats->n_containers; k++) {
				const Bulkhead__Agent__ContainerStats *c = a->replies[i]->stats->containers[k];
				double v = number_of(all[f].what, c, pods_series_about(&a->pods[i], c->name), now);
				if (!c->started_real_ns || v < 0)
					continue;
				number(pods_series(b, all[f].name, &a->pods[i], c->name, ""), v);
			}
	}
}

static void network_families(struct buf *b, const struct asked *a)
{
	static const struct { const char *way, *what, *unit; size_t at; } all[] = {
		{"receive", "bytes", "bytes", offsetof(Bulkhead__Agent__NetworkStats, rx_bytes)},
		{"receive", "packets", "packets", offsetof(Bulkhead__Agent__NetworkStats, rx_packets)},
		{"receive", "packets_dropped", "packets dropped", offsetof(Bulkhead__Agent__NetworkStats, rx_dropped)},
		{"receive", "errors", "errors", offsetof(Bulkhead__Agent__NetworkStats, rx_errors)},
		{"transmit", "bytes", "bytes", offsetof(Bulkhead__Agent__NetworkStats, tx_bytes)},
		{"transmit", "packets", "packets", offsetof(Bulkhead__Agent__NetworkStats, tx_packets)},
		{"transmit", "packets_dropped", "packets dropped", offsetof(Bulkhead__Agent__NetworkStats, tx_dropped)},
		{"transmit", "errors", "errors", offsetof(Bulkhead__Agent__NetworkStats, tx_errors)}};
	for (size_t f = 0; f < sizeof(all) / sizeof(all[0]); f++) {
		char name[80], help[80];
		snprintf(name, sizeof(name), "container_network_%s_%s_total", all[f].way, all[f].what);
		snprintf(help, sizeof(help), "Cumulative count of %s, %s", all[f].unit, all[f].way);
		family(b, name, "counter", help);
		for (size_t i = 0; i < a->count; i++)
			for (size_t k = 0; a->replies[i] && k < a->replies[i]->stats->n_interfaces; k++) {
				const Bulkhead__Agent__NetworkStats *n = a->replies[i]->stats->interfaces[k];
				own_buf struct buf label = BUF_INIT;
				pods_series_label(&label, "interface", n->name);
				number(pods_series(b, name, &a->pods[i], NULL, label.data ? label.data : ""),
				       (double)*(const uint64_t *)((const char *)n + all[f].at));
			}
	}
}

char *pods_metrics_cadvisor(struct pods *ps)
{
	struct asked a;
	struct buf out = BUF_INIT;
	struct sysinfo si;
	ask_all(ps, &a);
	for (size_t i = 0; i < sizeof(cgroups) / sizeof(cgroups[0]); i++)
		cgroup_family(&out, &a, &cgroups[i]);
	container_families(&out, &a);
	network_families(&out, &a);
	sysinfo(&si);
	family(&out, "container_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise");
	buf_printf(&out, "container_scrape_error %d\n", a.silent);
	family(&out, "machine_cpu_cores", "gauge", "Number of logical CPU cores.");
	buf_printf(&out, "machine_cpu_cores %d\n", get_nprocs());
	family(&out, "machine_memory_bytes", "gauge", "Amount of memory installed on the machine.");
	buf_printf(&out, "machine_memory_bytes %llu\n", (unsigned long long)si.totalram * si.mem_unit);
	asked_free(&a);
	return buf_take(&out);
}
