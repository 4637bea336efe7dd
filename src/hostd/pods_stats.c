// SPDX-License-Identifier: Apache-2.0
// What pods use, as their agents say: the kubelet's /stats/summary. Each answer asks every running VM over a connection of its own, so that no worker waits for a reader of statistics.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "agent_client.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "cpu_rates.h"
#include "host.h"
#include "image.h"
#include "pods.h"
#include "pods_internal.h"
#include "pods_stats.h"

#define CONNECT_MS 500
#define ANSWER_MS 2000

static void ignore_event(void *user, const Bulkhead__Agent__Event *ev) { (void)user, (void)ev; }

Bulkhead__Agent__Reply *pods_stats_ask(const char *vsock_path)
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

/* When an answer came: as text, and to count with. */
struct moment { char text[CLOCK_TEXT_MAX]; uint64_t mono_ns; };

static void moment_now(struct moment *m)
{
	clock_text(clock_real_ns(), 0, m->text);
	m->mono_ns = clock_mono_ns();
}

/* key: of one that counts from zero whenever it starts anew; NULL: whose rate is not of interest. */
static json_t *cpu_json(struct cpu_rates *rates, const char *key, const struct moment *now, uint64_t usage_ns)
{
	int64_t rate;
	json_t *cpu = json_pack("{s:s, s:I}", "time", now->text, "usageCoreNanoSeconds", (json_int_t)usage_ns);
	if (key && cpu_rates_add(rates, key, usage_ns, now->mono_ns, &rate))
		json_object_set_new(cpu, "usageNanoCores", json_integer(rate));
	return cpu;
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

uint64_t pods_stats_swap(const Bulkhead__Agent__PodStats *st, size_t container, uint64_t compressed)
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

static json_t *container_json(struct cpu_rates *rates, const struct moment *at, const Bulkhead__Agent__ContainerStats *c, uint64_t swap,
			      const json_t *about)
{
	char started[CLOCK_TEXT_MAX];
	const char *now = at->text;
	json_t *memory = memory_json(now, c->cgroup);
	json_int_t limit = (json_int_t)jpath_int(about, "memoryLimit", 0), used = (json_int_t)(c->cgroup ? c->cgroup->memory_working_set_bytes : 0);
	if (limit)
		json_object_set_new(memory, "availableBytes", json_integer(limit > used ? limit - used : 0));
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:{s:s, s:I}}", "name", c->name, "startTime", clock_text(c->started_real_ns, 0, started),
			 "cpu", cpu_json(rates, jpath_str(about, "id", NULL), at, c->cgroup ? c->cgroup->cpu_usage_ns : 0), "memory", memory, "swap", swap_json(now, swap), "rootfs", "time", now, "usedBytes", (json_int_t)c->writable_used_bytes);
}

static json_t *fs_json(const char *now, uint64_t used, uint64_t capacity, uint64_t available, uint64_t inodes, uint64_t inodes_free)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "time", now, "usedBytes", (json_int_t)used, "capacityBytes",
			 (json_int_t)capacity, "availableBytes", (json_int_t)available, "inodes", (json_int_t)inodes, "inodesFree",
			 (json_int_t)inodes_free, "inodesUsed", (json_int_t)(inodes - inodes_free));
}

/* Those of the pod, by its own names: images are disks as well. */
static json_t *volumes_json(const char *now, const struct pods_running *r, const Bulkhead__Agent__PodStats *st)
{
	json_t *all = json_array();
	for (size_t i = 0; i < st->n_volumes; i++) {
		const Bulkhead__Agent__VolumeStats *v = st->volumes[i];
		const json_t *about = json_object_get(json_object_get(r->about, "volumes"), v->name);
		const char *claim = jpath_str(about, "claim", NULL);
		if (!about)
			continue;
		json_t *one = fs_json(now, v->used_bytes, v->capacity_bytes, v->available_bytes, v->inodes, v->inodes_free);
		json_object_set_new(one, "name", json_string(jpath_str(about, "name", "")));
		if (claim)
			json_object_set_new(one, "pvcRef", json_pack("{s:s, s:s}", "name", claim, "namespace", r->ns));
		json_array_append_new(all, one);
	}
	return all;
}

