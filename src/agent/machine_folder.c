// SPDX-License-Identifier: Apache-2.0
// A folder as the agent's machine, for tests and developers: disks are folders DIR/disks/SERIAL, a mount is a symbolic
// link to its source, names, clock, interfaces and sysctls are checked by the callers and then only recorded, one line
// each, in DIR/machine.log.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/own.h"
#include "machine.h"

static const char *folder;   // of the one machine of this process; the callbacks without m need it

static int record(struct err *e, const char *fmt, ...)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/machine.log", folder);
	own_file FILE *f = fopen(path, "ae");
	if (!f)
		return err_sys(e, errno, "open %s", path);
	va_list ap;
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fputc('\n', f);
	return 0;
}

static int folder_set_names(const char *hostname, const char *domainname, struct err *e)
{
	return record(e, "names %s %s", hostname, domainname);
}

static int folder_set_clock(uint64_t real_ns, struct err *e) { return record(e, "clock %llu", (unsigned long long)real_ns); }

static int folder_add_entropy(const void *data, size_t len, struct err *e)
{
	(void)data;
	return record(e, "entropy %zu", len);
}

static int folder_set_interface(const Bulkhead__Agent__Interface *i, struct err *e)
{
	return record(e, "interface %s %s mtu %u, %zu addresses, %zu routes", i->name, i->mac, i->mtu, i->n_addresses,
		      i->n_routes);
}

static int folder_set_sysctl(const char *name, const char *value, struct err *e)
{
	return record(e, "sysctl %s=%s", name, value);
}

static int folder_find_disk(const struct machine_ops *m, const char *serial, char path[MACHINE_DISK_PATH_MAX],
			    struct err *e)
{
	char p[PATH_MAX];
	snprintf(p, sizeof(p), "%s/disks/%s", m->dir, serial);
	if (strlen(p) >= MACHINE_DISK_PATH_MAX || access(p, F_OK))
		return err_set(e, ENODEV, "no disk has the serial number '%s'", serial);
	strcpy(path, p);
	return 0;
}

static int link_to(const char *source, const char *target, struct err *e)
{
	if (rmdir(target) && unlink(target) && errno != ENOENT)
		return err_sys(e, errno, "replace %s", target);
	if (symlink(source, target))
		return err_sys(e, errno, "link %s", target);
	return 0;
}

/* An overlay is its lowest layer, a tmpfs the target itself. */
static int folder_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *options,
			struct err *e)
{
	(void)flags;
	if (!type || strcmp(type, "overlay"))
		return type && !strcmp(type, "tmpfs") ? 0 : link_to(source, target, e);
	char lower[PATH_MAX];
	const char *at = strstr(options, "lowerdir=");
	if (!at || sscanf(at, "lowerdir=%4095[^,]", lower) != 1)
		return err_set(e, EINVAL, "overlay without lowerdir: %s", options);
	char real[PATH_MAX];
	return link_to(realpath(lower, real) ? real : lower, target, e);
}

static int folder_bind(int fd, const char *target, struct err *e)
{
	char proc[64], path[PATH_MAX];
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(proc, path, sizeof(path) - 1);
	if (n < 0)
		return err_sys(e, errno, "read %s", proc);
	path[n] = '\0';
	return link_to(path, target, e);
}

static int folder_share_mounts(const char *dir, struct err *e) { return record(e, "share mounts %s", dir); }

static int folder_unmount(const char *target)
{
	struct stat st;
	if (!lstat(target, &st) && S_ISLNK(st.st_mode))
		unlink(target);
	return 0;
}

static uint64_t folder_used_space(const char *dir, uint32_t project)
{
	(void)dir;
	return project;
}

static int folder_limit_space(const char *dir, uint64_t bytes, uint32_t *project, struct err *e)
{
	*project = 1;
	return record(e, "limit %s %llu", dir, (unsigned long long)bytes);
}

static int folder_load_module(const char *name, struct err *e) { return record(e, "module %s", name); }

static void folder_power_off(void) { record(NULL, "off"); }

struct machine_ops machine_folder(const char *dir)
{
	folder = dir;
	return (struct machine_ops){
		.set_names = folder_set_names,
		.set_clock = folder_set_clock,
		.add_entropy = folder_add_entropy,
		.set_interface = folder_set_interface,
		.set_sysctl = folder_set_sysctl,
		.find_disk = folder_find_disk,
		.mount = folder_mount,
		.bind = folder_bind,
		.share_mounts = folder_share_mounts,
		.unmount = folder_unmount,
		.limit_space = folder_limit_space,
		.used_space = folder_used_space,
		.load_module = folder_load_module,
		.power_off = folder_power_off,
		.dir = dir,
	};
}
