// SPDX-License-Identifier: Apache-2.0
// The HTTPS server: start and stop, the table of paths, and the answers that are plain data. One thread per connection
// (small stacks), so that a handler may wait: for a VM's statistics, for a log to grow, for a stream to end.
#include "streaming.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/own.h"
#include "streaming_internal.h"

#define PEM_MAX (1u << 20)
#define STACK_SIZE (256u << 10)         // address space; what is not touched costs nothing
#define CONNECTION_MEMORY (32u << 10)   // request head and one block of an answer
#define CONNECTIONS_MAX 4096
#define IDLE_TIMEOUT_S 300u             // connections without a request
#define BACKLOG 512
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

void streaming_target_fini(struct streaming_target *t)
{
	free(t->vsock_path);
	free(t->container_id);
	free(t->log_dir);
	free(t->waiting_reason);
	*t = (struct streaming_target){0};
}

/* Answers. */

enum MHD_Result reply_owned(struct request *rq, unsigned code, const char *type, char *body, size_t len)
{
	struct MHD_Response *r = body ? MHD_create_response_from_buffer(len, body, MHD_RESPMEM_MUST_FREE) : NULL;
	if (!r) {
		free(body);
		return MHD_NO;
	}
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	enum MHD_Result rc = MHD_queue_response(rq->connection, code, r);
	MHD_destroy_response(r);
	return rc;
}

enum MHD_Result reply_text(struct request *rq, unsigned code, const char *text)
{
	char *body;
	int len = asprintf(&body, "%s\n", text);
	return len < 0 ? MHD_NO : reply_owned(rq, code, "text/plain; charset=utf-8", body, (size_t)len);
}

static enum MHD_Result reply_json(struct request *rq, json_t *value)
{
	char *body = value ? json_dumps(value, JSON_COMPACT) : NULL;
	json_decref(value);
	return body ? reply_owned(rq, MHD_HTTP_OK, "application/json", body, strlen(body)) :
		reply_text(rq, MHD_HTTP_INTERNAL_SERVER_ERROR, "the answer could not be made");
}

/* Plain data. */

static enum MHD_Result serve_healthz(struct request *rq)
{
	char *body = strdup("ok");
	return reply_owned(rq, MHD_HTTP_OK, "text/plain; charset=utf-8", body, 2);
}

static enum MHD_Result serve_pods(struct request *rq) { return reply_json(rq, rq->s->ops.pods(rq->s->ctx)); }

/* The pods of the same list that have a container running. */
static enum MHD_Result serve_running_pods(struct request *rq)
{
	json_t *list = rq->s->ops.pods(rq->s->ctx), *items = json_object_get(list, "items");
	for (size_t i = json_array_size(items); i-- > 0;) {
		json_t *status = json_object_get(json_array_get(items, i), "status"), *c;
		bool running = false;
		size_t n;
		json_array_foreach(json_object_get(status, "containerStatuses"), n, c)
			running |= json_object_get(json_object_get(c, "state"), "running") != NULL;
		if (!running)
			json_array_remove(items, i);
	}
	return reply_json(rq, list);
}

static enum MHD_Result serve_stats(struct request *rq) { return reply_json(rq, rq->s->ops.stats_summary(rq->s->ctx)); }

static enum MHD_Result metrics(struct request *rq, const char *which)
{
	char *text = rq->s->ops.metrics(rq->s->ctx, which);
	return text ? reply_owned(rq, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text, strlen(text)) :
		reply_text(rq, MHD_HTTP_INTERNAL_SERVER_ERROR, "the metrics could not be gathered");
}

static enum MHD_Result serve_metrics(struct request *rq) { return metrics(rq, ""); }
static enum MHD_Result serve_metrics_resource(struct request *rq) { return metrics(rq, "resource"); }
static enum MHD_Result serve_metrics_cadvisor(struct request *rq) { return metrics(rq, "cadvisor"); }

