// SPDX-License-Identifier: Apache-2.0
#include "server/pod_stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/jpath.h"
#include "base/own.h"
#include "server/registry.h"
#include "server/status.h"
#include "server/streams.h"

#define UPGRADE_TIMEOUT_MS 30000

/* What a request asks for, and where it goes. */
struct call {
	const char *operation;       // "containerLogs", "exec"...
	bool upgrade;
	char *container;             // owned; NULL: none in the path
	struct buf query;
	json_t *pod, *node;
};

static void call_fini(struct call *c)
{
	free(c->container);
	buf_fini(&c->query);
	json_decref(c->pod);
	json_decref(c->node);
}

/* --- which container --- */

static json_t *find_container(const json_t *pod, const char *name)
{
	static const char *const lists[] = { "spec.containers", "spec.initContainers", "spec.ephemeralContainers" };
	json_t *c;
	size_t i;

	for (size_t l = 0; l < sizeof lists / sizeof *lists; l++)
		json_array_foreach(jpath_get(pod, lists[l]), i, c)
			if (!strcmp(jpath_str(c, "name", ""), name))
				return c;
	return NULL;
}

static void put_names(struct buf *b, const json_t *containers)
{
	json_t *c;
	size_t i;

	json_array_foreach((json_t *)containers, i, c)
		buf_printf(b, "%s%s", i ? " " : "", jpath_str(c, "name", ""));
}

static json_t *choose_container(struct call *c, const char *wanted)
{
	json_t *containers = jpath_get(c->pod, "spec.containers"), *init = jpath_get(c->pod, "spec.initContainers");
	const char *name = jpath_str(c->pod, "metadata.name", ""), *by_default;
	own_buf struct buf names = BUF_INIT;

	if (wanted && *wanted) {
		if (!find_container(c->pod, wanted))
			return status_bad_request("container %s is not valid for pod %s", wanted, name);
		c->container = strdup(wanted);
		return c->container ? NULL : status_errno(-ENOMEM);
	}
	by_default = json_string_value(json_object_get(jpath_get(c->pod, "metadata.annotations"), "kubectl.kubernetes.io/default-container"));
	if (json_array_size(containers) != 1 && !(by_default && find_container(c->pod, by_default))) {
		put_names(&names, containers);
		if (!json_array_size(init))
			return status_bad_request("a container name must be specified for pod %s, choose one of: [%s]", name, names.data);
		buf_puts(&names, "] or one of the init containers: [");
		put_names(&names, init);
		return status_bad_request("a container name must be specified for pod %s, choose one of: [%s]", name, names.data);
	}
	c->container = strdup(json_array_size(containers) == 1 ? jpath_str(json_array_get(containers, 0), "name", "") : by_default);
	return c->container ? NULL : status_errno(-ENOMEM);
}

/* --- the node's query --- */

static void put_param(struct buf *b, const char *name, const char *value)
{
	buf_printf(b, "%s%s=", b->len ? "&" : "", name);
	for (; *value; value++)
		if ((*value >= 'a' && *value <= 'z') || (*value >= 'A' && *value <= 'Z') || (*value >= '0' && *value <= '9') ||
		    strchr("-._~", *value))
			buf_printf(b, "%c", *value);
		else
			buf_printf(b, "%%%02X", (unsigned char)*value);
}

static bool is_true(const char *v)
{
	return v && (!strcmp(v, "true") || !strcmp(v, "1"));
}

static void put_stream_params(struct request *r, struct buf *q)
{
	static const char *const flags[][2] = { { "stdin", "input" }, { "stdout", "output" }, { "stderr", "error" }, { "tty", "tty" } };

	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		if (is_true(route_param(&r->route, flags[i][0])))
			put_param(q, flags[i][1], "1");
	for (size_t i = 0; i < r->route.param_count; i++)
		if (!strcmp(r->route.params[i].name, "command"))
			put_param(q, "command", r->route.params[i].value);
}

static bool is_number(const char *v)
{
	return *v && strspn(v, "0123456789") == strlen(v) && strlen(v) < 19;
}

static json_t *put_log_params(struct request *r, struct buf *q)
{
	static const char *const flags[] = { "follow", "previous", "timestamps" };
	static const char *const numbers[] = { "sinceSeconds", "tailLines", "limitBytes" };
	const char *v;

	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		if (is_true(route_param(&r->route, flags[i])))
			put_param(q, flags[i], "true");
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if ((v = route_param(&r->route, numbers[i]))) {
			if (!is_number(v))
				return status_new(422, "Invalid", "PodLogOptions \"\" is invalid: %s: Invalid value: \"%.64s\": must be greater than "
						  "or equal to 0", numbers[i], v);
			put_param(q, numbers[i], v);
		}
	v = route_param(&r->route, "sinceTime");
	if (v)
		put_param(q, "sinceTime", v);
	return NULL;
}

