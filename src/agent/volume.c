// SPDX-License-Identifier: Apache-2.0
// Volumes; see volume.h. Places: SCRATCH/vol/NAME emptyDir, RUN/tmpfs/NAME memory, RUN/files/NAME configMap and the
// like, RUN/disk/SERIAL disks.
#include "volume.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent.h"
#include "base/evloop.h"
#include "base/file.h"
#include "base/own.h"
#include "diskfs.h"
#include "machine.h"
#include "share.h"
#include "volume_files.h"

bool volume_name_ok(const char *name)
{
	size_t len = strlen(name);
	if (!len || len > 253 || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("._-", *name))
			return false;
	return true;
}

static int check_name(const char *name, struct err *e)
{
	return volume_name_ok(name) ? 0 : err_set(e, EINVAL, "'%s' is not a volume name", name);
}

static bool mounted(const char *path)
{
	char up[PATH_MAX + 8];
	struct stat a, b;
	snprintf(up, sizeof(up), "%s/..", path);
	return !lstat(path, &a) && (S_ISLNK(a.st_mode) || (!stat(up, &b) && a.st_dev != b.st_dev));
}

static uint32_t group_now;   // nftw takes no argument of ours

static int give_to_group(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)at;
	if (lchown(path, (uid_t)-1, group_now))
		return -1;
	if (type == FTW_SL || type == FTW_SLN)
		return 0;
	mode_t more = S_ISDIR(st->st_mode) ? 02770 : 0660;
	return chmod(path, (st->st_mode & 07777) | more) ? -1 : 0;
}

/* fsGroup: everything belongs to the group and may be written by it, new files inherit it. Unless `always`, what has its
 * group already is left alone (OnRootMismatch), so a large volume is walked once. */
static int set_group(const char *dir, uint32_t group, bool always, struct err *e)
{
	struct stat st;
	if (!group || stat(dir, &st) || (!always && st.st_gid == group && (st.st_mode & 02070) == 02070))
		return 0;
	group_now = group;
	if (nftw(dir, give_to_group, 16, FTW_PHYS | FTW_MOUNT | FTW_DEPTH))
		return err_sys(e, errno, "give %s to group %u", dir, group);
	return 0;
}

static int make_empty_dir(struct agent *a, const Bulkhead__Agent__Mount *m, struct volume_place *out, struct err *e)
{
	snprintf(out->path, PATH_MAX, "%s/vol/%s", a->scratch_dir, m->source);
	char parent[PATH_MAX];
	snprintf(parent, sizeof(parent), "%s/vol", a->scratch_dir);
	int rc = dir_make(parent, 0755, e);
	if (rc)
		return rc;
	if (mkdir(out->path, 0777))
		return errno == EEXIST ? 0 : err_sys(e, errno, "make volume %s", m->source);
	chmod(out->path, 0777);
	uint32_t project;
	rc = a->machine->limit_space(out->path, m->size_bytes, &project, e);
	if (rc != -ENOTSUP)
		return rc;
	if (m->size_bytes)
		control_warn(a->control, "volume %s has no limit: %s", m->source, e->text);
	return 0;
}

static int make_tmpfs(struct agent *a, const Bulkhead__Agent__Mount *m, struct volume_place *out, struct err *e)
{
	char options[64] = "mode=0777";
	snprintf(out->path, PATH_MAX, "%s/tmpfs/%s", a->run_dir, m->source);
	int rc = dir_make(out->path, 0777, e);
	if (rc || mounted(out->path))
		return rc;
	if (m->size_bytes)
		snprintf(options, sizeof(options), "mode=0777,size=%llu", (unsigned long long)m->size_bytes);
	return a->machine->mount("tmpfs", out->path, "tmpfs", MS_NOSUID | MS_NODEV, options, e);
}

int volume_mount_disk(struct agent *a, const char *serial, const char *type, bool read_only, char out[PATH_MAX],
		      struct err *e)
{
	char device[MACHINE_DISK_PATH_MAX];
	int rc = check_name(serial, e);
	if (rc)
		return rc;
	if (strcmp(type, "ext4") && strcmp(type, "erofs"))
		return err_set(e, EINVAL, "file system '%s' is not supported: ext4 and erofs are", type);
	snprintf(out, PATH_MAX, "%s/disk/%s", a->run_dir, serial);
	rc = dir_make(out, 0755, e);
	if (rc || mounted(out))
		return rc;
	rc = a->machine->find_disk(a->machine, serial, device, e);
	if (rc)
		return rc;
	bool erofs = !strcmp(type, "erofs");
	read_only |= diskfs_read_only(device);
	unsigned long flags = MS_NODEV | (read_only || erofs ? MS_RDONLY : MS_NOATIME);
	/* noload: a journal that a killed VM has left cannot be replayed onto a disk that takes no writes. */
	rc = a->machine->mount(device, out, type, flags, erofs ? NULL : read_only ? "noload" : "discard", e);
	if (!rc && !erofs && !read_only && diskfs_grow(out, device, e))   // it may have become larger while nobody used it
		control_warn(a->control, "disk %s: %s", serial, e->text);
	return rc;
}

