// SPDX-License-Identifier: Apache-2.0
#include "server/request.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/own.h"
#include "server/audit.h"
#include "server/fair.h"
#include "server/gzip.h"
#include "server/negotiate.h"
#include "server/pump.h"
#include "server/status.h"
#include "server/tls_push.h"

#define STREAM_BLOCK 16384   // one TLS record
#define LEFT_SECONDS 1u      // after which a connection that has left is let go of

const char *request_header(const struct request *r, const char *name)
{
	return MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name);
}

void request_count(struct request *r)
{
	r->counted = true;
	atomic_fetch_add(&r->srv->requests, 1);
}

void request_ended(struct request *r)
{
	if (r->counted)
		atomic_fetch_sub(&r->srv->requests, 1);
	r->counted = false;
}

void request_follows(struct request *r)
{
	r->follows = true;
	request_ended(r);
}

bool request_is_alone(const struct request *r)
{
	return r->counted && atomic_load(&r->srv->requests) == 1;
}

void request_suspend(struct request *r, void (*resume)(struct request *r))
{
	r->resume = resume;
	request_pause(r);
}

void request_pause(struct request *r)
{
	atomic_fetch_add(&r->srv->suspended, 1);
	MHD_suspend_connection(r->conn);
}

void request_wake(struct request *r)
{
	struct server *srv = r->srv;   // r may be gone once it runs

	MHD_resume_connection(r->conn);
	atomic_fetch_sub(&srv->suspended, 1);
}

struct pump_conn *request_leave(struct request *r)
{
	const union MHD_ConnectionInfo *fd = MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	const union MHD_ConnectionInfo *tls = MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	struct pump_conn *c;

	if (!r->chunked || !fd || !tls || pump_take(r->srv->pump, tls->tls_session, fd->connect_fd, &c))
		return NULL;
	// With MHD_USE_TURBO (http.c) a connection that ends is closed without a word: here, that is its descriptor, not the socket.
	// But libmicrohttpd looks at an ended one again only when something happens there, or when it is the oldest of those with the
	// usual timeout. Those with one of their own it looks at each time it wakes up.
	MHD_set_connection_option(r->conn, MHD_CONNECTION_OPTION_TIMEOUT, LEFT_SECONDS);
	return c;
}

static void set_reply(struct request *r, unsigned code, const char *type, struct MHD_Response *response)
{
	r->code = code;
	r->response = response;
	if (!response)
		return;   // no memory: the connection is closed
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, "Cache-Control", "no-cache, private");
}

/* --- answers made piece by piece --- */

/* A stream: its making and its bytes count as its user's, and a full block is followed by another. */
struct stream {
	struct request *r;
	MHD_ContentReaderCallback read;
	MHD_ContentReaderFreeCallback free_fn;
	void *user;
};

static ssize_t read_stream(void *cls, uint64_t pos, char *out, size_t max)
{
	struct stream *c = cls;
	uint64_t start = c->r->follows ? 0 : clock_mono_ns();
	ssize_t n = c->read(c->user, pos, out, max);

	c->r->push->more = n == (ssize_t)max;
	if (!n)
		tls_push_flush(c->r->push);
	if (start && n > 0)
		fair_sent(c->r, (uint64_t)n);
	if (start)
		fair_worked(c->r, clock_mono_ns() - start);   // looking for what to send may take longer than sending it
	return n;
}

static void free_stream(void *cls)
{
	struct stream *c = cls;

	c->free_fn(c->user);
	free(c);
}

static struct MHD_Response *make_stream(struct request *r, MHD_ContentReaderCallback read, MHD_ContentReaderFreeCallback free_fn,
					void *user)
{
	struct stream *c = malloc(sizeof *c);
	struct MHD_Response *m = NULL;

	if (c) {
		*c = (struct stream){ r, read, free_fn, user };
		m = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, c, free_stream);
	}
	if (!m) {
		free(c);
		free_fn(user);
	}
	return m;
}

static bool wants_gzip(const struct request *r, size_t len)
{
	return len >= GZIP_MIN && accept_gzip(request_header(r, "Accept-Encoding"));
}

static void set_zipped(struct request *r, unsigned code, const char *type, struct gzip *g)
{
	set_reply(r, code, type, make_stream(r, gzip_read, gzip_free, g));
	if (!r->response)
		return;
	MHD_add_response_header(r->response, "Content-Encoding", "gzip");
	MHD_add_response_header(r->response, "Vary", "Accept-Encoding");
}

void reply_stream(struct request *r, unsigned code, const char *type, size_t about, MHD_ContentReaderCallback read,
		  MHD_ContentReaderFreeCallback free_fn, void *user)
{
	struct gzip *g = wants_gzip(r, about) ? gzip_new(read, free_fn, user) : NULL;

	if (g)
		set_zipped(r, code, type, g);
	else
		set_reply(r, code, type, make_stream(r, read, free_fn, user));
	if (!about)
		audit_started(r);
}

/* --- answers that are there --- */

void reply_shared(struct request *r, unsigned code, const char *type, const char *data, size_t len, void (*free_fn)(void *user),
		  void *user)
{
	struct gzip *g = wants_gzip(r, len) ? gzip_new_text(data, len, free_fn, user) : NULL;
	struct MHD_Response *m;

	if (g) {
		set_zipped(r, code, type, g);
		return;
	}
	m = MHD_create_response_from_buffer_with_free_callback_cls(len, (void *)data, free_fn, user);
	if (m)
		fair_sent(r, len);
	else
		free_fn(user);
	set_reply(r, code, type, m);
}

void reply_buf(struct request *r, unsigned code, const char *type, struct buf *b)
{
	size_t len = b->len;
	char *text = buf_take(b);

	if (!text) {
		set_reply(r, code, type, NULL);
		return;
	}
	audit_text(r, text, len);
	reply_shared(r, code, type, text, len, free, text);
}

void reply_text(struct request *r, unsigned code, const char *type, const char *text)
{
	set_reply(r, code, type, MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY));
}

static int append(const char *data, size_t len, void *user)
{
	return buf_append(user, data, len);
}

void reply_json(struct request *r, unsigned code, json_t *j)
{
	own_buf struct buf b = BUF_INIT;

	if (!j || json_dump_callback(j, append, &b, JSON_COMPACT | JSON_ENCODE_ANY) || buf_puts(&b, "\n")) {
		buf_fini(&b);
		code = 500;
		buf_puts(&b, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":"
			     "\"Internal error occurred: out of memory\",\"reason\":\"InternalError\",\"code\":500}\n");
	}
	json_decref(j);
	reply_buf(r, code, "application/json", &b);
}

void reply_status(struct request *r, json_t *status)
{
	int code = status_code(status);

	audit_status(r, status);
	reply_json(r, code, status);
	if (code == 429 && r->response)
		MHD_add_response_header(r->response, "Retry-After", "1");
}

static void free_obj(void *o)
{
	obj_unref(o);
}

void reply_obj(struct request *r, unsigned code, struct obj *o)
{
	audit_object(r, o);
	reply_shared(r, code, "application/json", obj_text(o), o->text_len, free_obj, o);
}