/* Paths. parts: how many parts follow; a handler with parts gets namespace, pod, [uid,] container. */
static const struct route {
	const char *path;
	enum MHD_Result (*serve)(struct request *rq);
	enum { NO_PARTS, POD, CONTAINER } names;
	bool uid;           // a uid may stand between pod and container, or behind the pod
	bool post;          // POST does the same as GET
} routes[] = {
	{"/containerLogs", streaming_logs, CONTAINER, false, false},
	{"/exec", streaming_exec, CONTAINER, true, true},
	{"/attach", streaming_attach, CONTAINER, true, true},
	{"/portForward", streaming_port_forward, POD, true, true},
	{"/run", streaming_run, CONTAINER, true, true},
	{"/pods", serve_pods, NO_PARTS, false, false},
	{"/runningpods", serve_running_pods, NO_PARTS, false, false},
	{"/stats/summary", serve_stats, NO_PARTS, false, true},
	{"/metrics", serve_metrics, NO_PARTS, false, false},
	{"/metrics/resource", serve_metrics_resource, NO_PARTS, false, false},
	{"/metrics/cadvisor", serve_metrics_cadvisor, NO_PARTS, false, false},
	{"/healthz", serve_healthz, NO_PARTS, false, false},
};

#define PARTS_MAX 4

/* Cut "/a/b/c" at its slashes. Returns the number of parts, or -1: too many, or an empty one. A slash at the end is
 * allowed. */
static int cut_parts(char *rest, char *parts[PARTS_MAX])
{
	int n = 0;
	while (*rest == '/') {
		*rest++ = '\0';
		if (!*rest)
			break;
		if (n == PARTS_MAX || *rest == '/')
			return -1;
		parts[n++] = rest;
		rest += strcspn(rest, "/");
	}
	return n;
}

static const struct route *find_route(struct request *rq, const char *url, char *rest, char *parts[PARTS_MAX])
{
	const struct route *best = NULL;
	size_t best_len = 0;
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		size_t len = strlen(routes[i].path);
		if (len > best_len && !strncmp(url, routes[i].path, len) && (!url[len] || url[len] == '/')) {
			best = &routes[i];
			best_len = len;
		}
	}
	if (!best)
		return NULL;
	strcpy(rest, url + best_len);
	int n = cut_parts(rest, parts), want = best->names == CONTAINER ? 3 : best->names == POD ? 2 : 0;
	if (n != want && !(best->uid && n == want + 1))
		return NULL;
	if (want) {
		rq->ns = parts[0];
		rq->pod = parts[1];
		rq->uid = n > want ? parts[2] : "";
		rq->container = best->names == CONTAINER ? parts[n - 1] : "";
	}
	return best;
}

struct query { struct request *rq; struct err e; bool failed; };

static enum MHD_Result add_param(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len, const char *value,
				 size_t value_len)
{
	(void)kind;
	struct query *q = cls;
	if (q->failed)
		return MHD_YES;
	if (!value)
		value = "", value_len = 0;
	if (strlen(name) != name_len || strlen(value) != value_len)
		q->failed = err_set(&q->e, EINVAL, "a parameter holds a NUL byte") != 0;
	else
		q->failed = streaming_params_add(&q->rq->params, name, value, &q->e) != 0;
	return MHD_YES;
}

