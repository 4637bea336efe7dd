// SPDX-License-Identifier: Apache-2.0
// From HTTP to a stream. libmicrohttpd has a thread for each connection here, and after an upgrade it begins to copy
// between TLS and a socket pair only when its upgrade handler returns. Ours returns when the stream is over: until then
// the connection's thread and its TLS session are the relay's. No second thread, no copying, and the ends of both
// directions are seen as they are.
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/own.h"
#include "streaming_internal.h"
#include "websocket.h"

#define PROTOCOL_HEADER "X-Stream-Protocol-Version"
#define ACCEPTED_HEADER "X-Accepted-Stream-Protocol-Versions"
#define TRIM_FROM 16   // streams at once, after which their memory is given back when the last one has ended

static const char *header(struct MHD_Connection *c, const char *name)
{
	const char *v = MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
	return v ? v : "";
}

enum upgrade upgrade_kind(struct MHD_Connection *c)
{
	const char *upgrade = header(c, MHD_HTTP_HEADER_UPGRADE);
	if (!strcasestr(header(c, MHD_HTTP_HEADER_CONNECTION), "upgrade"))
		return UPGRADE_NONE;
	if (!strcasecmp(upgrade, "websocket"))
		return UPGRADE_WEBSOCKET;
	return strcasestr(upgrade, "SPDY/3.1") ? UPGRADE_SPDY : UPGRADE_NONE;
}

struct offer { const char *name; struct buf list; bool failed; };

static enum MHD_Result add_offer(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
	(void)kind;
	struct offer *o = cls;
	if (value && !strcasecmp(key, o->name))
		o->failed |= (o->list.len && buf_puts(&o->list, ",")) || buf_puts(&o->list, value);
	return MHD_YES;
}

/* 403 with the list of ours, as a kubelet answers. */
static enum MHD_Result refuse_offer(struct request *rq, const char *offered, const char *const ours[])
{
	own_buf struct buf text = BUF_INIT;
	buf_printf(&text, "unable to upgrade: unable to negotiate protocol: client supports [%s], server accepts [", offered);
	for (size_t i = 0; ours[i]; i++)
		buf_printf(&text, "%s%s", i ? " " : "", ours[i]);
	if (buf_puts(&text, "]\n"))
		return MHD_NO;
	struct MHD_Response *r = MHD_create_response_from_buffer(text.len, text.data, MHD_RESPMEM_MUST_COPY);
	if (!r)
		return MHD_NO;
	for (size_t i = 0; ours[i]; i++)
		if (*ours[i])
			MHD_add_response_header(r, ACCEPTED_HEADER, ours[i]);
	enum MHD_Result rc = MHD_queue_response(rq->connection, MHD_HTTP_FORBIDDEN, r);
	MHD_destroy_response(r);
	return rc;
}

enum MHD_Result upgrade_choose(struct request *rq, enum upgrade kind, const char *const ours[], const char *default_protocol,
			       const char **chosen)
{
	struct offer o = {.name = kind == UPGRADE_SPDY ? PROTOCOL_HEADER : MHD_HTTP_HEADER_SEC_WEBSOCKET_PROTOCOL, .list = BUF_INIT};
	enum MHD_Result rc = MHD_YES;
	MHD_get_connection_values(rq->connection, MHD_HEADER_KIND, add_offer, &o);
	*chosen = NULL;
	if (o.failed) {
		rc = MHD_NO;
	} else if (o.list.len) {
		*chosen = websocket_choose(o.list.data, ours);
		if (!*chosen)
			rc = refuse_offer(rq, o.list.data, ours);
	} else if (default_protocol) {
		*chosen = default_protocol;
	} else {
		rc = reply_text(rq, MHD_HTTP_BAD_REQUEST, "unable to upgrade: " PROTOCOL_HEADER " is required");
	}
	buf_fini(&o.list);
	return rc;
}

static void tune_socket(int fd)
{
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));   // MHD has just switched it off
}

static void on_upgraded(void *cls, struct MHD_Connection *c, void *req_cls, const char *extra, size_t extra_len,
			MHD_socket sock, struct MHD_UpgradeResponseHandle *urh)
{
	struct upgrade_job *job = cls;
	(void)req_cls, (void)sock;
	const union MHD_ConnectionInfo *tls = MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	const union MHD_ConnectionInfo *fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (tls && fd) {
		struct wire w = {.fd = fd->connect_fd, .tls = tls->tls_session, .extra = extra, .extra_len = extra_len};
		tune_socket(w.fd);
		job->run(job, &w, job->s->stop_fd);
	}
	MHD_upgrade_action(urh, MHD_UPGRADE_ACTION_CLOSE);
}

/* libmicrohttpd must not be stopped while a connection is being upgraded: streaming_stop waits for jobs to be 0. */
static bool job_begin(struct streaming *s)
{
	pthread_mutex_lock(&s->lock);
	bool ok = !s->stopping;
	s->jobs += ok;
	if (s->jobs > s->jobs_peak)
		s->jobs_peak = s->jobs;
	pthread_mutex_unlock(&s->lock);
	return ok;
}

void upgrade_end(struct streaming *s, struct upgrade_job *job)
{
	if (!job)
		return;
	job->free(job);
	pthread_mutex_lock(&s->lock);
	bool was_busy = --s->jobs == 0 && s->jobs_peak >= TRIM_FROM;
	if (s->jobs == 0) {
		s->jobs_peak = 0;
		pthread_cond_broadcast(&s->idle);
	}
	pthread_mutex_unlock(&s->lock);
	if (was_busy)
		malloc_trim(0);   // each stream had its buffers, and hostd is to stay small
}

enum MHD_Result upgrade_start(struct request *rq, enum upgrade kind, const char *protocol, struct upgrade_job *job)
{
	char accept[WEBSOCKET_ACCEPT_MAX];
	if (!job_begin(rq->s)) {
		job->free(job);
		return MHD_NO;
	}
	rq->exchange->job = job;   // ended when MHD says that the request is over, upgraded or not
	bool websocket = kind == UPGRADE_WEBSOCKET;
	if (websocket && (strcmp(header(rq->connection, "Sec-WebSocket-Version"), "13") ||
			  websocket_accept(header(rq->connection, "Sec-WebSocket-Key"), accept))) {
		return reply_text(rq, MHD_HTTP_BAD_REQUEST, "unable to upgrade: not a WebSocket version 13 handshake");
	}
	job->s = rq->s;
	struct MHD_Response *r = MHD_create_response_for_upgrade(on_upgraded, job);
	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, MHD_HTTP_HEADER_UPGRADE, websocket ? "websocket" : "SPDY/3.1");
	if (websocket)
		MHD_add_response_header(r, "Sec-WebSocket-Accept", accept);
	if (*protocol)
		MHD_add_response_header(r, websocket ? MHD_HTTP_HEADER_SEC_WEBSOCKET_PROTOCOL : PROTOCOL_HEADER, protocol);
	enum MHD_Result rc = MHD_queue_response(rq->connection, MHD_HTTP_SWITCHING_PROTOCOLS, r);
	MHD_destroy_response(r);
	return rc;
}
