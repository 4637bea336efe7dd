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

pid_t host_pid_of(int pidfd)
{
	char path[64], text[512];
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	const char *at = strstr(text, "\nPid:");
	return at ? (pid_t)atoi(at + 5) : -1;
}
