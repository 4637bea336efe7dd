// SPDX-License-Identifier: Apache-2.0
// /exec, /attach, /run: find the container, agree on a protocol, start the relay.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "streaming_exec.h"
#include "streaming_internal.h"

/* Protocols by transport, the newest first. Their place says the version (see version_of). */
static const char *const spdy_protocols[] = {"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io", NULL};
static const char *const websocket_protocols[] = {"v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io",
						  "channel.k8s.io", "base64.channel.k8s.io", NULL};

struct exec_job {
	struct upgrade_job job;
	struct exec_request rq;
	struct streaming_target target;
	char **argv;
};

static void exec_job_run(struct upgrade_job *job, struct wire *w, int stop_fd)
{
	exec_relay(w, stop_fd, &((struct exec_job *)job)->rq);
}

static void exec_job_free(struct upgrade_job *job)
{
	struct exec_job *j = (struct exec_job *)job;
	streaming_target_fini(&j->target);
	for (size_t i = 0; i < j->rq.argc; i++)
		free(j->argv[i]);
	free(j->argv);
	free(j);
}

/* The container, running. Otherwise an answer is queued and *done says so. As under a kubelet, whose look-up knows
 * only running containers, one that does not run is one that is not there. */
static bool find_running(struct request *rq, struct streaming_target *t, enum MHD_Result *done)
{
	struct err e = ERR_INIT;
	int rc = rq->s->ops.find(rq->s->ctx, rq->ns, rq->pod, rq->uid, rq->container, t, &e);
	if (rc) {
		bool no_pod = rc == -ENOENT && strstr(e.text, "does not exist");
		*done = reply_text(rq, no_pod ? MHD_HTTP_NOT_FOUND : rc == -EINVAL ? MHD_HTTP_BAD_REQUEST : MHD_HTTP_INTERNAL_SERVER_ERROR,
				   e.text);
		return false;
	}
	if (t->running && t->container_id && t->vsock_path)
		return true;
	own_buf struct buf text = BUF_INIT;
	streaming_target_fini(t);
	*done = buf_printf(&text, "container not found (\"%s\")", rq->container) ? MHD_NO :
		reply_text(rq, MHD_HTTP_INTERNAL_SERVER_ERROR, text.data);
	return false;
}

/* "v4.channel.k8s.io" 4; without a number 1. */
static unsigned version_of(const char *protocol)
{
	return protocol[0] == 'v' ? (unsigned)(protocol[1] - '0') : 1;
}

static enum MHD_Result start(struct request *rq, bool attach)
{
	struct err e = ERR_INIT;
	const char *protocol;
	enum MHD_Result done;
	if (rq->query_error)
		return reply_text(rq, MHD_HTTP_BAD_REQUEST, rq->query_error);
	if (streaming_params_check_exec(&rq->params, &e))
		return reply_text(rq, MHD_HTTP_BAD_REQUEST, e.text);
	struct exec_job *j = calloc(1, sizeof(*j));
	if (!j)
		return MHD_NO;
	j->job = (struct upgrade_job){.run = exec_job_run, .free = exec_job_free};
	if (!find_running(rq, &j->target, &done)) {
		exec_job_free(&j->job);
		return done;
	}
	enum upgrade kind = upgrade_kind(rq->connection);
	protocol = NULL;
	if (!attach && !rq->params.command_count)
		done = reply_text(rq, MHD_HTTP_BAD_REQUEST, "you must specify at least 1 command for the container");
	else if (kind == UPGRADE_NONE)
		done = reply_text(rq, MHD_HTTP_BAD_REQUEST, "unable to upgrade: missing upgrade headers in request");
	else if (kind == UPGRADE_SPDY)
		done = upgrade_choose(rq, kind, spdy_protocols, NULL, &protocol);
	else
		done = upgrade_choose(rq, kind, websocket_protocols, "", &protocol);
	if (!protocol) {
		exec_job_free(&j->job);
		return done;
	}
	const struct streaming_params *p = &rq->params;
	j->argv = p->command;
	j->rq = (struct exec_request){
		.attach = attach, .vsock_path = j->target.vsock_path, .container_id = j->target.container_id,
		.argv = p->command, .argc = p->command_count,
		.in = p->in, .out = p->out, .err = p->err, .tty = p->tty, .drop_stdin = attach && !j->target.stdin_open,
		.websocket = kind == UPGRADE_WEBSOCKET, .base64 = strstr(protocol, "base64"), .version = version_of(protocol),
	};
	rq->params.command = NULL;   // the job's now
	rq->params.command_count = 0;
	return upgrade_start(rq, kind, protocol, &j->job);
}

enum MHD_Result streaming_exec(struct request *rq) { return start(rq, false); }
enum MHD_Result streaming_attach(struct request *rq) { return start(rq, true); }

/* As a kubelet does: cmd is cut at its spaces. */
static enum MHD_Result run_command(struct request *rq, const struct streaming_target *t, char *cmd)
{
	own_free char **argv = calloc(strlen(cmd) / 2 + 2, sizeof(*argv));
	own_buf struct buf out = BUF_INIT, text = BUF_INIT;
	struct exec_request ex = {.vsock_path = t->vsock_path, .container_id = t->container_id, .argv = argv, .out = true, .err = true};
	char *save;
	if (!argv)
		return MHD_NO;
	for (char *word = strtok_r(cmd, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[ex.argc++] = word;
	if (!ex.argc)
		return reply_text(rq, MHD_HTTP_BAD_REQUEST, "cmd must name a command");
	if (exec_run(&ex, rq->s->stop_fd, &out, &text))
		return reply_text(rq, MHD_HTTP_INTERNAL_SERVER_ERROR, text.len ? text.data : "no memory");
	size_t len = out.len;
	return reply_owned(rq, MHD_HTTP_OK, "text/plain", buf_take(&out), len);
}

enum MHD_Result streaming_run(struct request *rq)
{
	struct streaming_target t = {0};
	enum MHD_Result done;
	if (rq->query_error)
		return reply_text(rq, MHD_HTTP_BAD_REQUEST, rq->query_error);
	if (strcmp(rq->method, MHD_HTTP_METHOD_POST))
		return reply_text(rq, MHD_HTTP_METHOD_NOT_ALLOWED, "405: Method Not Allowed");
	if (!find_running(rq, &t, &done))
		return done;
	own_free char *cmd = rq->params.run ? take(rq->params.run) : calloc(1, 1);
	done = cmd ? run_command(rq, &t, cmd) : MHD_NO;
	streaming_target_fini(&t);
	return done;
}
