// SPDX-License-Identifier: Apache-2.0
// /portForward: find the pod, agree on a protocol, start the relay.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "streaming_internal.h"
#include "streaming_port.h"

#define TUNNEL_PROTOCOL "SPDY/3.1+portforward.k8s.io"

static const char *const spdy_protocols[] = {"portforward.k8s.io", NULL};
static const char *const websocket_protocols[] = {TUNNEL_PROTOCOL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io", NULL};

struct port_job {
	struct upgrade_job job;
	struct port_request rq;
	struct streaming_target target;
	char *pod, *uid;
	uint16_t ports[PARAMS_PORTS_MAX];
};

static void port_job_run(struct upgrade_job *job, struct wire *w, int stop_fd)
{
	port_relay(w, stop_fd, &((struct port_job *)job)->rq);
}

static void port_job_free(struct upgrade_job *job)
{
	struct port_job *j = (struct port_job *)job;
	streaming_target_fini(&j->target);
	free(j->pod);
	free(j->uid);
	free(j);
}

static struct port_job *port_job_new(const struct request *rq)
{
	struct port_job *j = calloc(1, sizeof(*j));
	if (!j)
		return NULL;
	j->job = (struct upgrade_job){.run = port_job_run, .free = port_job_free};
	j->pod = strdup(rq->pod);
	j->uid = strdup(rq->uid);
	memcpy(j->ports, rq->params.ports, sizeof(j->ports));
	if (j->pod && j->uid)
		return j;
	port_job_free(&j->job);
	return NULL;
}

/* NULL: an answer has been queued. */
static const char *choose(struct request *rq, enum upgrade kind, const struct streaming_target *t, enum MHD_Result *done)
{
	const char *protocol = NULL;
	if (!t->vsock_path)
		*done = reply_text(rq, MHD_HTTP_INTERNAL_SERVER_ERROR, "unable to upgrade: the pod's VM is not running");
	else if (kind == UPGRADE_NONE)
		*done = reply_text(rq, MHD_HTTP_BAD_REQUEST, "unable to upgrade: missing upgrade headers in request");
	else if (kind == UPGRADE_SPDY)
		*done = upgrade_choose(rq, kind, spdy_protocols, "portforward.k8s.io", &protocol);
	else
		*done = upgrade_choose(rq, kind, websocket_protocols, "", &protocol);
	if (protocol && kind == UPGRADE_WEBSOCKET && strcmp(protocol, TUNNEL_PROTOCOL) && !rq->params.ports_count) {
		*done = reply_text(rq, MHD_HTTP_BAD_REQUEST, "query parameter \"port\" is required");
		return NULL;
	}
	return protocol;
}

enum MHD_Result streaming_port_forward(struct request *rq)
{
	struct err e = ERR_INIT;
	enum MHD_Result done = MHD_NO;
	if (rq->query_error)
		return reply_text(rq, MHD_HTTP_BAD_REQUEST, rq->query_error);
	struct port_job *j = port_job_new(rq);
	if (!j)
		return MHD_NO;
	int rc = rq->s->ops.find(rq->s->ctx, rq->ns, rq->pod, rq->uid, NULL, &j->target, &e);
	enum upgrade kind = upgrade_kind(rq->connection);
	const char *protocol = NULL;
	if (rc)
		done = reply_text(rq, rc == -ENOENT ? MHD_HTTP_NOT_FOUND : MHD_HTTP_INTERNAL_SERVER_ERROR, e.text);
	else
		protocol = choose(rq, kind, &j->target, &done);
	if (!protocol) {
		port_job_free(&j->job);
		return done;
	}
	j->rq = (struct port_request){
		.vsock_path = j->target.vsock_path, .pod = j->pod, .uid = j->uid,
		.transport = kind == UPGRADE_SPDY ? PORT_SPDY : strcmp(protocol, TUNNEL_PROTOCOL) ? PORT_CHANNELS : PORT_TUNNEL,
		.base64 = strstr(protocol, "base64"), .ports = j->ports, .ports_count = rq->params.ports_count,
	};
	return upgrade_start(rq, kind, protocol, &j->job);
}
