// SPDX-License-Identifier: Apache-2.0
// Statistics; see stats.h. Everything is read when asked for.
#include "stats.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "agent.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/own.h"
#include "cgroup.h"
#include "container.h"
#include "machine.h"
#include "volume.h"

#define ENTRIES_MAX 512

struct entries {
	struct agent *agent;
	Bulkhead__Agent__CgroupStats cgroups[ENTRIES_MAX];
	Bulkhead__Agent__ContainerStats containers[ENTRIES_MAX], *container_list[ENTRIES_MAX];
	Bulkhead__Agent__NetworkStats nets[ENTRIES_MAX], *net_list[ENTRIES_MAX];
	Bulkhead__Agent__VolumeStats volumes[ENTRIES_MAX], *volume_list[ENTRIES_MAX];
	size_t containers_count, nets_count, volumes_count;
	char *names[2 * ENTRIES_MAX];
	size_t names_count;
};

static char *keep(struct entries *s, const char *name)
{
	char *copy = strdup(name);
	if (copy)
		s->names[s->names_count++] = copy;
	return copy ? copy : (char *)protobuf_c_empty_string;
}

static void read_cgroup(const char *dir, Bulkhead__Agent__CgroupStats *out)
{
	bulkhead__agent__cgroup_stats__init(out);
	uint64_t inactive_file = cgroup_value(dir, "memory.stat", "inactive_file");
	out->cpu_usage_ns = cgroup_value(dir, "cpu.stat", "usage_usec") * 1000;
	out->cpu_user_ns = cgroup_value(dir, "cpu.stat", "user_usec") * 1000;
	out->cpu_system_ns = cgroup_value(dir, "cpu.stat", "system_usec") * 1000;
	out->cpu_periods = cgroup_value(dir, "cpu.stat", "nr_periods");
	out->cpu_throttled_periods = cgroup_value(dir, "cpu.stat", "nr_throttled");
	out->cpu_throttled_ns = cgroup_value(dir, "cpu.stat", "throttled_usec") * 1000;
	out->memory_usage_bytes = cgroup_value(dir, "memory.current", NULL);
	out->memory_working_set_bytes =
		out->memory_usage_bytes > inactive_file ? out->memory_usage_bytes - inactive_file : 0;
	out->memory_rss_bytes = cgroup_value(dir, "memory.stat", "anon");
	out->memory_cache_bytes = cgroup_value(dir, "memory.stat", "file");
	out->memory_max_usage_bytes = cgroup_value(dir, "memory.peak", NULL);
	out->page_faults = cgroup_value(dir, "memory.stat", "pgfault");
	out->major_page_faults = cgroup_value(dir, "memory.stat", "pgmajfault");
	out->pids = cgroup_value(dir, "pids.current", NULL);
	out->oom_kills = cgroup_value(dir, "memory.events", "oom_kill");
}

static void read_containers(struct entries *s)
{
	struct container *c = NULL;
	while ((c = container_next(s->agent, c)) && s->containers_count < ENTRIES_MAX) {
		size_t i = s->containers_count++;
		bulkhead__agent__container_stats__init(&s->containers[i]);
		read_cgroup(c->cgroup, &s->cgroups[i]);
		s->containers[i].id = c->id;
		s->containers[i].name = c->name;
		s->containers[i].started_real_ns = c->state == BULKHEAD__AGENT__CONTAINER_STATE__RUNNING ? c->started_real_ns : 0;
		s->containers[i].cgroup = &s->cgroups[i];
		s->containers[i].writable_used_bytes = s->agent->machine->used_space(c->scratch, c->project);
		s->container_list[i] = &s->containers[i];
	}
}

static uint64_t net_value(const char *name, const char *what)
{
	char dir[PATH_MAX];
	snprintf(dir, sizeof(dir), "/sys/class/net/%s/statistics", name);
	return cgroup_value(dir, what, NULL);
}