/* --- the node --- */

static const char *node_address(const json_t *node)
{
	static const char *const preferred[] = { "InternalIP", "ExternalIP" };
	json_t *a;
	size_t i;

	for (size_t p = 0; p < sizeof preferred / sizeof *preferred; p++)
		json_array_foreach(jpath_get(node, "status.addresses"), i, a)
			if (!strcmp(jpath_str(a, "type", ""), preferred[p]))
				return jpath_str(a, "address", NULL);
	return NULL;
}

static json_t *load(struct request *r, const struct k8s_kind *k, const char *ns, const char *name, json_t **out)
{
	char key[REG_KEY_MAX];
	own_obj struct obj *o = store_get(r->srv->store, reg_key(k, ns, name, key));

	if (!o)
		return status_not_found(k, name);
	*out = obj_json(o);
	return *out ? NULL : status_errno(-ENOMEM);
}

/* A path segment or header value that we put into a request head ourselves must not end it. */
static bool is_clean(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= 0x20 || *s == 0x7f)
			return false;
	return true;
}

static bool passes_on(const char *name)
{
	static const char *const dropped[] = { "Host", "Authorization", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive",
					       "Proxy-Connection", "TE", "Trailer", "Accept-Encoding", "Expect" };

	for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++)
		if (!strcasecmp(name, dropped[i]))
			return false;
	return strncasecmp(name, "X-Remote-", 9) && strncasecmp(name, "Impersonate-", 12);
}

static enum MHD_Result put_header(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
	(void)kind;
	if (passes_on(key) && value)
		buf_printf(cls, "%s: %s\r\n", key, value);
	return MHD_YES;
}

static int put_head(struct request *r, const struct call *c, const char *address, int port, struct buf *b)
{
	buf_printf(b, "%s /%s/%s/%s%s%s%s%s HTTP/1.%d\r\nHost: %s:%d\r\n", r->route.method, c->operation, r->route.ns, r->route.name,
		   c->container ? "/" : "", c->container ? c->container : "", c->query.len ? "?" : "", c->query.len ? c->query.data : "",
		   c->upgrade, address, port);
	if (c->upgrade) {
		MHD_get_connection_values(r->conn, MHD_HEADER_KIND, put_header, b);
		buf_puts(b, "Connection: Upgrade\r\nContent-Length: 0\r\n");
	} else {
		buf_puts(b, "Connection: close\r\n");   // with HTTP/1.0: a body that ends with the connection
	}
	return buf_puts(b, "\r\n");
}

/* --- the answer --- */

static void close_stream(void *state)
{
	stream_close(state);
}

static void on_ready(void *user)
{
	request_wake(user);
}

static void pause_request(void *user)
{
	request_pause(user);
}

static ssize_t read_body(void *cls, uint64_t pos, char *out, size_t max)
{
	struct stream *st = cls;
	ssize_t n;

	(void)pos;
	do {
		n = stream_read(st, out, max);
		if (n > 0)
			return n;
		if (n < 0)
			return n == -ENODATA ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
	} while (!stream_wait(st, pause_request));
	return 0;
}

static void tunnel_over(struct request *r)
{
	(void)r;   // without a reply the connection is closed
}

/* The node's answer goes to the client as it is, and from then on the bytes of both sides. The listener's connection
 * stays suspended meanwhile: it does not touch socket and TLS session, so that the tunnel can. */
static void start_tunnel(struct request *r, struct stream *st, const struct http_head *h)
{
	const union MHD_ConnectionInfo *fd = MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	const union MHD_ConnectionInfo *tls = MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	own_buf struct buf head = BUF_INIT;

	buf_puts(&head, "HTTP/1.1 101 Switching Protocols\r\n");
	for (int i = 0; i < h->count; i++)
		if (strcasecmp(h->headers[i].name, "Content-Length"))
			buf_printf(&head, "%s: %s\r\n", h->headers[i].name, h->headers[i].value);
	if (buf_puts(&head, "\r\n")) {
		reply_status(r, status_errno(-ENOMEM));
		return;
	}
	request_suspend(r, tunnel_over);   // before the tunnel can be over
	if (stream_tunnel(st, tls->tls_session, fd->connect_fd, head.data))
		request_wake(r);
}

/* The node could not be reached. Upstream gives no reason here, only the code. */
static void reply_failed(struct request *r, const char *why)
{
	json_t *s = status_new(500, "", "error dialing backend: %s", why);

	json_object_del(s, "reason");
	reply_status(r, s);
}

