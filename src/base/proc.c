// SPDX-License-Identifier: Apache-2.0
// Run a helper program to its end; see proc.h.
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "own.h"

#define OUTPUT_MAX (64u << 20)
#define CANCEL_POLL_MS 50

struct run {
	pid_t pid;
	int in, out, err;          // our ends of the pipes, -1 when closed
	const struct proc_opts *o;
	size_t in_done;
	struct buf *outbuf, *errbuf;
	size_t line_done;          // bytes of errbuf already given to on_line
};

static void child(const char *const argv[], const struct proc_opts *o, const int fd[3], char *const *env)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	for (int i = 0; i < 3; i++)
		if (dup2(fd[i], i) < 0)
			_exit(126);
	close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	if (o->netns_fd > 0 && setns(o->netns_fd, CLONE_NEWNET))
		_exit(126);
	execvpe(argv[0], (char *const *)argv, env);
	_exit(errno == ENOENT ? 127 : 126);
}

/* Our environment plus the extra entries; extra ones win (they come first). Heap array, entries borrowed. */
static char **environment(const char *const *extra)
{
	size_t n = 0, k = 0;
	while (environ[n])
		n++;
	while (extra && extra[k])
		k++;
	char **env = calloc(n + k + 1, sizeof(*env));
	if (!env)
		return NULL;
	size_t fill = 0;
	for (size_t i = 0; i < k; i++)
		env[fill++] = (char *)extra[i];
	for (size_t i = 0; i < n; i++) {
		size_t name = strcspn(environ[i], "=") + 1;
		bool replaced = false;
		for (size_t j = 0; j < k; j++)
			replaced |= !strncmp(environ[i], extra[j], name);
		if (!replaced)
			env[fill++] = environ[i];
	}
	return env;
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* write that does not raise SIGPIPE: a child that has closed its input is no reason for us to die. */
static ssize_t write_quietly(int fd, const void *data, size_t len)
{
	sigset_t pipe_set, old, pending;
	sigemptyset(&pipe_set);
	sigaddset(&pipe_set, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
	ssize_t n = write(fd, data, len);
	int saved = errno;
	if (n < 0 && saved == EPIPE && !sigismember(&pending, SIGPIPE))
		sigtimedwait(&pipe_set, NULL, &(struct timespec){0});
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = saved;
	return n;
}

static void give_input(struct run *r)
{
	ssize_t n = write_quietly(r->in, (const char *)r->o->input + r->in_done, r->o->input_len - r->in_done);
	if (n > 0)
		r->in_done += (size_t)n;
	if ((n < 0 && errno != EINTR && errno != EAGAIN) || r->in_done == r->o->input_len)
		close_end(&r->in);
}

static void give_lines(struct run *r, bool at_end)
{
	struct buf *b = r->errbuf;
	while (r->o->on_line && r->line_done < b->len) {
		char *start = b->data + r->line_done, *end = start + strcspn(start, "\n\r");
		if (!*end && !at_end)
			return;
		char saved = *end;
		*end = '\0';
		if (end > start)
			r->o->on_line(r->o->user, start);
		*end = saved;
		r->line_done = (size_t)(end - b->data) + (saved ? 1 : 0);
		if (!saved)
			return;
	}
}

static int collect(int *fd, struct buf *b)
{
	char chunk[16384];
	ssize_t n = read(*fd, chunk, sizeof(chunk));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0) {
		close_end(fd);
		return 0;
	}
	if (b->len + (size_t)n > OUTPUT_MAX)
		return 0;   // read on, keep no more
	return buf_append(b, chunk, (size_t)n);
}

/* Move bytes until the child closed its outputs. 0, -ETIMEDOUT, -ECANCELED, -ENOMEM. */
static int pump(struct run *r)
{
	uint64_t deadline = r->o->timeout_ms ? clock_mono_ns() + (uint64_t)r->o->timeout_ms * NS_PER_MS : 0;
	while (r->out >= 0 || r->err >= 0) {
		int wait_ms = r->o->cancel ? CANCEL_POLL_MS : -1;
		if (deadline) {
			uint64_t now = clock_mono_ns();
			if (now >= deadline)
				return -ETIMEDOUT;
			int left = (int)((deadline - now) / NS_PER_MS) + 1;
			if (wait_ms < 0 || left < wait_ms)
				wait_ms = left;
		}
		struct pollfd p[3] = {{r->in, POLLOUT, 0}, {r->out, POLLIN, 0}, {r->err, POLLIN, 0}};
		if (poll(p, 3, wait_ms) < 0 && errno != EINTR)
			return -errno;
		if (r->o->cancel && *r->o->cancel)
			return -ECANCELED;
		if (r->in >= 0 && p[0].revents)
			give_input(r);
		if (r->out >= 0 && p[1].revents && collect(&r->out, r->outbuf))
			return -ENOMEM;
		if (r->err >= 0 && p[2].revents) {
			if (collect(&r->err, r->errbuf))
				return -ENOMEM;
			give_lines(r, r->err < 0);
		}
	}
	return 0;
}

static const char *last_line(struct buf *b)
{
	while (b->len && (b->data[b->len - 1] == '\n' || b->data[b->len - 1] == '\r'))
		b->data[--b->len] = '\0';
	if (!b->len)
		return "no output";
	char *nl = strrchr(b->data, '\n');
	return nl ? nl + 1 : b->data;
}

int proc_run(const char *const argv[], const struct proc_opts *o, struct buf *out, struct buf *errout, struct err *e)
{
	static const struct proc_opts none;
	own_buf struct buf out_own = BUF_INIT, err_own = BUF_INIT;
	struct run r = {.o = o ? o : &none, .outbuf = out ? out : &out_own, .errbuf = errout ? errout : &err_own};
	own_free char **env = environment(r.o->env);
	own_fd int in_r = -1, in_w = -1, out_w = -1, err_w = -1;
	int p[2];
	if (!env)
		return err_sys(e, ENOMEM, "run %s", argv[0]);
	if (r.o->input) {
		if (pipe2(p, O_CLOEXEC))
			return err_sys(e, errno, "run %s: pipe", argv[0]);
		in_r = p[0], in_w = p[1];
		fcntl(in_w, F_SETFL, O_NONBLOCK);
	} else {
		in_r = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	own_fd int out_r = -1, err_r = -1;
	if (pipe2(p, O_CLOEXEC))
		return err_sys(e, errno, "run %s: pipe", argv[0]);
	out_r = p[0], out_w = p[1];
	if (pipe2(p, O_CLOEXEC))
		return err_sys(e, errno, "run %s: pipe", argv[0]);
	err_r = p[0], err_w = p[1];

	r.pid = fork();
	if (r.pid < 0)
		return err_sys(e, errno, "run %s: fork", argv[0]);
	if (r.pid == 0)
		child(argv, r.o, (int[]){in_r, out_w, err_w}, env);
	close_end(&out_w);
	close_end(&err_w);
	close_end(&in_r);
	r.in = take_fd(in_w), r.out = take_fd(out_r), r.err = take_fd(err_r);

	int rc = pump(&r), status = 0;
	close_end(&r.in);
	close_end(&r.out);
	close_end(&r.err);
	if (rc)
		kill(-r.pid, SIGKILL);
	while (waitpid(r.pid, &status, 0) < 0 && errno == EINTR)
		;
	if (rc)
		return err_sys(e, -rc, "run %s", argv[0]);
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (code == 127 || code == 126)
		return err_set(e, ENOENT, "cannot run %s: is it installed?", argv[0]);
	if (code && !errout)
		err_set(e, EIO, "%s: exit code %d: %s", argv[0], code, last_line(&err_own));
	return code;
}

int proc_check(const char *const argv[], const struct proc_opts *o, struct buf *out, struct err *e)
{
	int rc = proc_run(argv, o, out, NULL, e);
	return rc > 0 ? -EIO : rc;
}
