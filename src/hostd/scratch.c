// SPDX-License-Identifier: Apache-2.0
// Scratch disks; see scratch.h.
#include "scratch.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/own.h"
#include "base/proc.h"
#include "bulkhead/disk.h"

#define GIB (1ull << 30)
#define ROOM_MIN_BYTES (4u << 20)

static pthread_mutex_t format_lock = PTHREAD_MUTEX_INITIALIZER;   // one mkfs at a time

/* The formatted file of this size, made when missing. */
static int formatted(const char *root, uint64_t size_bytes, char *path, size_t path_len, struct err *e)
{
	char dir[4096], tmp[4200], size[32];
	if (snprintf(dir, sizeof(dir), "%s/scratch", root) >= (int)sizeof(dir) ||
	    snprintf(path, path_len, "%s/ext4-journal-quota-%llug.raw", dir, (unsigned long long)(size_bytes / GIB)) >= (int)path_len)
		return err_sys(e, ENAMETOOLONG, "scratch disk");
	if (!access(path, F_OK))
		return 0;
	int rc = dir_make(dir, 0700, e);
	if (rc)
		return rc;
	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	snprintf(size, sizeof(size), "%lluK", (unsigned long long)(size_bytes >> 10));
	unlink(tmp);
	/* A journal: the disk outlives a VM that is killed. Project quotas: the limits of writable layers and emptyDirs. */
	const char *argv[] = {"mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^resize_inode,quota,project",
			      "-E", "quotatype=prjquota,lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0", "-U", "clear", "-L", "scratch", tmp, size, NULL};
	rc = proc_check(argv, NULL, NULL, e);
	if (!rc && rename(tmp, path))
		rc = err_sys(e, errno, "make %s", path);
	if (rc)
		unlink(tmp);
	return rc;
}

/* A VM would start and then wait for room: better said before. */
static int check_room(const char *root, struct err *e)
{
	struct statvfs fs;
	if (statvfs(root, &fs) || fs.f_bavail * fs.f_frsize >= ROOM_MIN_BYTES)
		return 0;
	return err_set(e, ENOSPC, "the host's disk is full: %s has %llu KiB free, and a pod's disk needs %u MiB to begin with", root,
		       (unsigned long long)(fs.f_bavail * fs.f_frsize) >> 10, ROOM_MIN_BYTES >> 20);
}

/* All that a linked clone consists of; without its descriptor, which comes last, it is nothing. */
static const char *const files[] = {"map", "data", "bhd"};

static char *file_of(const char *path, const char *suffix)
{
	char *file;
	size_t stem = strlen(path) - strlen("bhd");
	return asprintf(&file, "%.*s%s", (int)stem, path, suffix) < 0 ? NULL : file;
}

static void remove_files(const char *path)
{
	for (size_t i = sizeof(files) / sizeof(files[0]); i--;) {
		own_free char *file = file_of(path, files[i]);
		if (file)
			unlink(file);
	}
}

int scratch_move(const char *from, const char *to, struct err *e)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		own_free char *old = file_of(from, files[i]), *new = file_of(to, files[i]);
		if (!old || !new || rename(old, new))
			return err_sys(e, old && new ? errno : ENOMEM, "move a scratch disk to %s", to);
	}
	return 0;
}

int scratch_make(const char *root, const char *path, uint64_t size_bytes, struct err *e)
{
	char base[4096];
	size_bytes = (size_bytes + GIB - 1) / GIB * GIB;
	if (!access(path, F_OK))
		return 0;
	int full = check_room(root, e);
	if (full)
		return full;
	pthread_mutex_lock(&format_lock);
	int rc = formatted(root, size_bytes, base, sizeof(base), e);
	pthread_mutex_unlock(&format_lock);
	if (rc)
		return rc;
	remove_files(path);   // of one that was being moved when hostd was killed
	rc = bh_disk_clone(base, path, e);
	return rc ? err_wrap(e, "make scratch disk") : 0;
}

void scratch_remove(const char *path)
{
	struct err e = ERR_INIT;
	int rc = bh_disk_remove(path, &e);
	if (rc && rc != -ENOENT)
		log_warn("scratch", "%s", e.text);
}
