// SPDX-License-Identifier: Apache-2.0
#include "server/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/x509.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/own.h"
#include "server/api.h"
#include "server/audit.h"
#include "server/auth.h"
#include "server/bootstrap_token.h"
#include "server/fair.h"
#include "server/impersonate.h"
#include "server/request.h"
#include "server/service_token.h"
#include "server/status.h"
#include "server/store.h"
#include "server/tls_push.h"

#define CONNECTIONS_MAX 65536
#define THREADS 4                    // each walks its suspended requests when it resumes one: more threads, shorter walks
#define CONNECTION_MEMORY 32768      // headers of a request, and one block of an answer
#define IDLE_SECONDS 120             // of a connection without a request, or whose peer takes nothing
#define BODY_GIVE_UP (4 * REQUEST_BODY_MAX)
#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:" \
		   "-RSA:%SERVER_PRECEDENCE"

struct http {
	struct server *srv;
	struct MHD_Daemon *daemon;
	gnutls_x509_trust_list_t trust;
	int fd;                      // listening
	struct buf ca, cert, key;
};

/* One per connection: who the certificate says is there, found out at the first request. */
struct peer {
	bool known, invalid;
	struct identity *who;        // NULL: no certificate
	struct tls_push push;
};

static struct peer *peer_of(struct MHD_Connection *conn)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

/* The first request: the handshake is over. */
static void meet(struct http *h, struct MHD_Connection *conn, struct peer *p)
{
	const union MHD_ConnectionInfo *tls = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	const union MHD_ConnectionInfo *fd = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);

	if (tls && fd) {
		p->who = auth_session(tls->tls_session, h->trust, &p->invalid);
		tls_push_attach(&p->push, tls->tls_session, fd->connect_fd);
	}
	p->known = true;
}

static const struct identity *peer_identity(struct http *h, struct MHD_Connection *conn, struct peer *p, bool *invalid)
{
	if (!p->known)
		meet(h, conn, p);
	*invalid = p->invalid;
	return p->who ? p->who : identity_anonymous();
}

static void on_connection(void *cls, struct MHD_Connection *conn, void **context, enum MHD_ConnectionNotificationCode code)
{
	(void)cls;
	(void)conn;
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		*context = calloc(1, sizeof(struct peer));
	} else if (*context) {
		identity_free(((struct peer *)*context)->who);
		free(*context);
		*context = NULL;
	}
}

/* --- one request --- */

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *conn)
{
	struct http *h = cls;
	struct peer *p = peer_of(conn);
	struct request *r = p ? calloc(1, sizeof *r) : NULL;

	if (!r)
		return NULL;
	r->push = &p->push;
	r->srv = h->srv;
	r->conn = conn;
	r->uri = strdup(uri);
	return r;
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **context, enum MHD_RequestTerminationCode code)
{
	struct request *r = *context;

	(void)cls;
	(void)conn;
	(void)code;
	if (!r)
		return;
	audit_end(r);
	fair_leave(r);
	request_ended(r);
	if (r->free_state)
		r->free_state(r->state);
	if (r->response)
		MHD_destroy_response(r->response);
	identity_free(r->token_who);
	route_fini(&r->route);
	buf_fini(&r->body);
	free(r->uri);
	free(r);
	*context = NULL;
}

static enum MHD_Result send_reply(struct request *r)
{
	enum MHD_Result ok;

	if (!r->response)
		return MHD_NO;
	ok = MHD_queue_response(r->conn, r->code, r->response);
	MHD_destroy_response(r->response);
	r->response = NULL;
	return ok;
}

static bool body_too_large(const struct request *r)
{
	const char *length = request_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH);

	return length && strtoull(length, NULL, 10) > REQUEST_BODY_MAX;
}

static void reply_too_large(struct request *r)
{
	reply_status(r, status_new(413, "RequestEntityTooLarge", "Request entity too large: limit is %u", REQUEST_BODY_MAX));
}

/* Whom an Authorization header names, if there is one. False: it is not good. */
static bool bearer_identity(struct request *r)
{
	const char *header = request_header(r, "Authorization"), *token, *why;

	if (!header)
		return true;
	if (strncasecmp(header, "Bearer ", 7))
		return false;
	token = header + 7 + strspn(header + 7, " ");
	r->token_who = bootstrap_token_is(token) ? bootstrap_token_identity(r->srv, token, &why) :
						   service_token_identity(r->srv, token, NULL, NULL, &why);
	if (r->token_who)
		r->who = r->token_who;
	return r->token_who != NULL;
}