static int find_block(struct agent *a, const Bulkhead__Agent__Mount *m, struct volume_place *out, struct err *e)
{
	struct stat st;
	int rc = a->machine->find_disk(a->machine, m->source, out->path, e);
	if (rc)
		return rc;
	if (stat(out->path, &st) || !S_ISBLK(st.st_mode))
		return err_set(e, ENOTBLK, "%s is not a block device", out->path);
	out->block = true;
	out->major = major(st.st_rdev);
	out->minor = minor(st.st_rdev);
	return 0;
}

static bool disk_is_mounted(const struct agent *a, const char *serial)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/disk/%s", a->run_dir, serial);
	return mounted(path);
}

static bool disk_is_read_only(const char *path)
{
	struct statvfs fs;
	return !statvfs(path, &fs) && fs.f_flag & ST_RDONLY;
}

int volume_prepare(struct agent *a, const Bulkhead__Agent__Mount *m, uint32_t fs_group, struct volume_place *out,
		   struct err *e)
{
	bool first = false;
	memset(out, 0, sizeof(*out));
	int rc = check_name(m->source, e);
	if (rc)
		return rc;
	switch (m->kind) {
	case BULKHEAD__AGENT__MOUNT__KIND__EMPTY_DIR:
		rc = make_empty_dir(a, m, out, e);
		break;
	case BULKHEAD__AGENT__MOUNT__KIND__TMPFS:
		rc = make_tmpfs(a, m, out, e);
		break;
	case BULKHEAD__AGENT__MOUNT__KIND__FILES:
		snprintf(out->path, PATH_MAX, "%s/files/%s", a->run_dir, m->source);
		return access(out->path, F_OK) ? err_set(e, ENOENT, "volume '%s' was not written yet", m->source) : 0;
	case BULKHEAD__AGENT__MOUNT__KIND__DISK:
		first = !disk_is_mounted(a, m->source);
		rc = volume_mount_disk(a, m->source, *m->fs_type ? m->fs_type : "ext4", false, out->path, e);
		if (!rc && disk_is_read_only(out->path))
			return 0;
		break;
	case BULKHEAD__AGENT__MOUNT__KIND__BLOCK:
		return find_block(a, m, out, e);
	case BULKHEAD__AGENT__MOUNT__KIND__SHARE:
		return share_place(a, m->source, out->path, e);
	default:
		return err_set(e, EINVAL, "mount kind %d is unknown", (int)m->kind);
	}
	return rc ? rc : set_group(out->path, fs_group, m->group_always && first, e);
}

void volume_write(struct agent *a, const Bulkhead__Agent__Request *rq, struct call *call)
{
	const Bulkhead__Agent__WriteVolume *w = rq->write_volume;
	struct err e = ERR_INIT;
	char dir[PATH_MAX];
	snprintf(dir, sizeof(dir), "%s/files/%.253s", a->run_dir, w->name);
	int rc = check_name(w->name, &e);
	if (!rc)
		rc = dir_make(dir, 0755, &e);
	if (!rc)
		rc = volume_files_write(dir, w, &e);
	call_end(call, rc, &e);
}

struct wait {
	struct agent *agent;
	struct call *call;
	char serial[64];
	unsigned tries;
};

#define WAIT_STEP_MS 5

static void on_wait(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct wait *wait = user;
	struct err e = ERR_INIT;
	char path[MACHINE_DISK_PATH_MAX];
	(void)l, (void)events;
	int rc = wait->agent->machine->find_disk(wait->agent->machine, wait->serial, path, &e);
	if (rc && wait->tries--)
		return;
	call_end(wait->call, rc, &e);
	evloop_remove(w);
	free(wait);
}

void volume_attach_disk(struct agent *a, const Bulkhead__Agent__Request *rq, struct call *call)
{
	const Bulkhead__Agent__AttachDisk *d = rq->attach_disk;
	struct err e = ERR_INIT;
	struct wait *wait = calloc(1, sizeof(*wait));
	int rc = wait ? check_name(d->serial, &e) : err_set(&e, ENOMEM, "no memory");
	if (!rc) {
		*wait = (struct wait){.agent = a, .call = call, .tries = d->timeout_ms / WAIT_STEP_MS};
		snprintf(wait->serial, sizeof(wait->serial), "%s", d->serial);
		if (evloop_timer(a->loop, 1, WAIT_STEP_MS, on_wait, wait))
			return;
		rc = err_set(&e, ENOMEM, "no memory");
	}
	free(wait);
	call_fail(call, &e);
}

static void each_in(const char *parent, void (*fn)(void *user, const char *name, const char *dir), void *user)
{
	own_dir DIR *d = opendir(parent);
	struct dirent *de;
	while (d && (de = readdir(d))) {
		char path[PATH_MAX + 256];
		if (*de->d_name == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", parent, de->d_name);
		fn(user, de->d_name, path);
	}
}

void volume_each(struct agent *a, void (*fn)(void *user, const char *name, const char *dir), void *user)
{
	char parent[PATH_MAX];
	snprintf(parent, sizeof(parent), "%s/vol", a->scratch_dir);
	each_in(parent, fn, user);
	snprintf(parent, sizeof(parent), "%s/tmpfs", a->run_dir);
	each_in(parent, fn, user);
	snprintf(parent, sizeof(parent), "%s/disk", a->run_dir);
	each_in(parent, fn, user);
}
