// SPDX-License-Identifier: Apache-2.0
// Exec; see exec.h. A session lives from StreamOpen until its process has ended and its output was read to the end, or
// the client is gone:
//   starting   crun runs; the client's frames wait
//   running    StreamReady was sent; bytes flow both ways
//   ending     the process was reaped; what is left in the pipes is read, then the exit frame is sent
//   orphaned   the client is gone (stream NULL); the process was hung up and is killed if it stays
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "base/evloop.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "console.h"
#include "container.h"
#include "endpoint.h"
#include "frame.h"
#include "oci.h"
#include "reaper.h"
#include "runtime.h"
#include "stream.h"

#define KILL_AFTER_MS 5000     // from hang-up to SIGKILL, when the client has vanished
#define TAIL_MS 200            // how long output of others is awaited after the process has ended
#define ARGS_MAX 4096

struct exec {
	struct agent *agent;
	struct container *container;   // NULL: removed meanwhile
	struct exec *next;             // of the container
	struct stream *stream;         // NULL: the client is gone
	char file[256];
	char *argv0;
	bool tty, started, exited, timed_out;
	int child[3];
	struct console *console;
	struct endpoint *in, *out, *err;
	struct output { struct exec *exec; uint8_t channel; } outputs[2];
	unsigned cols, rows;
	uint32_t timeout_ms;
	pid_t pid;
	int status;
	struct evwatch *timer;         // timeout, then tail or kill
};

static void close_child_ends(struct exec *x)
{
	for (int i = 0; i < 3; i++) {
		if (x->child[i] >= 0)
			close(x->child[i]);
		x->child[i] = -1;
	}
}

static void close_io(struct exec *x)
{
	if (x->in != x->out)
		ep_close(x->in);
	ep_close(x->out);
	ep_close(x->err);
	x->in = x->out = x->err = NULL;
}

static void exec_free(struct exec *x)
{
	if (x->container) {
		struct exec **p = &x->container->execs;
		while (*p != x)
			p = &(*p)->next;
		*p = x->next;
	}
	if (x->timer)
		evloop_remove(x->timer);
	if (x->pid && !x->exited)
		reaper_forget(x->agent->reaper, x->pid);
	close_child_ends(x);
	close_io(x);
	console_free(x->console);
	stream_close_sent(x->stream);
	unlink(x->file);
	free(x->argv0);
	free(x);
}

static void send_exit(struct exec *x)
{
	Bulkhead__Agent__ExecExit exit = BULKHEAD__AGENT__EXEC_EXIT__INIT;
	exit.signal = WIFSIGNALED(x->status) ? WTERMSIG(x->status) : 0;
	exit.exit_code = WIFSIGNALED(x->status) ? 128 + WTERMSIG(x->status) : WEXITSTATUS(x->status);
	exit.timed_out = x->timed_out;
	if (x->stream)
		stream_send_exit(x->stream, &exit);
}

static void maybe_finish(struct exec *x)
{
	if (!x->exited || x->out || x->err)
		return;
	send_exit(x);
	exec_free(x);
}

static void update_hold(struct exec *x)
{
	bool hold = !x->started || (x->stream && ep_full(stream_endpoint(x->stream)));
	if (x->out)
		ep_hold(x->out, hold);
	if (x->err)
		ep_hold(x->err, hold);
}

static ssize_t on_output(void *user, const uint8_t *data, size_t len)
{
	struct output *o = user;
	struct exec *x = o->exec;
	if (x->stream) {
		stream_send_channel(x->stream, o->channel, data, len);
		update_hold(x);
	}
	return (ssize_t)len;
}

static void on_output_eof(void *user)
{
	struct output *o = user;
	struct exec *x = o->exec;
	struct endpoint **ep = o->channel == FRAME_STDOUT ? &x->out : &x->err;
	if (x->in == *ep)
		x->in = NULL;
	ep_close(*ep);
	*ep = NULL;
	maybe_finish(x);
}

static void on_output_ended(void *user, int error)
{
	(void)error;
	on_output_eof(user);
}

static void on_input_drained(void *user)
{
	struct exec *x = user;
	if (x->stream)
		ep_hold(stream_endpoint(x->stream), false);
}

static void on_terminal_drained(void *user) { on_input_drained(((struct output *)user)->exec); }

static void on_input_ended(void *user, int error)
{
	struct exec *x = user;
	(void)error;
	ep_close(x->in);
	x->in = NULL;
	on_input_drained(x);
}

static const struct endpoint_ops output_ops = {.input = on_output, .eof = on_output_eof, .ended = on_output_ended};
static const struct endpoint_ops terminal_ops = {.input = on_output, .eof = on_output_eof, .ended = on_output_ended,
						 .drained = on_terminal_drained};
