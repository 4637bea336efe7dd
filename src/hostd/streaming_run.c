// SPDX-License-Identifier: Apache-2.0
// /run: a command without streams, its output gathered.
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "agent_client.h"
#include "base/own.h"
#include "streaming_exec.h"

#define OUTPUT_MAX (16u << 20)   // as much as the CRI's ExecSync keeps
#define FRAME_TIMEOUT_S 10       // for the rest of a frame that has begun

static int on_exit_frame(const uint8_t *data, uint32_t len, struct buf *text)
{
	Bulkhead__Agent__ExecExit *exit = bulkhead__agent__exec_exit__unpack(NULL, len, data);
	if (!exit)
		return -EPROTO;
	int code = exit->exit_code ? exit->exit_code : exit->signal ? 128 + exit->signal : 0, rc = 0;
	if (code)
		rc = buf_printf(text, "command terminated with exit code %d", code);
	else if (*exit->error)
		rc = buf_puts(text, exit->error);
	bulkhead__agent__exec_exit__free_unpacked(exit, NULL);
	return rc ? rc : text->len ? -EIO : 0;
}

static int gather(int agent, int stop_fd, uint8_t *frame, struct buf *out, struct buf *text)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = agent, .events = POLLIN}, {.fd = stop_fd, .events = POLLIN}};
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents)
			return -ECANCELED;
		if (!fds[0].revents)
			continue;
		uint8_t channel;
		uint32_t len = AGENT_FRAME_MAX;
		int rc = agent_frame_recv(agent, &channel, frame, &len);
		if (rc)
			return rc;
		if (channel == AGENT_EXIT)
			return on_exit_frame(frame, len, text);
		size_t room = OUTPUT_MAX - out->len;
		if (buf_append(out, frame, len < room ? len : room))
			return -ENOMEM;
	}
}

int exec_run(const struct exec_request *rq, int stop_fd, struct buf *out, struct buf *text)
{
	own_fd int agent = exec_open(rq, text);
	if (agent < 0)
		return agent;
	const struct timeval limit = {.tv_sec = FRAME_TIMEOUT_S};
	own_free uint8_t *frame = malloc(AGENT_FRAME_MAX);
	if (!frame || setsockopt(agent, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		return -ENOMEM;
	int rc = gather(agent, stop_fd, frame, out, text);
	if (rc && !text->len && buf_puts(text, "the command's output was lost: the stream from the pod's VM ended"))
		return -ENOMEM;
	return rc;
}
