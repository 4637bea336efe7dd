// SPDX-License-Identifier: Apache-2.0
// Connections to a guest's vsock ports; see agent_link.h.
#include "agent_link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/own.h"
#include "base/usock.h"

/* One line, byte by byte: what follows it belongs to the stream. */
static int read_line(int fd, char *line, size_t room, uint32_t timeout_ms)
{
	uint64_t end = clock_mono_ns() + timeout_ms * NS_PER_MS;
	size_t n = 0;
	for (;;) {
		uint64_t now = clock_mono_ns();
		struct pollfd p = {fd, POLLIN, 0};
		int rc = now >= end ? 0 : poll(&p, 1, (int)((end - now) / NS_PER_MS) + 1);
		if (rc == 0)
			return -ETIMEDOUT;
		if (rc < 0 && errno == EINTR)
			continue;
		ssize_t got = read(fd, line + n, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0 || n == room - 1)
			return got == 0 ? -ECONNREFUSED : got < 0 ? -errno : -EPROTO;
		if (line[n] == '\n') {
			line[n] = '\0';
			return 0;
		}
		n++;
	}
}

int agent_link_open(const char *vsock_path, unsigned port, uint32_t timeout_ms, struct err *e)
{
	char line[64];
	own_fd int fd = usock_connect(vsock_path, SOCK_STREAM, e);
	if (fd < 0)
		return fd;
	int n = snprintf(line, sizeof(line), "CONNECT %u\n", port);
	int rc = fd_write_all(fd, line, (size_t)n);
	if (!rc)
		rc = read_line(fd, line, sizeof(line), timeout_ms);
	if (!rc && strncmp(line, "OK ", 3))
		rc = -EPROTO;
	if (rc)
		return err_sys(e, -rc, "connect to the VM's vsock port %u", port);
	return take_fd(fd);
}

int agent_link_send_parts(int fd, const void *head, size_t head_len, const void *data, size_t len)
{
	struct iovec iov[2] = {{(void *)head, head_len}, {(void *)data, len}};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
	while (iov[0].iov_len + iov[1].iov_len) {
		ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		for (int i = 0; i < 2; i++) {
			size_t part = (size_t)n < iov[i].iov_len ? (size_t)n : iov[i].iov_len;
			iov[i].iov_base = (char *)iov[i].iov_base + part;
			iov[i].iov_len -= part;
			n -= (ssize_t)part;
		}
	}
	return 0;
}

int agent_link_send(int fd, const void *message, size_t len)
{
	uint8_t head[4] = {(uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16), (uint8_t)(len >> 24)};
	return len > AGENT_MESSAGE_MAX ? -EMSGSIZE : agent_link_send_parts(fd, head, sizeof(head), message, len);
}

int agent_link_recv(int fd, struct buf *in)
{
	uint8_t head[4];
	int rc = fd_read_all(fd, head, 4);
	if (rc)
		return rc;
	uint32_t len = head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 24;
	if (len > AGENT_MESSAGE_MAX)
		return -EPROTO;
	buf_fini(in);
	if (buf_reserve(in, len))
		return -ENOMEM;
	rc = len ? fd_read_all(fd, in->data, len) : 0;
	if (rc)
		return rc == -ENODATA ? -EPIPE : rc;
	in->len = len;
	in->data[len] = '\0';
	return 0;
}