/* The node refused. Logs: a Status with its sentence; the others: its answer as it is, which is what clients print. */
static void reply_refused(struct request *r, struct stream *st, const struct http_head *h)
{
	static const struct { int code; const char *reason; } reasons[] = {
		{ 400, "BadRequest" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "NotFound" }, { 405, "MethodNotAllowed" },
	};
	const char *reason = "InternalError";
	char text[4096];
	ssize_t n = stream_read(st, text, sizeof text - 1);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
		if (reasons[i].code == h->code)
			reason = reasons[i].reason;
	reply_status(r, status_new(h->code < 400 ? 500 : h->code, reason, "%s", *text ? text : "the node refused the request"));
}

static void answered(struct request *r)
{
	struct stream *st = r->state;
	const char *why, *type;
	const struct http_head *h = stream_head(st, &why);

	if (!h) {
		reply_failed(r, why);
	} else if (h->code == 101) {
		start_tunnel(r, st, h);
	} else if (!strcmp(r->route.subresource, "log") && h->code != 200) {
		reply_refused(r, st, h);
	} else {
		type = http_head_get(h, "Content-Type");
		r->state = NULL;   // the response's from here on
		reply_stream(r, h->code, type && is_clean(type) ? type : "text/plain", 0, read_body, close_stream, st);
	}
}

/* --- the request --- */

static json_t *check_pod(struct request *r, struct call *c, const struct k8s_kind *k)
{
	const char *node;
	json_t *s = load(r, k, r->route.ns, r->route.name, &c->pod);

	if (s)
		return s;
	node = jpath_str(c->pod, "spec.nodeName", "");
	if (!*node)
		return strcmp(c->operation, "containerLogs") ? status_bad_request("pod %s does not have a host assigned", r->route.name) : NULL;
	return load(r, k8s_kind_find("", "v1", "nodes"), "", node, &c->node);
}

static void reply_unusable(struct request *r)
{
	reply_status(r, status_internal("the node's address is not usable"));
}

static void send_call(struct request *r, struct call *c)
{
	const char *address = node_address(c->node), *node = jpath_str(c->node, "metadata.name", "");
	int port = jpath_int(c->node, "status.daemonEndpoints.kubeletEndpoint.Port", r->srv->kubelet_port);
	struct stream_target t = { .address = address, .port = port, .node_name = node };
	own_buf struct buf head = BUF_INIT;
	struct stream *st;

	if (!address) {
		reply_status(r, status_internal("node %s has no address", node));
		return;
	}
	if (put_head(r, c, address, port, &head)) {
		reply_status(r, status_errno(-ENOMEM));
		return;
	}
	request_follows(r);
	request_suspend(r, answered);   // before the stream can be ready
	if (stream_open(r->srv->streams, &t, head.data, MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd,
			c->upgrade ? UPGRADE_TIMEOUT_MS : 0, on_ready, r, &st)) {
		r->resume = reply_unusable;
		request_wake(r);
		return;
	}
	r->state = st;
	r->free_state = close_stream;
}

static bool wants_upgrade(const struct request *r)
{
	const char *connection = request_header(r, "Connection"), *upgrade = request_header(r, "Upgrade");

	return connection && upgrade && strcasestr(connection, "upgrade") && is_clean(upgrade);
}

static void run(struct request *r, const struct k8s_kind *k, const char *operation, bool upgrade, bool container)
{
	struct call c = { .operation = operation, .upgrade = upgrade };
	json_t *s = NULL;

	if (upgrade && !wants_upgrade(r))
		s = status_bad_request("Upgrade request required");
	if (!s)
		s = check_pod(r, &c, k);
	if (!s && container)
		s = choose_container(&c, route_param(&r->route, "container"));
	if (!s && !strcmp(operation, "containerLogs"))
		s = put_log_params(r, &c.query);
	else if (!s && container)
		put_stream_params(r, &c.query);
	else if (!s)
		for (size_t i = 0; i < r->route.param_count; i++)
			if (!strcmp(r->route.params[i].name, "ports") || !strcmp(r->route.params[i].name, "port"))
				put_param(&c.query, "port", r->route.params[i].value);
	if (s)
		reply_status(r, s);
	else if (!c.node)
		reply_text(r, 200, "text/plain", "");   // logs of a pod without a node: none yet
	else
		send_call(r, &c);
	call_fini(&c);
}

void pod_log(struct request *r, const struct k8s_kind *k)
{
	run(r, k, "containerLogs", false, true);
}

void pod_exec(struct request *r, const struct k8s_kind *k)
{
	if (!route_param(&r->route, "command"))
		reply_status(r, status_bad_request("you must specify at least 1 command for the container"));
	else
		run(r, k, "exec", true, true);
}

void pod_attach(struct request *r, const struct k8s_kind *k)
{
	run(r, k, "attach", true, true);
}

void pod_port_forward(struct request *r, const struct k8s_kind *k)
{
	run(r, k, "portForward", true, false);
}