/* Each nanosecond once. */
static void charge(struct request *r)
{
	uint64_t now = clock_mono_ns();

	fair_worked(r, now - r->working_since);
	r->working_since = now;
}

/* The request's turn has come: may they? What is refused has cost its user as much as what is not. */
static void admit(struct request *r)
{
	json_t *s = api_refusal(r);

	if (s)
		reply_status(r, s);
	else
		r->admitted = true;
}

/* It is the asker's turn to become somebody else, which is work of his own; then it waits for the other's turn. */
static void admit_as_other(struct request *r)
{
	json_t *s = impersonate(r);

	if (s) {
		reply_status(r, s);
		return;
	}
	charge(r);
	fair_leave(r);
	fair_enter(r, admit);
}

/* The first call, when the headers are there: sets a reply, admits the request, or suspends it until that can be said. */
static void begin(struct http *h, struct request *r, const char *method)
{
	bool invalid;
	int e;

	r->started = true;
	request_count(r);
	e = r->uri ? route_parse(method, r->uri, &r->route) : -ENOMEM;
	if (e) {
		reply_status(r, e == -ENOMEM ? status_errno(e) : status_bad_request("the request's URL is malformed"));
		return;
	}
	r->who = peer_identity(h, r->conn, peer_of(r->conn), &invalid);
	if (invalid || (identity_in(r->who, "system:unauthenticated") && !bearer_identity(r))) {
		r->who = NULL;
		audit_begin(r);
		reply_status(r, status_new(401, "Unauthorized", "Unauthorized"));
		return;
	}
	audit_begin(r);
	if (body_too_large(r)) {
		reply_too_large(r);
		return;
	}
	fair_enter(r, impersonate_asked(r) ? admit_as_other : admit);
}

static void refreshed(struct store_wait *w)
{
	request_wake((struct request *)((char *)w - offsetof(struct request, refresh)));
}

static void serve_refreshed(struct request *r)
{
	if (r->refresh.result)
		reply_status(r, status_new(503, "ServiceUnavailable", "the store does not answer: %s", strerror(-r->refresh.result)));
	else
		api_serve(r);
}

/* Another server may have acknowledged changes that are not here yet. Who asks for resourceVersion 0 takes anything. */
static bool needs_refresh(const struct request *r)
{
	const char *rv = route_param(&r->route, "resourceVersion");

	return store_shared(r->srv->store) && r->route.is_resource && !(rv && !strcmp(rv, "0"));
}

static void serve(struct request *r)
{
	if (!needs_refresh(r)) {
		api_serve(r);
		return;
	}
	r->refresh.done = refreshed;
	request_suspend(r, serve_refreshed);
	store_refresh(r->srv->store, &r->refresh);
}

/* The last call: the body is there. */
static void finish(struct request *r)
{
	r->complete = true;
	if (r->body_seen > REQUEST_BODY_MAX) {
		reply_too_large(r);
		return;
	}
	audit_body(r);
	serve(r);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
				  const char *version, const char *data, size_t *len, void **context)
{
	struct request *r = *context;
	void (*resume)(struct request *r);

	(void)conn;
	(void)url;
	if (!r)
		return MHD_NO;
	r->chunked = !strcmp(version, MHD_HTTP_VERSION_1_1);
	if (*len) {
		if (!r->admitted)
			return MHD_NO;
		r->body_seen += *len;
		if (r->body_seen > BODY_GIVE_UP)
			return MHD_NO;
		if (r->body_seen <= REQUEST_BODY_MAX && buf_append(&r->body, data, *len))
			return MHD_NO;
		*len = 0;
		return MHD_YES;
	}
	r->working_since = clock_mono_ns();
	resume = r->resume;
	r->resume = NULL;
	if (!r->started)
		begin(cls, r, method);
	else if (resume)
		resume(r);
	else if (r->admitted)
		finish(r);
	charge(r);
	return !r->response && (r->resume || (r->admitted && !r->complete)) ? MHD_YES : send_reply(r);
}

/* --- starting and stopping --- */

