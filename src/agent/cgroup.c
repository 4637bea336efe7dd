// SPDX-License-Identifier: Apache-2.0
// Cgroups; see cgroup.h.
#include "cgroup.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/own.h"

static int read_file(const char *dir, const char *file, struct buf *out)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	int rc = file_read(path, 1u << 20, out, NULL);
	return rc ? rc : out->data ? 0 : -1;
}

uint64_t cgroup_value(const char *dir, const char *file, const char *key)
{
	own_buf struct buf text = BUF_INIT;
	if (read_file(dir, file, &text))
		return 0;
	if (!key)
		return strtoull(text.data, NULL, 10);
	size_t len = strlen(key);
	for (const char *line = text.data; line && *line; line = strchr(line, '\n'), line += line != NULL)
		if (!strncmp(line, key, len) && line[len] == ' ')
			return strtoull(line + len, NULL, 10);
	return 0;
}

void cgroup_kill(const char *dir)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/cgroup.kill", dir);
	own_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		fd_write_all(fd, "1", 1);
}

void cgroup_signal(const char *dir, int sig)
{
	own_buf struct buf text = BUF_INIT;
	if (read_file(dir, "cgroup.procs", &text))
		return;
	char *save = NULL;
	for (char *p = strtok_r(text.data, "\n", &save); p; p = strtok_r(NULL, "\n", &save)) {
		long pid = strtol(p, NULL, 10);
		if (pid > 1)
			kill((pid_t)pid, sig);
	}
}
