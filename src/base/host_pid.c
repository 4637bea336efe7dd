// SPDX-License-Identifier: Apache-2.0
// Process ids as the host numbers them; see host_pid.h.
#include "host_pid.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "own.h"

pid_t host_pid_self(void)
{
	char text[32];
	ssize_t n = readlink("/proc/self", text, sizeof(text) - 1);
	if (n <= 0)
		return getpid();
	text[n] = '\0';
	return (pid_t)atoi(text);
}

static int kept = -1;

void host_pid_keep(void)
{
	if (kept < 0)
		kept = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

pid_t host_pid_of(int pidfd)
{
	char path[64], text[512];
	own_fd int proc = kept >= 0 ? kept : open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	kept = -1;
	snprintf(path, sizeof(path), "self/fdinfo/%d", pidfd);
	own_fd int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	const char *at = strstr(text, "\nPid:");
	return at ? (pid_t)atoi(at + 5) : -1;
}
