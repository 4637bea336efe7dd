// SPDX-License-Identifier: Apache-2.0
// Control connections; see control.h. A call knows its connection until that is closed; replies to a closed
// connection are dropped (hostd asks again after a restart).
#include "control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent.h"
#include "base/evloop.h"
#include "base/file.h"
#include "base/log.h"
#include "base/own.h"
#include "boot.h"
#include "container.h"
#include "diskfs.h"
#include "endpoint.h"
#include "frame.h"
#include "message.h"
#include "pod.h"
#include "share.h"
#include "stats.h"
#include "volume.h"

#define CONNECTIONS_MAX 16

struct connection {
	struct control *control;
	struct endpoint *ep;
	struct connection *next;
};

struct call {
	struct control *control;
	struct connection *connection;   // NULL: closed meanwhile
	uint64_t id;
	struct call *next;
};

struct control {
	struct agent *agent;
	unsigned count;
	struct connection *connections;
	struct call *calls;
};

static void connection_close(struct connection *cn)
{
	struct control *c = cn->control;
	for (struct call *k = c->calls; k; k = k->next)
		if (k->connection == cn)
			k->connection = NULL;
	struct connection **p = &c->connections;
	while (*p != cn)
		p = &(*p)->next;
	*p = cn->next;
	c->count--;
	ep_close(cn->ep);
	free(cn);
}

static void send_reply(struct connection *cn, const Bulkhead__Agent__Reply *r)
{
	int rc = message_send(cn->ep, &r->base);
	if (rc)
		log_limited(LOG_LEVEL_WARN, "control", "a reply could not be sent: %s", strerror(-rc));
}

void call_reply(struct call *call, Bulkhead__Agent__Reply *reply)
{
	reply->id = call->id;
	if (call->connection)
		send_reply(call->connection, reply);
	struct call **p = &call->control->calls;
	while (*p != call)
		p = &(*p)->next;
	*p = call->next;
	free(call);
}

void call_ok(struct call *call)
{
	Bulkhead__Agent__Reply r = BULKHEAD__AGENT__REPLY__INIT;
	call_reply(call, &r);
}

void call_fail(struct call *call, const struct err *e)
{
	Bulkhead__Agent__Reply r = BULKHEAD__AGENT__REPLY__INIT;
	r.error_code = e->code ? e->code : EIO;
	r.error = (char *)e->text;
	call_reply(call, &r);
}

void call_end(struct call *call, int rc, const struct err *e)
{
	if (rc)
		call_fail(call, e);
	else
		call_ok(call);
}

void control_event(struct control *c, Bulkhead__Agent__Event *ev)
{
	Bulkhead__Agent__Reply r = BULKHEAD__AGENT__REPLY__INIT;
	r.what_case = BULKHEAD__AGENT__REPLY__WHAT_EVENT;
	r.event = ev;
	for (struct connection *cn = c->connections; cn; cn = cn->next)
		send_reply(cn, &r);
}

void control_warn(struct control *c, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_warn("agent", "%s", text);
	Bulkhead__Agent__Event ev = BULKHEAD__AGENT__EVENT__INIT;
	ev.what_case = BULKHEAD__AGENT__EVENT__WHAT_WARNING;
	ev.warning = text;
	control_event(c, &ev);
}

static void hello(struct agent *a, const Bulkhead__Agent__Request *rq, struct call *call)
{
	if (rq->hello->version < 1) {
		struct err e;
		err_set(&e, EPROTO, "protocol version %u is unknown; this agent speaks version 1", rq->hello->version);
		call_fail(call, &e);
		return;
	}
	struct utsname u = {0};
	own_buf struct buf boot_id = BUF_INIT;
	uname(&u);
	/* The kernel makes it up when it is first read: in a clone not before the generator has been given its own entropy. */
	if (!a->cloned || pod_uid(a->pod))
		file_read("/proc/sys/kernel/random/boot_id", 64, &boot_id, NULL);
	Bulkhead__Agent__HelloReply h = BULKHEAD__AGENT__HELLO_REPLY__INIT;
	h.version = 1;
	h.agent_version = BULKHEAD_VERSION;
	h.kernel = u.release;
	if (boot_id.data) {
		boot_id.data[strcspn(boot_id.data, "\n")] = '\0';
		h.boot_id = boot_id.data;
	}
	h.uptime_ns = boot_now_ns();
	h.init_ns = a->init_ns;
	h.ready_ns = a->ready_ns;
	const char *uid = pod_uid(a->pod);
	h.pod_configured = uid != NULL;
	if (uid)
		h.pod_uid = (char *)uid;
	Bulkhead__Agent__Reply r = BULKHEAD__AGENT__REPLY__INIT;
	r.what_case = BULKHEAD__AGENT__REPLY__WHAT_HELLO;
	r.hello = &h;
	call_reply(call, &r);
}