static const struct endpoint_ops input_ops = {.drained = on_input_drained, .ended = on_input_ended};

/* The process has ended. Others may still hold its pipes (a daemon it left behind): they are read until nothing comes
 * for TAIL_MS; but a client that reads slowly is waited for. */
static void on_tail(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct exec *x = user;
	(void)l, (void)w, (void)events;
	if (x->stream && ep_full(stream_endpoint(x->stream)))
		return;
	close_io(x);
	maybe_finish(x);
}

static void on_kill_time(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct exec *x = user;
	(void)l, (void)w, (void)events;
	if (!x->exited)
		kill(x->pid, SIGKILL);
	x->timed_out = x->stream != NULL;
}

static void set_timer(struct exec *x, uint64_t delay_ms, uint64_t repeat_ms, evloop_fn *fn)
{
	if (x->timer)
		evloop_remove(x->timer);
	x->timer = evloop_timer(x->agent->loop, delay_ms, repeat_ms, fn, x);
}

static void on_exit_of_process(void *user, pid_t pid, int status)
{
	struct exec *x = user;
	(void)pid;
	x->exited = true;
	x->status = status;
	if (!x->stream)
		close_io(x);
	if (x->out || x->err)
		set_timer(x, TAIL_MS, TAIL_MS, on_tail);
	maybe_finish(x);
}

/* Client frames. */

static void on_client_bytes(void *user, const void *data, size_t len)
{
	struct exec *x = user;
	if (!x->in)
		return;
	ep_send(x->in, data, len, NULL, 0);
	if (ep_full(x->in))
		ep_hold(stream_endpoint(x->stream), true);
}

static void on_client_end(void *user)
{
	struct exec *x = user;
	if (x->tty || !x->in)
		return;
	ep_close_sent(x->in);
	x->in = NULL;
}

static void on_client_resize(void *user, unsigned cols, unsigned rows)
{
	struct exec *x = user;
	x->cols = cols, x->rows = rows;
	if (x->tty && x->out)
		console_resize(ep_fd(x->out), cols, rows);
}

static ssize_t on_client_input(void *user, const uint8_t *data, size_t len)
{
	static const struct channel_ops ops = {.input = on_client_bytes, .input_end = on_client_end,
					       .resize = on_client_resize};
	return channel_input(&ops, user, data, len);
}

static void on_client_drained(void *user) { update_hold(user); }

/* A terminal's process gets its hang-up from the kernel when the master closes; others get the signal. */
static void on_client_gone(void *user, int error)
{
	struct exec *x = user;
	(void)error;
	stream_close(x->stream);
	x->stream = NULL;
	if (x->started && !x->exited) {
		close_io(x);
		kill(x->pid, SIGHUP);
		set_timer(x, KILL_AFTER_MS, 0, on_kill_time);
	} else if (x->exited) {
		close_io(x);
		maybe_finish(x);
	}
}

static const struct endpoint_ops client_ops = {.input = on_client_input, .drained = on_client_drained,
					       .ended = on_client_gone};

/* Start. */

static void on_terminal(void *user, int fd)
{
	struct exec *x = user;
	x->console = NULL;
	console_resize(fd, x->cols, x->rows);
	x->out = ep_new(x->agent->loop, fd, EP_BOTH, 0, &terminal_ops, &x->outputs[0]);
	x->in = x->out;
	update_hold(x);
}

static void on_started(void *user, int rc, pid_t pid, const struct err *error)
{
	struct exec *x = user;
	if (rc) {
		struct err e = *error;
		runtime_explain(&e, x->argv0, "exec failed: unable to start container process");
		if (x->stream)
			stream_refuse(x->stream, &e);
		x->stream = NULL;
		exec_free(x);
		return;
	}
	x->started = true;
	x->pid = pid;
	unlink(x->file);
	if (x->console)
		console_poll(x->console);
	if (x->stream) {
		stream_ready(x->stream);
		if (x->timeout_ms)
			set_timer(x, x->timeout_ms, 0, on_kill_time);
		ep_hold(stream_endpoint(x->stream), false);
		update_hold(x);
	} else {
		on_client_gone(x, 0);   // it left while crun ran
	}
	if (reaper_watch(x->agent->reaper, pid, on_exit_of_process, x))
		kill(pid, SIGKILL);
}

static int pipe_for(struct exec *x, int i, struct endpoint **ep, int directions, const struct endpoint_ops *ops,
		    void *user, struct err *e)
{
	int fds[2];
	bool input = directions == EP_WRITE;
	if (pipe2(fds, O_CLOEXEC))
		return err_sys(e, errno, "make a pipe");
	x->child[i] = fds[input ? 0 : 1];
	*ep = ep_new(x->agent->loop, fds[input ? 1 : 0], directions, 0, ops, user);
	return *ep ? 0 : err_set(e, ENOMEM, "no memory");
}