static json_t *pod_json(struct cpu_rates *rates, const struct pods_running *r, const struct moment *at, const Bulkhead__Agent__PodStats *st,
			uint64_t compressed)
{
	const char *now = at->text;
	json_t *containers = json_array();
	for (size_t i = 0; i < st->n_containers; i++)
		if (st->containers[i]->started_real_ns)
			json_array_append_new(containers, container_json(rates, at, st->containers[i], pods_stats_swap(st, i, compressed),
				json_object_get(json_object_get(r->about, "containers"), st->containers[i]->name)));
	json_t *pod = json_pack("{s:{s:s, s:s, s:s}, s:s, s:o, s:o, s:o, s:o, s:o, s:{s:s, s:I, s:I}, s:{s:I}}", "podRef", "name", r->name, "namespace",
		r->ns, "uid", r->uid, "startTime", r->started, "containers", containers, "cpu", cpu_json(rates, r->uid, at, st->pod ? st->pod->cpu_usage_ns : 0), "memory",
		memory_json(now, st->pod), "swap", swap_json(now, compressed), "volume", volumes_json(now, r, st), "ephemeral-storage", "time", now, "usedBytes",
		(json_int_t)st->scratch_used_bytes, "capacityBytes", (json_int_t)st->scratch_capacity_bytes, "process_stats", "process_count",
		st->pod ? (json_int_t)st->pod->pids : 0);
	if (st->n_interfaces) {
		const Bulkhead__Agent__NetworkStats *n = st->interfaces[0];
		json_object_set_new(pod, "network", json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "time", now, "name", n->name, "rxBytes",
			(json_int_t)n->rx_bytes, "rxErrors", (json_int_t)n->rx_errors, "txBytes", (json_int_t)n->tx_bytes, "txErrors",
			(json_int_t)n->tx_errors));
	}
	return pod;
}

void pods_stats_node(uint64_t *cpu_ns, uint64_t *memory_bytes)
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

static json_int_t images_bytes(const struct host *h)
{
	own_json json_t *list = image_list(h->images);
	json_int_t sum = 0;
	size_t i;
	json_t *image;
	json_array_foreach(list, i, image)
		sum += (json_int_t)jpath_int(image, "sizeBytes", 0);
	return sum;
}

static json_t *node_json(struct cpu_rates *rates, const struct host *h, uint64_t swap)
{
	struct moment at;
	const char *now = at.text;
	moment_now(&at);
	uint64_t cpu, memory;
	char booted[CLOCK_TEXT_MAX];
	struct statvfs fs = {0};
	struct sysinfo si = {0};
	pods_stats_node(&cpu, &memory);
	sysinfo(&si);
	statvfs(h->root, &fs);
	uint64_t total = (uint64_t)si.totalram * si.mem_unit, unit = fs.f_frsize;
	json_t *disk = fs_json(now, (fs.f_blocks - fs.f_bfree) * unit, fs.f_blocks * unit, fs.f_bavail * unit, fs.f_files, fs.f_ffree);
	json_t *images = json_deep_copy(disk);
	json_object_set_new(images, "usedBytes", json_integer(images_bytes(h)));
	clock_text(clock_real_ns() - (uint64_t)si.uptime * NS_PER_S, 0, booted);
	return json_pack("{s:s, s:s, s:o, s:{s:s, s:I, s:I, s:I}, s:o, s:o, s:{s:o}}", "nodeName", h->node_name, "startTime", booted, "cpu",
			 cpu_json(rates, "", &at, cpu), "memory", "time", now, "workingSetBytes", (json_int_t)memory,
			 "usageBytes", (json_int_t)memory, "availableBytes", (json_int_t)(total > memory ? total - memory : 0), "swap", swap_json(now, swap), "fs", disk,
			 "runtime", "imageFs", images);
}

json_t *pods_stats_summary(struct pods *ps, const struct host *h)
{
	struct moment now;
	size_t count;
	struct pods_running *all = pods_running(ps, &count);
	json_t *list = json_array();
	uint64_t swap = 0;
	for (size_t i = 0; i < count; i++) {
		Bulkhead__Agent__Reply *reply = pods_stats_ask(all[i].vsock_path);
		if (!reply)
			continue;   // just ended
		moment_now(&now);
		json_t *vm_memory = pods_vm_memory(all[i].vm);
		uint64_t compressed = (uint64_t)jpath_int(vm_memory, "compressedBytes", 0);
		json_t *pod = pod_json(ps->rates, &all[i], &now, reply->stats, compressed);
		swap += compressed;
		json_object_set_new(pod, "bulkheadMemory", vm_memory);   // of the VM; not in the kubelet's
		json_array_append_new(list, pod);
		bulkhead__agent__reply__free_unpacked(reply, NULL);
	}
	pods_running_free(all, count);
	cpu_rates_forget(ps->rates, clock_mono_ns());
	return json_pack("{s:o, s:o}", "node", node_json(ps->rates, h, swap), "pods", list);
}