static int parse_listen(const char *listen, struct sockaddr_storage *addr, socklen_t *len, struct err *e)
{
	char host[256];
	const char *colon = strrchr(listen, ':');
	size_t n = colon ? (size_t)(colon - listen) : 0;
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM }, *found;

	if (!colon || n >= sizeof host)
		return err_set(e, EINVAL, "--listen %s: must be ADDRESS:PORT", listen);
	snprintf(host, sizeof host, "%.*s", (int)n, listen);
	if (host[0] == '[' && n > 1 && host[n - 1] == ']') {
		memmove(host, host + 1, n - 2);
		host[n - 2] = '\0';
	}
	if (getaddrinfo(*host ? host : "0.0.0.0", colon + 1, &hints, &found))
		return err_set(e, EINVAL, "--listen %s: must be ADDRESS:PORT with a numeric address", listen);
	memcpy(addr, found->ai_addr, found->ai_addrlen);
	*len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static int open_socket(const char *listen_on, int *out, struct err *e)
{
	struct sockaddr_storage addr;
	socklen_t len = 0;
	own_fd int fd = -1;
	int one = 1, zero = 0, r = parse_listen(listen_on, &addr, &len, e);

	if (r)
		return r;
	fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, errno, "--listen %s", listen_on);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof one);   // the pods' bridge may come later
	if (addr.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
	if (bind(fd, (struct sockaddr *)&addr, len) || listen(fd, 1024))
		return err_sys(e, errno, "--listen %s", listen_on);
	*out = take_fd(fd);
	return 0;
}

static int read_pki(struct http *h, const char *root, struct err *e)
{
	static const char *const names[] = { "ca.crt", "server.crt", "server.key" };
	struct buf *const bufs[] = { &h->ca, &h->cert, &h->key };
	gnutls_datum_t ca;
	char path[4096];
	int r = 0;

	for (int i = 0; i < 3 && !r; i++) {
		snprintf(path, sizeof path, "%s/pki/%s", root, names[i]);
		r = file_read(path, 1 << 20, bufs[i], e);
	}
	if (r)
		return r;
	ca = (gnutls_datum_t){ (unsigned char *)h->ca.data, h->ca.len };
	if (gnutls_x509_trust_list_init(&h->trust, 0) < 0 ||
	    gnutls_x509_trust_list_add_trust_mem(h->trust, &ca, NULL, GNUTLS_X509_FMT_PEM, 0, 0) < 1)
		return err_set(e, EINVAL, "%s/pki/ca.crt holds no usable certificate", root);
	return 0;
}

static void log_mhd(void *cls, const char *fmt, va_list args)
{
	char text[512];

	(void)cls;
	vsnprintf(text, sizeof text, fmt, args);
	text[strcspn(text, "\r\n")] = '\0';
	log_limited(LOG_LEVEL_DEBUG, "http", "%s", text);
}

static size_t keep_escapes(void *cls, struct MHD_Connection *conn, char *text)
{
	(void)cls;
	(void)conn;
	return strlen(text);   // route.c decodes, strictly
}

static void http_free(struct http *h)
{
	if (h->fd >= 0)
		close(h->fd);
	if (h->trust)
		gnutls_x509_trust_list_deinit(h->trust, 1);
	buf_fini(&h->ca);
	buf_fini(&h->cert);
	buf_fini(&h->key);
	free(h);
}

int http_start(struct server *srv, const char *listen, struct http **out, struct err *e)
{
	struct http *h = calloc(1, sizeof *h);
	int r;

	if (!h)
		return err_set(e, ENOMEM, "out of memory");
	h->srv = srv;
	h->fd = -1;
	r = read_pki(h, srv->root, e);
	if (!r)
		r = open_socket(listen, &h->fd, e);
	if (!r) {
		h->daemon = MHD_start_daemon(
			MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TLS | MHD_ALLOW_SUSPEND_RESUME |
				MHD_USE_ERROR_LOG | MHD_USE_TURBO,
			0, NULL, NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, log_mhd, NULL, MHD_OPTION_LISTEN_SOCKET, h->fd,
			MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
			MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT,
			(unsigned)IDLE_SECONDS, MHD_OPTION_HTTPS_MEM_KEY, h->key.data, MHD_OPTION_HTTPS_MEM_CERT, h->cert.data,
			MHD_OPTION_HTTPS_MEM_TRUST, h->ca.data, MHD_OPTION_HTTPS_PRIORITIES, PRIORITIES,
			MHD_OPTION_URI_LOG_CALLBACK, on_uri, h, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
			MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
			MHD_OPTION_END);
		if (!h->daemon)
			r = err_set(e, EIO, "the HTTPS listener could not be started on %s", listen);
	}
	if (r) {
		http_free(h);
		return r;
	}
	*out = h;
	return 0;
}

void http_quiesce(struct http *h)
{
	MHD_quiesce_daemon(h->daemon);
}

void http_stop(struct http *h)
{
	http_quiesce(h);
	MHD_stop_daemon(h->daemon);
	http_free(h);
}