static int open_io(struct exec *x, const Bulkhead__Agent__ExecOpen *rq, struct err *e)
{
	int rc = 0;
	if (rq->tty) {
		char path[sizeof(x->file) + 8];
		snprintf(path, sizeof(path), "%s.tty", x->file);
		x->console = console_new(x->agent->loop, path, on_terminal, x, e);
		return x->console ? 0 : -e->code;
	}
	if (rq->stdin)
		rc = pipe_for(x, 0, &x->in, EP_WRITE, &input_ops, x, e);
	if (!rc && rq->stdout)
		rc = pipe_for(x, 1, &x->out, EP_READ, &output_ops, &x->outputs[0], e);
	if (!rc && rq->stderr)
		rc = pipe_for(x, 2, &x->err, EP_READ, &output_ops, &x->outputs[1], e);
	update_hold(x);
	return rc;
}

static int write_process(struct exec *x, const Bulkhead__Agent__ExecOpen *rq, struct err *e)
{
	static unsigned number;
	own_json json_t *process = oci_exec_process(x->container->config, rq->argv, rq->n_argv, rq->env, rq->n_env, rq->tty, e);
	own_free char *text = process ? json_dumps(process, JSON_COMPACT) : NULL;
	if (!process)
		return -e->code;
	snprintf(x->file, sizeof(x->file), "%s/jobs/exec%u.json", x->agent->run_dir, ++number);
	own_fd int fd = open(x->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int rc = !text ? -ENOMEM : fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
	return rc ? err_sys(e, -rc, "write %s", x->file) : 0;
}

static int check(struct container *c, const Bulkhead__Agent__ExecOpen *rq, struct err *e)
{
	if (c->state != BULKHEAD__AGENT__CONTAINER_STATE__RUNNING || c->removing)
		return err_set(e, EINVAL, "container '%s' is not running", c->id);
	if (!rq->n_argv || !*rq->argv[0] || rq->n_argv > ARGS_MAX || rq->n_env > ARGS_MAX)
		return err_set(e, EINVAL, "a command needs 1 to %d arguments, the first not empty", ARGS_MAX);
	return 0;
}

static int start(struct exec *x, const Bulkhead__Agent__ExecOpen *rq, struct err *e)
{
	int rc = write_process(x, rq, e);
	if (!rc)
		rc = open_io(x, rq, e);
	if (rc)
		return rc;
	struct runtime_call run = {.args = {"exec", "--process", x->file}, .done = on_started, .user = x};
	size_t n = 3;
	if (x->console) {
		run.args[n++] = "--console-socket";
		run.args[n++] = console_path(x->console);
	}
	run.args[n++] = x->container->id;
	memcpy(run.stdio, x->child, sizeof(run.stdio));
	rc = runtime_run(x->agent, &run, e);
	close_child_ends(x);
	return rc;
}

void exec_open(struct agent *a, struct stream *s, const Bulkhead__Agent__ExecOpen *rq)
{
	struct err e = ERR_INIT;
	struct container *c = container_find(a, rq->container_id, &e);
	struct exec *x = c && !check(c, rq, &e) ? calloc(1, sizeof(*x)) : NULL;
	if (!x) {
		stream_refuse(s, &e);
		return;
	}
	*x = (struct exec){.agent = a, .container = c, .next = c->execs, .stream = s, .argv0 = strdup(rq->argv[0]),
			   .tty = rq->tty, .child = {-1, -1, -1}, .timeout_ms = rq->timeout_ms,
			   .cols = rq->size ? rq->size->cols : 0, .rows = rq->size ? rq->size->rows : 0};
	x->outputs[0] = (struct output){x, FRAME_STDOUT};
	x->outputs[1] = (struct output){x, FRAME_STDERR};
	c->execs = x;
	int rc = x->argv0 ? start(x, rq, &e) : err_set(&e, ENOMEM, "no memory");
	if (rc) {
		x->stream = NULL;
		exec_free(x);
		stream_refuse(s, &e);
		return;
	}
	stream_take(s, &client_ops, x, false);
	ep_hold(stream_endpoint(s), true);
}

void exec_abort(struct exec *x)
{
	x->container->execs = x->next;
	x->container = NULL;
	if (!x->pid)
		return;   // crun still runs; on_started ends the session
	if (!x->exited) {
		reaper_forget(x->agent->reaper, x->pid);
		x->exited = true;
		x->status = SIGKILL;   // as the container's end has done
	}
	close_io(x);
	maybe_finish(x);
}
