// SPDX-License-Identifier: Apache-2.0
// Atomic volumes; see volume_files.h.
#include "volume_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/own.h"

static int check_path(const char *path, struct err *e)
{
	if (!*path || *path == '/' || strlen(path) > 1024 || !strncmp(path, "..", 2))
		return err_set(e, EINVAL, "'%s' cannot be a file of a volume: relative, not starting with '..'", path);
	for (const char *p = path; *p;) {
		size_t len = strcspn(p, "/");
		if (!len || (len <= 2 && !memcmp(p, "..", len)) || len > NAME_MAX)
			return err_set(e, EINVAL, "'%s' cannot be a file of a volume: empty, '.' or '..' in it", path);
		p += len;
		if (*p && !*++p)
			return err_set(e, EINVAL, "'%s' cannot be a file of a volume: it ends in '/'", path);
	}
	return 0;
}

static int write_one(const char *dir, const Bulkhead__Agent__VolumeFile *f, mode_t dir_mode, struct err *e)
{
	char path[PATH_MAX + 1100], *slash;
	snprintf(path, sizeof(path), "%s/%s", dir, f->path);
	for (slash = strchr(path + strlen(dir) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (!mkdir(path, dir_mode))
			chmod(path, dir_mode);
		*slash = '/';
	}
	own_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, errno, "make %s", f->path);
	int rc = fd_write_all(fd, f->data.data, f->data.len);
	if (rc)
		return err_sys(e, -rc, "write %s", f->path);
	if ((f->uid || f->gid) && fchown(fd, (uid_t)f->uid, (gid_t)f->gid))
		return err_sys(e, errno, "give %s to %lld:%lld", f->path, (long long)f->uid, (long long)f->gid);
	return fchmod(fd, f->mode & 0777) ? err_sys(e, errno, "set the mode of %s", f->path) : 0;
}

static int make_link(const char *to, const char *at, struct err *e)
{
	unlink(at);
	return symlink(to, at) ? err_sys(e, errno, "link %s", at) : 0;
}

/* The first component of each path, as a link into ..data. */
static int link_names(const char *dir, const Bulkhead__Agent__WriteVolume *w, struct err *e)
{
	for (size_t i = 0; i < w->n_files; i++) {
		char name[NAME_MAX + 1], at[PATH_MAX], to[NAME_MAX + 16], now[NAME_MAX + 16];
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(w->files[i]->path, "/"), w->files[i]->path);
		snprintf(at, sizeof(at), "%s/%s", dir, name);
		snprintf(to, sizeof(to), "..data/%s", name);
		ssize_t n = readlink(at, now, sizeof(now));
		if (n == (ssize_t)strlen(to) && !memcmp(now, to, (size_t)n))
			continue;
		int rc = make_link(to, at, e);
		if (rc)
			return rc;
	}
	return 0;
}

static bool wanted(const Bulkhead__Agent__WriteVolume *w, const char *name)
{
	size_t len = strlen(name);
	for (size_t i = 0; i < w->n_files; i++)
		if (!strncmp(w->files[i]->path, name, len) && (!w->files[i]->path[len] || w->files[i]->path[len] == '/'))
			return true;
	return false;
}

/* Links of names that are gone, and folders of data but the current one. */
static void remove_stale(const char *dir, const char *current, const Bulkhead__Agent__WriteVolume *w)
{
	own_dir DIR *d = opendir(dir);
	struct dirent *de;
	while (d && (de = readdir(d))) {
		char path[PATH_MAX + 256];
		const char *name = de->d_name;
		snprintf(path, sizeof(path), "%s/%s", dir, name);
		if (!strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, "..data") || !strcmp(name, current))
			continue;
		if (!strncmp(name, "..", 2))
			dir_remove(path, NULL);
		else if (!wanted(w, name))
			unlink(path);
	}
}

int volume_files_write(const char *dir, const Bulkhead__Agent__WriteVolume *w, struct err *e)
{
	static unsigned number;
	char name[32], data[PATH_MAX], tmp[PATH_MAX], link[PATH_MAX];
	mode_t dir_mode = w->dir_mode ? w->dir_mode & 0777 : 0755;
	int rc = 0;
	for (size_t i = 0; !rc && i < w->n_files; i++)
		rc = check_path(w->files[i]->path, e);
	if (rc)
		return rc;
	snprintf(name, sizeof(name), "..%u", ++number);
	snprintf(data, sizeof(data), "%s/%s", dir, name);
	snprintf(tmp, sizeof(tmp), "%s/..data_tmp", dir);
	snprintf(link, sizeof(link), "%s/..data", dir);
	dir_remove(data, NULL);
	if (mkdir(data, dir_mode))
		return err_sys(e, errno, "make %s", data);
	chmod(data, dir_mode);
	for (size_t i = 0; !rc && i < w->n_files; i++)
		rc = write_one(data, w->files[i], dir_mode, e);
	if (!rc)
		rc = make_link(name, tmp, e);
	if (!rc && rename(tmp, link))
		rc = err_sys(e, errno, "switch %s", link);
	if (rc) {
		dir_remove(data, NULL);
		return rc;
	}
	rc = link_names(dir, w, e);
	remove_stale(dir, name, w);
	return rc;
}
