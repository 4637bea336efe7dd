// SPDX-License-Identifier: Apache-2.0
// Control groups of VMs; see vm_cgroup.h.
#include "vm_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/own.h"

#define PERIOD_US 100000
#define PREFIX "bulkhead"
#define TRIES 100            // of 10 ms
#define TEXT_MAX (1u << 20)

static const char *const controllers[VM_CGROUP_CONTROLLERS] = {"memory", "pids", "cpu"};

// ---- where they are

static bool has_word(const char *list, size_t len, const char *word)
{
	size_t n = strlen(word);
	for (const char *at = list, *end = list + len; at < end; at++) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		size_t this = (size_t)((comma ? comma : end) - at);
		if (this == n && !memcmp(at, word, n))
			return true;
		at += this;
	}
	return false;
}

/* The path of our own group: a line "N:CONTROLLERS:PATH"; of version 2 without controllers. */
static bool own_path(const char *cgroup, const char *controller, char out[PATH_MAX])
{
	for (const char *line = cgroup; line && *line; line = strchr(line, '\n'), line += line != NULL) {
		const char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
		if (!path || path[1] != '/')
			return false;
		list++;
		size_t len = (size_t)(path - list);
		if (controller ? has_word(list, len, controller) : !len) {
			snprintf(out, PATH_MAX, "%.*s", (int)strcspn(path + 1, "\n"), path + 1);
			return true;
		}
	}
	return false;
}

struct mount { char root[PATH_MAX], at[PATH_MAX]; };

/* A line of mountinfo: "36 35 98:0 ROOT AT OPTIONS ... - TYPE SOURCE OPTIONS"; the last ones name the controllers. */
static bool read_mount(const char *line, size_t len, const char *controller, struct mount *m)
{
	own_free char *copy = strndup(line, len);
	char type[32], options[512];
	const char *tail = copy ? strstr(copy, " - ") : NULL;
	if (!tail || sscanf(tail, " - %31s %*s %511s", type, options) != 2 ||
	    sscanf(copy, "%*s %*s %*s %4095s %4095s", m->root, m->at) != 2)
		return false;
	return controller ? !strcmp(type, "cgroup") && has_word(options, strlen(options), controller) : !strcmp(type, "cgroup2");
}

static bool find_mount(const char *mountinfo, const char *controller, struct mount *m)
{
	for (const char *line = mountinfo; *line;) {
		size_t len = strcspn(line, "\n");
		if (read_mount(line, len, controller, m))
			return true;
		line += len + (line[len] == '\n');
	}
	return false;
}

int vm_cgroup_place(const char *mountinfo, const char *cgroup, const char *controller, char *out, size_t len, int *version)
{
	struct mount m;
	char own[PATH_MAX];
	bool first = find_mount(mountinfo, controller, &m);
	if (!own_path(cgroup, first ? controller : NULL, own) || (!first && !find_mount(mountinfo, NULL, &m)))
		return -ENOENT;
	size_t root = strlen(m.root);   // of the mount, which need not be the hierarchy's
	const char *below = root > 1 && !strncmp(own, m.root, root) ? own + root : own;
	size_t keep = strlen(below);
	while (!first && keep && below[--keep] != '/')
		;
	while (keep && below[keep - 1] == '/')
		keep--;
	*version = first ? 1 : 2;
	return (size_t)snprintf(out, len, "%s%.*s", m.at, (int)keep, below) < len ? 0 : -ENOENT;
}

/* The folder's path with its end, where the VM's own part is, if it is too long. */
void vm_cgroup_name(const char *dir, char *out, size_t len)
{
	size_t room = len - sizeof(PREFIX) - 1, n = strlen(dir);
	snprintf(out, len, PREFIX "%s%s", *dir == '/' ? "" : "-", n > room ? dir + n - room : dir);
	for (char *c = out; *c; c++)
		if (*c == '/' || *c == '\n')
			*c = '-';
}

// ---- one controller's group

