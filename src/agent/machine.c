// SPDX-License-Identifier: Apache-2.0
// What both machines share; see machine.h.
#include "machine.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

int machine_accept(const struct machine_ops *m, int listen_fd)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (m->is_host(fd))
		return fd;
	log_limited(LOG_LEVEL_WARN, "agent", "refused a connection that does not come from the host");
	close(fd);
	return -EPERM;
}