static void shut_down(struct agent *a, const Bulkhead__Agent__Request *rq, struct call *call)
{
	(void)rq;
	call_ok(call);
	evloop_stop(a->loop);   // main unmounts and powers off
}

#define REQUEST(name) BULKHEAD__AGENT__REQUEST__WHAT_##name
static control_fn *const handlers[] = {
	[REQUEST(HELLO)] = hello,
	[REQUEST(CONFIGURE_POD)] = pod_configure,
	[REQUEST(CREATE_CONTAINER)] = container_create,
	[REQUEST(START_CONTAINER)] = container_start,
	[REQUEST(SIGNAL_CONTAINER)] = container_signal,
	[REQUEST(REMOVE_CONTAINER)] = container_remove,
	[REQUEST(LIST_CONTAINERS)] = container_list,
	[REQUEST(WRITE_VOLUME)] = volume_write,
	[REQUEST(STATS)] = stats_get,
	[REQUEST(UPDATE_RESOURCES)] = container_update,
	[REQUEST(SHUTDOWN)] = shut_down,
	[REQUEST(ATTACH_DISK)] = volume_attach_disk,
	[REQUEST(GROW_DISK)] = diskfs_grow_request,
	[REQUEST(FREEZE_DISK)] = diskfs_freeze_request,
	[REQUEST(ATTACH_IMAGE)] = share_attach_image,
};

/* Answers one request; false: it cannot be read at all. */
static bool dispatch(struct connection *cn, const uint8_t *bytes, size_t len)
{
	struct control *c = cn->control;
	Bulkhead__Agent__Request *rq = bulkhead__agent__request__unpack(NULL, len, bytes);
	if (!rq || !rq->id) {
		if (rq)
			bulkhead__agent__request__free_unpacked(rq, NULL);
		return false;
	}
	struct call *call = calloc(1, sizeof(*call));
	if (call) {
		*call = (struct call){.control = c, .connection = cn, .id = rq->id, .next = c->calls};
		c->calls = call;
		unsigned what = rq->what_case;
		if (what < sizeof(handlers) / sizeof(*handlers) && handlers[what]) {
			handlers[what](c->agent, rq, call);
		} else {
			struct err e;
			err_set(&e, ENOSYS, "this agent does not know the request; its version is " BULKHEAD_VERSION);
			call_fail(call, &e);
		}
	}
	bulkhead__agent__request__free_unpacked(rq, NULL);
	return call != NULL;
}

static ssize_t on_input(void *user, const uint8_t *data, size_t len)
{
	const uint8_t *message;
	size_t message_len;
	ssize_t n = frame_message(data, len, FRAME_MESSAGE_MAX, &message, &message_len);
	if (n <= 0)
		return n;
	return dispatch(user, message, message_len) ? n : -EPROTO;
}

static void on_ended(void *user, int error)
{
	if (error)
		log_warn("control", "connection closed: %s", strerror(error));
	connection_close(user);
}

static const struct endpoint_ops connection_ops = {.input = on_input, .ended = on_ended};

void control_add(struct control *c, int fd)
{
	struct connection *cn = c->count < CONNECTIONS_MAX ? calloc(1, sizeof(*cn)) : NULL;
	if (!cn) {
		log_limited(LOG_LEVEL_WARN, "control", "refused: %u connections are open", c->count);
		close(fd);
		return;
	}
	*cn = (struct connection){.control = c, .next = c->connections};
	cn->ep = ep_new(c->agent->loop, fd, EP_BOTH, FRAME_MESSAGE_MAX + FRAME_MESSAGE_HEAD, &connection_ops, cn);
	if (!cn->ep) {
		free(cn);
		return;
	}
	c->connections = cn;
	c->count++;
}

struct control *control_new(struct agent *a)
{
	struct control *c = calloc(1, sizeof(*c));
	if (c)
		c->agent = a;
	return c;
}

void control_free(struct control *c)
{
	if (!c)
		return;
	while (c->connections)
		connection_close(c->connections);
	while (c->calls) {
		struct call *k = c->calls;
		c->calls = k->next;
		free(k);
	}
	free(c);
}
