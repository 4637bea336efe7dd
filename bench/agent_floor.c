// SPDX-License-Identifier: Apache-2.0
// An exec straight from the agent, over vsock alone: what hostd's exec and streams are measured against.
//   agent-floor VSOCK-SOCKET CONTAINER-ID RUNS COMMAND [ARG]...
// A line for each run: milliseconds until its end, bytes of its output.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "hostd/agent_client.h"

#define OPEN_TIMEOUT_MS 10000

static int run(const char *path, Bulkhead__Agent__StreamOpen *open)
{
	static char data[AGENT_FRAME_MAX];
	struct err e = ERR_INIT;
	uint64_t start = clock_mono_ns(), bytes = 0;
	uint8_t channel = AGENT_STDOUT;
	int fd = agent_stream_open(path, open, OPEN_TIMEOUT_MS, &e);
	if (fd < 0) {
		fprintf(stderr, "agent-floor: %s\n", e.text);
		return fd;
	}
	while (channel != AGENT_EXIT) {
		uint32_t len = sizeof(data);
		int rc = agent_frame_recv(fd, &channel, data, &len);
		if (rc) {
			fprintf(stderr, "agent-floor: the stream ended: %d\n", rc);
			close(fd);
			return rc;
		}
		bytes += channel == AGENT_STDOUT ? len : 0;
	}
	close(fd);
	printf("%.3f %llu\n", (double)(clock_mono_ns() - start) / NS_PER_MS, (unsigned long long)bytes);
	return 0;
}

int main(int argc, char **argv)
{
	Bulkhead__Agent__StreamOpen open = BULKHEAD__AGENT__STREAM_OPEN__INIT;
	Bulkhead__Agent__ExecOpen exec = BULKHEAD__AGENT__EXEC_OPEN__INIT;
	if (argc < 5) {
		fprintf(stderr, "usage: agent-floor VSOCK-SOCKET CONTAINER-ID RUNS COMMAND [ARG]...\n");
		return 2;
	}
	exec.container_id = argv[2];
	exec.argv = argv + 4;
	exec.n_argv = (size_t)argc - 4;
	exec.stdout = 1;
	open.what_case = BULKHEAD__AGENT__STREAM_OPEN__WHAT_EXEC;
	open.exec = &exec;
	for (int i = 0; i < atoi(argv[3]); i++)
		if (run(argv[1], &open))
			return 1;
	return 0;
}
