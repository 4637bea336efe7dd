// SPDX-License-Identifier: Apache-2.0
// Named network namespaces; see netw_ns.h. A namespace lives as long as a file is bound to it.
#include "netw_ns.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/own.h"

/* One piece of work for a thread that may change its namespace: threads end, so nothing has to be undone. */
struct job {
	int ns_fd;          // to enter; -1: a new one
	int (*fn)(void *ctx, struct err *e);
	void *ctx;
	int rc;
	struct err err;
};

static void *job_main(void *arg)
{
	struct job *j = arg;
	if (j->ns_fd >= 0 ? setns(j->ns_fd, CLONE_NEWNET) : unshare(CLONE_NEWNET))
		j->rc = err_sys(&j->err, errno, "enter a network namespace");
	else
		j->rc = j->fn(j->ctx, &j->err);
	return NULL;
}

static int job_run(struct job *j, struct err *e)
{
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, job_main, j);
	if (rc)
		return err_sys(e, rc, "start a thread for a network namespace");
	pthread_join(thread, NULL);
	if (j->rc < 0 && e)
		*e = j->err;
	return j->rc;
}

int netw_ns_run(int ns_fd, int (*fn)(void *ctx, struct err *e), void *ctx, struct err *e)
{
	struct job j = {.ns_fd = ns_fd, .fn = fn, .ctx = ctx};
	return job_run(&j, e);
}

/* NETNS_DIR must be a shared mount of its own, as `ip netns` wants it: else a later `ip netns add` would hide ours. */
static int share_dir(struct err *e)
{
	if (!mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL))
		return 0;
	if (errno != EINVAL)
		return err_sys(e, errno, "share %s", NETNS_DIR);
	if (mount(NETNS_DIR, NETNS_DIR, "none", MS_BIND | MS_REC, NULL) || mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL))
		return err_sys(e, errno, "mount %s", NETNS_DIR);
	return 0;
}

static int open_dir(struct err *e)
{
	int rc = dir_make(NETNS_DIR, 0755, e);
	if (rc)
		return rc;
	own_fd int dir = open(NETNS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, errno, "open %s", NETNS_DIR);
	flock(dir, LOCK_EX);   // ip netns locks here too
	return share_dir(e);
}

static int path_of(const char *name, char *path, size_t size, struct err *e)
{
	if (snprintf(path, size, "%s/%s", NETNS_DIR, name) >= (int)size)
		return err_sys(e, ENAMETOOLONG, "network namespace %s", name);
	return 0;
}

static void set_one(const char *path)
{
	own_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		fd_write_all(fd, "1\n", 2);   // a kernel without IPv6 has no such file, and no need for it
}

/* In the new namespace. Without IPv6 of its own it stays silent on the pod's link; plug-ins that configure IPv6
 * addresses turn it on for their interface. */
static int bind_here(void *ctx, struct err *e)
{
	const char *path = ctx;
	set_one("/proc/sys/net/ipv6/conf/all/disable_ipv6");
	set_one("/proc/sys/net/ipv6/conf/default/disable_ipv6");
	if (mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL))
		return err_sys(e, errno, "mount a network namespace on %s", path);
	return 0;
}

int netw_ns_make(const char *name, struct err *e)
{
	char path[300];
	int rc = path_of(name, path, sizeof(path), e);
	if (!rc)
		rc = open_dir(e);
	if (rc)
		return rc;
	own_fd int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (fd < 0)
		return err_sys(e, errno, "create %s", path);
	struct job j = {.ns_fd = -1, .fn = bind_here, .ctx = path};
	rc = job_run(&j, e);
	if (rc)
		unlink(path);
	return rc;
}

int netw_ns_open(const char *name, struct err *e)
{
	char path[300];
	struct statfs fs;
	int rc = path_of(name, path, sizeof(path), e);
	if (rc)
		return rc;
	own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "open %s", path);
	if (fstatfs(fd, &fs))
		return err_sys(e, errno, "look at %s", path);
	if ((unsigned long)fs.f_type != NSFS_MAGIC)
		return err_set(e, ENOENT, "%s is no network namespace", path);
	return take_fd(fd);
}

int netw_ns_remove(const char *name, struct err *e)
{
	char path[300];
	int rc = path_of(name, path, sizeof(path), e);
	if (rc)
		return rc;
	while (!umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW))
		;
	if (unlink(path) && errno != ENOENT)
		return err_sys(e, errno, "remove %s", path);
	return 0;
}

void netw_ns_each(const char *prefix, void (*fn)(void *ctx, const char *name), void *ctx)
{
	own_dir DIR *d = opendir(NETNS_DIR);
	for (struct dirent *f; d && (f = readdir(d)); )
		if (!strncmp(f->d_name, prefix, strlen(prefix)))
			fn(ctx, f->d_name);
}

void netw_ns_finish(void)
{
	own_dir DIR *d = opendir(NETNS_DIR);
	struct dirent *f;
	while (d && (f = readdir(d)))
		if (f->d_name[0] != '.')
			return;
	umount2(NETNS_DIR, UMOUNT_NOFOLLOW);
	rmdir(NETNS_DIR);   // both fail harmlessly when somebody was faster
}
