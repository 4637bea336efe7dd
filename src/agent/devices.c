// SPDX-License-Identifier: Apache-2.0
#include "devices.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/jpath.h"

#define DEPTH_MAX 4      // /dev/bus/usb/001/001

/* What the runtime puts into every container's /dev, or mounts there. */
static bool is_runtimes(const char *path)
{
	static const char *const own[] = {"console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "tty", "urandom", "zero"};
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (!strcmp(path, own[i]))
			return true;
	return false;
}

static bool has(const json_t *devices, const char *path)
{
	size_t i;
	json_t *d;
	json_array_foreach((json_t *)devices, i, d)
		if (!strcmp(jpath_str(d, "path", ""), path))
			return true;
	return false;
}

static int add(json_t *devices, const char *path, const struct stat *st)
{
	if (has(devices, path))
		return 0;
	return json_array_append_new(devices, json_pack("{s:s,s:s,s:i,s:i,s:i,s:i,s:i}", "path", path, "type", S_ISBLK(st->st_mode) ? "b" : "c",
				     "major", (int)major(st->st_rdev), "minor", (int)minor(st->st_rdev), "fileMode", (int)(st->st_mode & 0777),
				     "uid", (int)st->st_uid, "gid", (int)st->st_gid)) ? -ENOMEM : 0;
}

/* below: "" or "NAME/.../", of the folder dev. What goes away meanwhile is left out. */
static int walk(json_t *devices, const char *dev, const char *below, int depth)
{
	char folder[PATH_MAX];
	int rc = 0;
	snprintf(folder, sizeof(folder), "%s/%s", dev, below);
	DIR *d = opendir(folder);
	for (struct dirent *i; d && !rc && (i = readdir(d));) {
		char at[PATH_MAX], path[PATH_MAX + 8];
		struct stat st;
		int n = snprintf(at, sizeof(at), "%s%s", below, i->d_name);
		if (*i->d_name == '.' || n >= (int)sizeof(at) - 8 || is_runtimes(at) || fstatat(dirfd(d), i->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", at);
		if (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode))
			rc = add(devices, path, &st);
		else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
			rc = walk(devices, dev, strcat(at, "/"), depth + 1);
	}
	if (d)
		closedir(d);
	return rc;
}

bool devices_wanted(const json_t *config)
{
	const json_t *first = json_array_get(jpath_get(config, "linux.resources.devices"), 0);
	return jpath_bool(first, "allow", false) && !strcmp(jpath_str(first, "access", ""), "rwm") && !jpath_get(first, "type");
}

int devices_add_all(json_t *config, const char *dev, struct err *e)
{
	if (!jpath_get(config, "linux.devices") && jpath_set(config, "linux.devices", json_array()))
		return err_sys(e, ENOMEM, "devices");
	int rc = walk(jpath_get(config, "linux.devices"), dev, "", 0);
	return rc ? err_sys(e, -rc, "the machine's devices") : 0;
}