static enum MHD_Result serve(struct request *rq, const char *url)
{
	own_free char *rest = malloc(strlen(url) + 1);
	char *parts[PARTS_MAX] = {NULL}, user[AUTH_NAME_MAX];
	if (!rest)
		return MHD_NO;
	unsigned refused = streaming_authorize(rq->s, rq->connection, rq->method, url, user);
	if (refused == MHD_HTTP_UNAUTHORIZED)
		return reply_text(rq, refused, "Unauthorized");
	if (refused == MHD_HTTP_INTERNAL_SERVER_ERROR)
		return reply_text(rq, refused, "the API server cannot be asked who may do this");
	if (refused) {
		own_buf struct buf text = BUF_INIT;
		log_limited(LOG_LEVEL_WARN, "streaming", "refused user=%s method=%s path=%s", user, rq->method, url);
		return buf_printf(&text, "Forbidden (user=%s, verb=%s, path=%s)", user, rq->method, url) ? MHD_NO :
			reply_text(rq, refused, text.data);
	}
	const struct route *r = find_route(rq, url, rest, parts);
	if (!r)
		return reply_text(rq, MHD_HTTP_NOT_FOUND, "404: Page Not Found");
	if (strcmp(rq->method, MHD_HTTP_METHOD_GET) && strcmp(rq->method, MHD_HTTP_METHOD_HEAD) &&
	    !(r->post && !strcmp(rq->method, MHD_HTTP_METHOD_POST)))
		return reply_text(rq, MHD_HTTP_METHOD_NOT_ALLOWED, "405: Method Not Allowed");
	struct query q = {.rq = rq, .e = ERR_INIT};
	MHD_get_connection_values_n(rq->connection, MHD_GET_ARGUMENT_KIND, add_param, &q);
	rq->query_error = q.failed ? q.e.text : NULL;
	return r->serve(rq);
}

/* libmicrohttpd's callbacks. A request comes first with its head, then with its body (which nothing here uses), then
 * once more to be answered. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method,
				  const char *version, const char *body, size_t *body_len, void **state)
{
	(void)version, (void)body;
	if (!*state) {
		*state = calloc(1, sizeof(struct exchange));
		MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, IDLE_TIMEOUT_S);
		return *state ? MHD_YES : MHD_NO;
	}
	if (*body_len) {
		*body_len = 0;
		return MHD_YES;
	}
	struct request rq = {.s = cls, .connection = c, .exchange = *state, .method = method};
	streaming_params_init(&rq.params);
	enum MHD_Result rc = serve(&rq, url);
	streaming_params_fini(&rq.params);
	return rc;
}

static void on_completed(void *cls, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why)
{
	(void)c, (void)why;
	struct exchange *x = *state;
	if (x)
		upgrade_end(cls, x->job);
	free(x);
	*state = NULL;
}

static void on_connection(void *cls, struct MHD_Connection *c, void **state, enum MHD_ConnectionNotificationCode what)
{
	(void)cls, (void)state;
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (what != MHD_CONNECTION_NOTIFY_STARTED || !info)
		return;
	/* Streams are idle for hours; a client that vanished without a word is found out within two minutes. */
	int on = 1, idle_s = 60, interval_s = 10, probes = 6, fd = info->connect_fd;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

static void on_log(void *cls, const char *fmt, va_list ap)
{
	(void)cls;
	char line[256];
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	log_debug("http", "%s", line);
}

/* Start and stop. */

static int listen_on(const struct streaming_config *c, uint16_t *port, struct err *e)
{
	char service[8];
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
	struct addrinfo *addr;
	snprintf(service, sizeof(service), "%u", c->port);
	if (getaddrinfo(c->listen_addr, service, &hints, &addr))
		return err_set(e, EINVAL, "'%s' is not an IP address to listen on", c->listen_addr);
	struct sockaddr_storage at;
	socklen_t at_len = addr->ai_addrlen;
	memcpy(&at, addr->ai_addr, at_len);
	freeaddrinfo(addr);
	int on = 1, off = 0;
	own_fd int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, errno, "make a socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (at.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (struct sockaddr *)&at, at_len) || listen(fd, BACKLOG) || getsockname(fd, (struct sockaddr *)&at, &at_len))
		return err_sys(e, errno, "listen on %s port %u", c->listen_addr, c->port);
	*port = ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port : ((struct sockaddr_in *)&at)->sin_port);
	return take_fd(fd);
}

static int read_pem(const char *path, char **out, struct err *e)
{
	own_buf struct buf b = BUF_INIT;
	int rc = file_read(path, PEM_MAX, &b, e);
	if (rc)
		return rc;
	*out = buf_take(&b);
	return *out ? 0 : err_set(e, ENOMEM, "no memory");
}