static void read_interfaces(struct entries *s)
{
	own_dir DIR *d = opendir("/sys/class/net");
	struct dirent *de;
	while (d && (de = readdir(d)) && s->nets_count < ENTRIES_MAX) {
		if (*de->d_name == '.' || !strcmp(de->d_name, "lo"))
			continue;
		Bulkhead__Agent__NetworkStats *n = &s->nets[s->nets_count];
		bulkhead__agent__network_stats__init(n);
		n->name = keep(s, de->d_name);
		n->rx_bytes = net_value(de->d_name, "rx_bytes");
		n->tx_bytes = net_value(de->d_name, "tx_bytes");
		n->rx_errors = net_value(de->d_name, "rx_errors");
		n->tx_errors = net_value(de->d_name, "tx_errors");
		n->rx_packets = net_value(de->d_name, "rx_packets");
		n->tx_packets = net_value(de->d_name, "tx_packets");
		n->rx_dropped = net_value(de->d_name, "rx_dropped");
		n->tx_dropped = net_value(de->d_name, "tx_dropped");
		s->net_list[s->nets_count++] = n;
	}
}

static void read_volume(void *user, const char *name, const char *dir)
{
	struct entries *s = user;
	struct statvfs v;
	if (s->volumes_count == ENTRIES_MAX || statvfs(dir, &v))
		return;
	Bulkhead__Agent__VolumeStats *out = &s->volumes[s->volumes_count];
	bulkhead__agent__volume_stats__init(out);
	out->name = keep(s, name);
	out->capacity_bytes = (uint64_t)v.f_blocks * v.f_frsize;
	out->available_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	out->used_bytes = (uint64_t)(v.f_blocks - v.f_bfree) * v.f_frsize;
	out->inodes = v.f_files;
	out->inodes_free = v.f_ffree;
	s->volume_list[s->volumes_count++] = out;
}

/* "MemTotal:  1234 kB" */
static uint64_t meminfo(const char *text, const char *key)
{
	const char *at = text ? strstr(text, key) : NULL;
	return at ? strtoull(at + strlen(key), NULL, 10) * 1024 : 0;
}

void stats_get(struct agent *a, const Bulkhead__Agent__Request *rq, struct call *call)
{
	struct entries *s = calloc(1, sizeof(*s));
	(void)rq;
	if (!s) {
		struct err e;
		err_set(&e, ENOMEM, "no memory");
		call_fail(call, &e);
		return;
	}
	s->agent = a;
	Bulkhead__Agent__CgroupStats pod;
	Bulkhead__Agent__PodStats stats = BULKHEAD__AGENT__POD_STATS__INIT;
	Bulkhead__Agent__Reply reply = BULKHEAD__AGENT__REPLY__INIT;
	own_buf struct buf memory = BUF_INIT;
	struct statvfs scratch;
	read_cgroup(a->cgroup_dir, &pod);
	read_containers(s);
	read_interfaces(s);
	volume_each(a, read_volume, s);
	file_read("/proc/meminfo", 65536, &memory, NULL);
	stats.real_ns = clock_real_ns();
	stats.pod = &pod;
	stats.containers = s->container_list, stats.n_containers = s->containers_count;
	stats.interfaces = s->net_list, stats.n_interfaces = s->nets_count;
	stats.volumes = s->volume_list, stats.n_volumes = s->volumes_count;
	stats.memory_total_bytes = meminfo(memory.data, "MemTotal:");
	stats.memory_free_bytes = meminfo(memory.data, "MemAvailable:");
	if (!statvfs(a->scratch_dir, &scratch)) {
		stats.scratch_capacity_bytes = (uint64_t)scratch.f_blocks * scratch.f_frsize;
		stats.scratch_used_bytes = (uint64_t)(scratch.f_blocks - scratch.f_bfree) * scratch.f_frsize;
	}
	reply.what_case = BULKHEAD__AGENT__REPLY__WHAT_STATS;
	reply.stats = &stats;
	call_reply(call, &reply);
	for (size_t i = 0; i < s->names_count; i++)
		free(s->names[i]);
	free(s);
}
