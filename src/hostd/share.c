// SPDX-License-Identifier: Apache-2.0
// Starting bulkhead-share; see share.h.
#include "share.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_client.h"
#include "base/own.h"

#define OPEN_TIMEOUT_MS 10000
#define ATTACH_TIMEOUT_MS 30000
#define STREAM_FD 3

static pid_t spawn(const char *program, const char *path, bool read_only, int stream, int err_fd)
{
	const char *argv[] = {program, "--fd", "3", "--path", path, read_only ? "--read-only" : NULL, NULL};
	pid_t pid = fork();
	if (pid)
		return pid;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	int high_stream = fcntl(stream, F_DUPFD_CLOEXEC, 64), high_err = fcntl(err_fd, F_DUPFD_CLOEXEC, 64);
	int null = open("/dev/null", O_RDWR);
	dup2(null, 0);
	dup2(null, 1);
	dup2(high_err, 2);
	dup2(high_stream, STREAM_FD);
	close_range(STREAM_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC);
	execv(program, (char *const *)argv);
	_exit(127);
}

/* It goes to the background when it serves; until then its end, and what it says, is why it cannot. */
static int await(pid_t pid, int err_fd, const char *path, struct err *e)
{
	char why[ERR_TEXT_MAX] = "";
	size_t have = 0;
	ssize_t n;
	int status;
	while (have < sizeof(why) - 1 && ((n = read(err_fd, why + have, sizeof(why) - 1 - have)) > 0 || (n < 0 && errno == EINTR)))
		have += n > 0 ? (size_t)n : 0;
	why[have] = '\0';
	why[strcspn(why, "\n")] = '\0';
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	return err_set(e, EIO, "%s cannot be shared with the VM: %s", path, *why ? why : "bulkhead-share did not start");
}

int share_start(const char *program, const char *vsock_path, const char *name, const char *path, bool read_only, struct err *e)
{
	Bulkhead__Agent__StreamOpen open_ = BULKHEAD__AGENT__STREAM_OPEN__INIT;
	Bulkhead__Agent__ShareOpen share = BULKHEAD__AGENT__SHARE_OPEN__INIT;
	int ends[2];
	share.name = (char *)name;
	share.read_only = read_only;
	open_.what_case = BULKHEAD__AGENT__STREAM_OPEN__WHAT_SHARE;
	open_.share = &share;
	int stream = agent_stream_open(vsock_path, &open_, OPEN_TIMEOUT_MS, e);
	if (stream == -EEXIST)
		return 0;
	if (stream < 0)
		return stream;
	if (pipe2(ends, O_CLOEXEC)) {
		close(stream);
		return err_sys(e, errno, "share %s", path);
	}
	pid_t pid = spawn(program, path, read_only, stream, ends[1]);
	int fork_errno = errno;
	close(stream);
	close(ends[1]);
	int rc = pid < 0 ? err_sys(e, fork_errno, "share %s", path) : await(pid, ends[0], path, e);
	close(ends[0]);
	return rc;
}

int share_image(const char *program, const char *vsock_path, struct agent_client *agent, const char *serial, const char *disk_path,
		struct err *e)
{
	Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT;
	Bulkhead__Agent__AttachImage attach = BULKHEAD__AGENT__ATTACH_IMAGE__INIT;
	char name[32];
	snprintf(name, sizeof(name), "image-%.20s", serial);
	int rc = share_start(program, vsock_path, name, disk_path, true, e);
	if (rc)
		return rc;
	attach.serial = (char *)serial;
	attach.share = name;
	rq.what_case = BULKHEAD__AGENT__REQUEST__WHAT_ATTACH_IMAGE;
	rq.attach_image = &attach;
	return agent_request(agent, &rq, ATTACH_TIMEOUT_MS, NULL, e);
}
