// SPDX-License-Identifier: Apache-2.0
// The stream calls of agent_client.h, in the shortest form, until the real agent_client.c is here.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent_client.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/own.h"
#include "base/usock.h"

int agent_stream_open(const char *path, const Bulkhead__Agent__StreamOpen *open, uint32_t timeout_ms, struct err *e)
{
	(void)timeout_ms;
	own_fd int fd = usock_connect(path, SOCK_STREAM, e);
	if (fd < 0)
		return fd;
	char line[64], c = 0;
	fd_write_all(fd, "CONNECT 1025\n", 13);
	for (size_t n = 0; n < sizeof(line) && c != '\n'; n++)
		if (read(fd, &c, 1) != 1)
			return err_set(e, EPIPE, "the VM does not answer");
	uint32_t len = (uint32_t)bulkhead__agent__stream_open__get_packed_size(open);
	own_free uint8_t *raw = malloc(len + 4);
	memcpy(raw, &len, 4);
	bulkhead__agent__stream_open__pack(open, raw + 4);
	uint8_t answer[4096];
	if (fd_write_all(fd, raw, len + 4) || fd_read_all(fd, &len, 4) || len > sizeof(answer) || (len && fd_read_all(fd, answer, len)))
		return err_set(e, EPIPE, "the agent does not answer");
	Bulkhead__Agent__StreamReady *ready = bulkhead__agent__stream_ready__unpack(NULL, len, answer);
	if (!ready)
		return err_set(e, EPROTO, "not a StreamReady");
	int rc = ready->error_code ? err_set(e, ready->error_code, "%s", ready->error) : 0;
	bulkhead__agent__stream_ready__free_unpacked(ready, NULL);
	return rc ? rc : take_fd(fd);
}

int agent_frame_send(int fd, uint8_t channel, const void *data, uint32_t len)
{
	uint8_t head[5] = {channel, (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16), (uint8_t)(len >> 24)};
	return fd_write_all(fd, head, 5) || (len && fd_write_all(fd, data, len)) ? -EPIPE : 0;
}

int agent_frame_recv(int fd, uint8_t *channel, void *data, uint32_t *len)
{
	uint8_t head[5];
	int rc = fd_read_all(fd, head, 5);
	if (rc)
		return rc;
	uint32_t n = head[1] | (uint32_t)head[2] << 8 | (uint32_t)head[3] << 16 | (uint32_t)head[4] << 24;
	if (n > *len)
		return -EPROTO;
	*channel = head[0];
	*len = n;
	return n ? fd_read_all(fd, data, n) : 0;
}
