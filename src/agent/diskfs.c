// SPDX-License-Identifier: Apache-2.0
// File systems of disks in use; see diskfs.h. The kernel does the work: ext4 grows and freezes by ioctl.
#include "diskfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "agent.h"
#include "base/evloop.h"
#include "base/log.h"
#include "base/own.h"
#include "machine.h"
#include "volume.h"

#define EXT4_MAGIC 0xef53
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)
#define WAIT_STEP_MS 5
#define FREEZE_MAX_MS 60000

bool diskfs_read_only(const char *device)
{
	own_fd int fd = open(device, O_RDONLY | O_CLOEXEC);
	int ro = 0;
	return fd >= 0 && !ioctl(fd, BLKROGET, &ro) && ro;
}

static int device_size(const char *device, uint64_t *bytes, struct err *e)
{
	own_fd int fd = open(device, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, bytes))
		return err_sys(e, errno, "ask the size of %s", device);
	return 0;
}

int diskfs_grow(const char *dir, const char *device, struct err *e)
{
	own_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;
	uint64_t bytes, blocks;
	if (fd < 0 || fstatfs(fd, &fs))
		return err_sys(e, errno, "look at %s", dir);
	if (fs.f_type != EXT4_MAGIC)
		return 0;
	int rc = device_size(device, &bytes, e);
	if (rc)
		return rc;
	blocks = bytes / (uint64_t)fs.f_bsize;
	if (ioctl(fd, EXT4_IOC_RESIZE_FS, &blocks))
		return err_sys(e, errno, "grow the file system of %s to %llu bytes", device, (unsigned long long)bytes);
	return 0;
}

static void mount_point(const struct agent *a, const char *serial, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/disk/%s", a->run_dir, serial);
}

static bool is_mounted(const char *path)
{
	char up[PATH_MAX + 8];
	struct stat st, parent;
	snprintf(up, sizeof(up), "%s/..", path);
	return !stat(path, &st) && !stat(up, &parent) && st.st_dev != parent.st_dev;
}

struct grow {
	struct agent *agent;
	struct call *call;
	char serial[64];
	uint64_t bytes;
	unsigned tries;
};

static void on_grow(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct grow *g = user;
	struct err e = ERR_INIT;
	char device[MACHINE_DISK_PATH_MAX], dir[PATH_MAX];
	uint64_t now = 0;
	(void)l, (void)events;
	int rc = g->agent->machine->find_disk(g->agent->machine, g->serial, device, &e);
	if (!rc)
		rc = device_size(device, &now, &e);
	if (!rc && now < g->bytes) {
		if (g->tries--)
			return;
		rc = err_set(&e, ETIMEDOUT, "disk '%s' still has %llu bytes", g->serial, (unsigned long long)now);
	}
	mount_point(g->agent, g->serial, dir);
	if (!rc && is_mounted(dir) && !diskfs_read_only(device))
		rc = diskfs_grow(dir, device, &e);
	call_end(g->call, rc, &e);
	evloop_remove(w);
	free(g);
}

void diskfs_grow_request(struct agent *a, const Bulkhead__Agent__Request *rq, struct call *call)
{
	const Bulkhead__Agent__GrowDisk *d = rq->grow_disk;
	struct err e = ERR_INIT;
	struct grow *g = calloc(1, sizeof(*g));
	int rc = !g ? err_set(&e, ENOMEM, "no memory") : volume_name_ok(d->serial) ? 0 : err_set(&e, EINVAL, "'%s' is not a serial number",
												 d->serial);
	if (!rc) {
		*g = (struct grow){.agent = a, .call = call, .bytes = d->bytes, .tries = d->timeout_ms / WAIT_STEP_MS};
		snprintf(g->serial, sizeof(g->serial), "%s", d->serial);
		if (evloop_timer(a->loop, 1, WAIT_STEP_MS, on_grow, g))
			return;
		rc = err_set(&e, ENOMEM, "no memory");
	}
	free(g);
	call_fail(call, &e);
}

static void on_thaw(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	int fd = (int)(intptr_t)user;
	(void)l, (void)events;
	ioctl(fd, FITHAW, 0);   // thawed in time: -EINVAL, which is fine
	close(fd);
	evloop_remove(w);
}

void diskfs_freeze_request(struct agent *a, const Bulkhead__Agent__Request *rq, struct call *call)
{
	const Bulkhead__Agent__FreezeDisk *d = rq->freeze_disk;
	struct err e = ERR_INIT;
	char dir[PATH_MAX];
	uint32_t limit = d->timeout_ms && d->timeout_ms < FREEZE_MAX_MS ? d->timeout_ms : FREEZE_MAX_MS;
	int rc = volume_name_ok(d->serial) ? 0 : err_set(&e, EINVAL, "'%s' is not a serial number", d->serial);
	mount_point(a, d->serial, dir);
	if (!rc && !is_mounted(dir))
		rc = err_set(&e, ENOENT, "disk '%s' is not mounted", d->serial);
	int fd = rc ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!rc && fd < 0)
		rc = err_sys(&e, errno, "open %s", dir);
	if (!rc && !d->frozen && ioctl(fd, FITHAW, 0) && errno != EINVAL)
		rc = err_sys(&e, errno, "thaw %s", dir);
	if (!rc && d->frozen) {
		/* The timer first: nothing may leave it frozen for good. */
		int held = fd;
		if (!evloop_timer(a->loop, limit, 0, on_thaw, (void *)(intptr_t)fd))
			rc = err_set(&e, ENOMEM, "no memory");
		else
			fd = -1;   // the timer's
		if (!rc && ioctl(held, FIFREEZE, 0) && errno != EBUSY)
			rc = err_sys(&e, errno, "freeze %s", dir);
	}
	if (fd >= 0)
		close(fd);
	call_end(call, rc, &e);
}