static int place(const char *controller, const char *dir, char parent[PATH_MAX], char path[PATH_MAX], int *version)
{
	own_buf struct buf mounts = BUF_INIT, own = BUF_INIT;
	char name[NAME_MAX];
	if (file_read("/proc/self/mountinfo", TEXT_MAX, &mounts, NULL) || file_read("/proc/self/cgroup", TEXT_MAX, &own, NULL) ||
	    !mounts.data || !own.data || vm_cgroup_place(mounts.data, own.data, controller, parent, PATH_MAX, version))
		return -ENOENT;
	vm_cgroup_name(dir, name, sizeof(name));
	return snprintf(path, PATH_MAX, "%s/%s", parent, name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int put(const char *path, const char *file, const char *value)
{
	own_free char *full = NULL;
	if (asprintf(&full, "%s/%s", path, file) < 0)
		return -ENOMEM;
	own_fd int fd = open(full, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

static int put_number(const char *path, const char *file, uint64_t v)
{
	char text[24];
	snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	return put(path, file, text);
}

static int limit_memory(const char *path, int version, const struct vm_cgroup_limits *l)
{
	if (version == 2)
		put(path, "memory.oom.group", "1");   // QEMU does not outlive vmx
	return put_number(path, version == 2 ? "memory.max" : "memory.limit_in_bytes", l->memory_bytes);
}

static int limit_pids(const char *path, int version, const struct vm_cgroup_limits *l)
{
	(void)version;
	return put_number(path, "pids.max", l->pids);
}

/* Where processors are short, a VM counts as much as a thread for each of its processors. */
static int limit_cpu(const char *path, int version, const struct vm_cgroup_limits *l)
{
	char quota[48];
	unsigned weight = l->cpus < 100 ? l->cpus * 100 : 10000;
	if (version == 2) {
		put_number(path, "cpu.weight", weight);
		snprintf(quota, sizeof(quota), "%llu %d", (unsigned long long)l->cpus * PERIOD_US, PERIOD_US);
		return put(path, "cpu.max", quota);
	}
	put_number(path, "cpu.shares", (uint64_t)l->cpus * 1024);
	put_number(path, "cpu.cfs_period_us", PERIOD_US);
	return put_number(path, "cpu.cfs_quota_us", (uint64_t)l->cpus * PERIOD_US);
}

static int (*const limit[VM_CGROUP_CONTROLLERS])(const char *path, int version, const struct vm_cgroup_limits *l) = {
	limit_memory, limit_pids, limit_cpu};

static int make_one(unsigned n, const char *dir, const struct vm_cgroup_limits *l, int *join)
{
	char parent[PATH_MAX], path[PATH_MAX], word[16];
	int version, rc = place(controllers[n], dir, parent, path, &version);
	if (rc)
		return rc;
	if (version == 2) {   // where it is given to children already, this changes nothing
		snprintf(word, sizeof(word), "+%s", controllers[n]);
		put(parent, "cgroup.subtree_control", word);
	}
	if (mkdir(path, 0755) && errno != EEXIST)
		return -errno;
	rc = limit[n](path, version, l);
	own_free char *procs = NULL;
	if (!rc && asprintf(&procs, "%s/cgroup.procs", path) < 0)
		rc = -ENOMEM;
	int fd = rc ? rc : open(procs, O_WRONLY | O_CLOEXEC);
	if (fd < 0) {
		rc = rc ? rc : -errno;
		if (version == 1)   // of version 2 it is that of the other controllers, too
			rmdir(path);
		return rc;
	}
	*join = fd;
	return 0;
}

// ---- all of them

int vm_cgroup_make(const char *dir, const struct vm_cgroup_limits *l, struct vm_cgroup *g, struct err *e)
{
	int result = 0;
	bool any = false;
	for (unsigned i = 0; i < VM_CGROUP_CONTROLLERS; i++) {
		int rc = make_one(i, dir, l, &g->join[i]);
		if (rc && !result)
			result = err_set(e, ENOTSUP, "control groups: %s cannot be limited: %s", controllers[i],
					 rc == -ENOENT ? "this host does not give that controller to groups" : strerrordesc_np(-rc));
		any |= !rc;
	}
	if (!any)
		vm_cgroup_remove(dir);
	return result;
}

void vm_cgroup_join(const struct vm_cgroup *g)
{
	for (unsigned i = 0; i < VM_CGROUP_CONTROLLERS; i++) {
		if (g->join[i] >= 0 && write(g->join[i], "0", 1) != 1)
			dprintf(STDERR_FILENO, "the VM is without its limits: join the group of %s: %s\n", controllers[i], strerrordesc_np(errno));
	}
}

void vm_cgroup_close(struct vm_cgroup *g)
{
	for (unsigned i = 0; i < VM_CGROUP_CONTROLLERS; i++) {
		own_fd int fd = take_fd(g->join[i]);
		(void)fd;
	}
}

void vm_cgroup_kill(const char *dir)
{
	char parent[PATH_MAX], path[PATH_MAX];
	int version;
	for (unsigned i = 0; i < VM_CGROUP_CONTROLLERS; i++) {
		own_free char *procs = NULL;
		own_buf struct buf text = BUF_INIT;
		if (place(controllers[i], dir, parent, path, &version) || asprintf(&procs, "%s/cgroup.procs", path) < 0 ||
		    file_read(procs, TEXT_MAX, &text, NULL) || !text.len)
			continue;
		for (char *at = text.data, *end; at < text.data + text.len; at = end + (*end == '\n')) {
			long pid = strtol(at, &end, 10);
			if (end == at)
				break;
			if (pid > 1)
				kill((pid_t)pid, SIGKILL);
		}
	}
}

void vm_cgroup_remove(const char *dir)
{
	char parent[PATH_MAX], path[PATH_MAX];
	int version;
	for (unsigned i = 0; i < VM_CGROUP_CONTROLLERS; i++) {
		if (place(controllers[i], dir, parent, path, &version))
			continue;
		for (unsigned n = 0; rmdir(path) && errno == EBUSY && n < TRIES; n++)   // the last process is on its way out
			usleep(10000);
	}
}
