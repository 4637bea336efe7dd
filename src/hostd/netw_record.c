// SPDX-License-Identifier: Apache-2.0
// Records of pod networks; see netw_record.h.
#include "netw_record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/own.h"

#define RECORD_MAX (1u << 20)
#define SUFFIX ".json"

bool netw_uid_valid(const char *uid)
{
	size_t n = strspn(uid, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
	return n >= 1 && n <= 64 && !uid[n] && uid[0] != '.';
}

static int path_of(const char *dir, const char *uid, const char *end, char path[PATH_MAX], struct err *e)
{
	if (!netw_uid_valid(uid))
		return err_set(e, EINVAL, "\"%.80s\" is no pod uid: expected up to 64 letters, digits, '-', '_' and '.'", uid);
	if (snprintf(path, PATH_MAX, "%s/%s%s", dir, uid, end) >= PATH_MAX)
		return err_sys(e, ENAMETOOLONG, "record of pod %s", uid);
	return 0;
}

/* Atomic against SIGKILL; no fsync, which would cost a pod's start more than everything else here. */
int netw_record_write(const char *dir, const char *uid, const json_t *record, struct err *e)
{
	char path[PATH_MAX], tmp[PATH_MAX];
	int rc = path_of(dir, uid, SUFFIX, path, e);
	if (!rc)
		rc = path_of(dir, uid, SUFFIX "~", tmp, e);
	if (rc)
		return rc;
	own_free char *text = json_dumps(record, JSON_COMPACT);
	own_fd int fd = text ? open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
	if (fd < 0)
		return err_sys(e, text ? errno : ENOMEM, "write %s", tmp);
	rc = fd_write_all(fd, text, strlen(text));
	if (!rc && rename(tmp, path))
		rc = -errno;
	if (rc)
		unlink(tmp);
	return rc ? err_sys(e, -rc, "write %s", path) : 0;
}

json_t *netw_record_read(const char *dir, const char *uid, struct err *e)
{
	char path[PATH_MAX];
	own_buf struct buf text = BUF_INIT;
	if (path_of(dir, uid, SUFFIX, path, e) || file_read(path, RECORD_MAX, &text, e))
		return NULL;
	json_t *record = json_loadb(text.data ? text.data : "", text.len, 0, NULL);
	if (!json_is_object(record)) {
		json_decref(record);
		err_set(e, EINVAL, "%s is no JSON object", path);
		return NULL;
	}
	return record;
}

int netw_record_remove(const char *dir, const char *uid, struct err *e)
{
	char path[PATH_MAX];
	int rc = path_of(dir, uid, SUFFIX, path, e);
	if (!rc && unlink(path) && errno != ENOENT)
		rc = err_sys(e, errno, "remove %s", path);
	return rc;
}

json_t *netw_record_list(const char *dir)
{
	json_t *list = json_array();
	own_dir DIR *d = opendir(dir);
	for (struct dirent *f; d && list && (f = readdir(d)); ) {
		size_t n = strlen(f->d_name), m = strlen(SUFFIX);
		if (f->d_name[0] == '.' || n <= m || strcmp(f->d_name + n - m, SUFFIX))
			continue;
		if (json_array_append_new(list, json_stringn(f->d_name, n - m))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}