static void streaming_free(struct streaming *s)
{
	if (s->stop_fd >= 0)
		close(s->stop_fd);
	free(s->cert);
	if (s->key)
		explicit_bzero(s->key, strlen(s->key));
	free(s->key);
	free(s->ca);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->idle);
	free(s);
}

/* fd: the listening socket, the daemon's on success. */
static int start_daemon(struct streaming *s, int fd, struct err *e)
{
	s->daemon = MHD_start_daemon(
		MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC | MHD_USE_TLS |
		MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG,
		0, NULL, NULL, on_request, s,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_HTTPS_MEM_CERT, s->cert, MHD_OPTION_HTTPS_MEM_KEY, s->key, MHD_OPTION_HTTPS_MEM_TRUST, s->ca,
		MHD_OPTION_HTTPS_PRIORITIES, TLS_PRIORITIES,
		MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_SIZE,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, NULL,
		MHD_OPTION_END);
	return s->daemon ? 0 : err_set(e, EINVAL, "the HTTPS server does not start: certificate, key or client CA is not usable PEM");
}

static int read_certificate(struct streaming *s, struct err *e)
{
	char *cert = NULL, *key = NULL;
	int rc = read_pem(s->cert_path, &cert, e);
	if (!rc)
		rc = read_pem(s->key_path, &key, e);
	if (rc) {
		free(cert);
		return rc;
	}
	free(s->cert);
	free(s->key);
	s->cert = cert, s->key = key;
	return 0;
}

int streaming_reload(struct streaming *s, struct err *e)
{
	struct MHD_Daemon *old = s->daemon;
	if (s->retired_count == RETIRED_MAX) {
		MHD_stop_daemon(s->retired[0]);
		memmove(s->retired, s->retired + 1, --s->retired_count * sizeof(*s->retired));
	}
	int rc = read_certificate(s, e), fd = rc ? -1 : MHD_quiesce_daemon(old);
	if (rc)
		return rc;
	if (fd < 0)
		return err_set(e, EIO, "the HTTPS server does not let its socket go");
	rc = start_daemon(s, fd, e);
	if (rc) {
		close(fd);
		s->daemon = old;
		return rc;
	}
	s->retired[s->retired_count++] = old;
	return 0;
}

int streaming_start(const struct streaming_config *c, struct streaming **out, struct err *e)
{
	struct streaming *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, ENOMEM, "no memory");
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->idle, NULL);
	s->ops = *c->ops;
	s->ctx = c->ctx;
	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = s->stop_fd < 0 ? err_sys(e, errno, "eventfd") : 0;
	s->cert_path = c->cert_path, s->key_path = c->key_path;
	s->auth = c->auth, s->auth_ctx = c->auth_ctx;
	if (!rc)
		rc = read_certificate(s, e);
	if (!rc)
		rc = read_pem(c->client_ca_path, &s->ca, e);
	int fd = rc ? -1 : listen_on(c, &s->port, e);
	if (!rc && fd < 0)
		rc = fd;
	if (!rc && (rc = start_daemon(s, fd, e)))
		close(fd);
	if (rc) {
		streaming_free(s);
		return err_wrap(e, "kubelet API");
	}
	*out = s;
	return 0;
}

uint16_t streaming_port(const struct streaming *s) { return s->port; }

void streaming_stop(struct streaming *s)
{
	if (!s)
		return;
	/* The relays and followers end first: libmicrohttpd waits for the threads of its connections. */
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	eventfd_write(s->stop_fd, 1);
	while (s->jobs)
		pthread_cond_wait(&s->idle, &s->lock);
	pthread_mutex_unlock(&s->lock);
	MHD_stop_daemon(s->daemon);
	while (s->retired_count)
		MHD_stop_daemon(s->retired[--s->retired_count]);
	streaming_free(s);
}
