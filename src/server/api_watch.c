// SPDX-License-Identifier: Apache-2.0
// watch over HTTP: a chunked answer of {"type":...,"object":...} lines. What there is at the start goes as any answer does. When
// there is nothing more to say the connection leaves libmicrohttpd for the pump (pump.h), where it costs nothing while nothing
// happens; or, where that cannot be (before TLS 1.3, HTTP/1.0), it is suspended.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/custom.h"
#include "k8s/selector.h"
#include "server/api.h"
#include "server/audit.h"
#include "server/list_options.h"
#include "server/pump.h"
#include "server/registry.h"
#include "server/status.h"
#include "server/watch.h"

#define TIMEOUT_MAX_S (10 * 365 * 86400ull)
#define TIMEOUT_MIN_S 1800   // of a watch that names no timeout: this long, up to twice, as upstream

/* What is being written: three pieces, the middle one usually an object's own text. */
struct line {
	const char *head;
	const char *text;
	size_t text_len;
	struct obj *obj;      // reference behind text, or NULL
	char *made;           // owned text, or NULL
	size_t off;           // written so far, over all three
	bool active;
};

struct http_watch {
	struct watch *watch;
	struct request *request;      // NULL once the connection has left
	struct pump_conn *conn;       // then: where it is
	struct audit_event *audit;    // and what is said of it at its end
	const struct k8s_kind *kind;  // held
	struct accept accept;
	char include[16];
	bool sent_columns;    // Table: column definitions go with the first event only
	bool over;
	struct line line;
};

static const char *const event_heads[] = {
	[EVENT_ADDED] = "{\"type\":\"ADDED\",\"object\":",
	[EVENT_MODIFIED] = "{\"type\":\"MODIFIED\",\"object\":",
	[EVENT_DELETED] = "{\"type\":\"DELETED\",\"object\":",
};

static void line_done(struct line *l)
{
	obj_unref(l->obj);
	free(l->made);
	*l = (struct line){ 0 };
}

static void line_set_json(struct line *l, const char *head, json_t *j)
{
	*l = (struct line){ .head = head, .made = json_dumps(j, JSON_COMPACT), .active = true };
	if (!l->made)
		l->made = strdup("{}");
	l->text = l->made ? l->made : "{}";
	l->text_len = strlen(l->text);
	json_decref(j);
}

/* Copy from one of the pieces. Returns bytes copied. */
static size_t copy_piece(struct line *l, size_t *before, const char *piece, size_t len, char *out, size_t max)
{
	size_t n = 0;

	if (l->off >= *before && l->off < *before + len) {
		size_t skip = l->off - *before;
		n = len - skip < max ? len - skip : max;
		memcpy(out, piece + skip, n);
		l->off += n;
	}
	*before += len;
	return n;
}

static size_t line_write(struct line *l, char *out, size_t max)
{
	size_t before = 0, n;

	n = copy_piece(l, &before, l->head, strlen(l->head), out, max);
	n += copy_piece(l, &before, l->text, l->text_len, out + n, max - n);
	n += copy_piece(l, &before, "}\n", 2, out + n, max - n);
	if (l->off == before)
		line_done(l);
	return n;
}

static json_t *table_row(struct http_watch *w, json_t *obj, uint64_t rv)
{
	own_json json_t *items = json_pack("[O]", obj);
	char version[32], api_version[64];
	json_t *t;

	snprintf(version, sizeof version, "%llu", (unsigned long long)rv);
	snprintf(api_version, sizeof api_version, "meta.k8s.io/%s", w->accept.version);
	t = k8s_table(w->kind, items, w->include, version, NULL);
	json_object_set_new(t, "apiVersion", json_string(api_version));
	if (w->sent_columns)
		json_object_set_new(t, "columnDefinitions", json_null());
	w->sent_columns = true;
	return t;
}

static void set_event(struct http_watch *w, struct watch_event *e)
{
	const char *head = event_heads[e->type];
	json_t *j;

	if (w->accept.form == ACCEPT_OBJECT && k8s_kind_stored(w->kind) == w->kind) {
		w->line = (struct line){ .head = head, .text = obj_text(e->obj), .text_len = e->obj->text_len, .obj = e->obj,
					 .active = true };
		return;
	}
	j = api_object(w->kind, e->obj);
	if (w->accept.form == ACCEPT_TABLE)
		line_set_json(&w->line, head, table_row(w, j, e->rv));
	else if (w->accept.form == ACCEPT_PARTIAL)
		line_set_json(&w->line, head, api_partial(j, w->accept.version));
	else
		line_set_json(&w->line, head, json_incref(j));
	json_decref(j);
	obj_unref(e->obj);
}

static void set_bookmark(struct http_watch *w, uint64_t rv, bool initial_end)
{
	char api_version[256], version[32];
	json_t *j, *table;

	snprintf(api_version, sizeof api_version, *w->kind->group ? "%s/%s" : "%s%s", w->kind->group, w->kind->version);
	snprintf(version, sizeof version, "%llu", (unsigned long long)rv);
	j = json_pack("{s:s,s:s,s:{s:s,s:n}}", "kind", w->kind->kind, "apiVersion", api_version, "metadata", "resourceVersion",
		      version, "creationTimestamp");
	if (initial_end)
		jpath_set(j, "metadata.annotations", json_pack("{s:s}", "k8s.io/initial-events-end", "true"));
	if (w->accept.form == ACCEPT_TABLE) {
		table = table_row(w, j, rv);
		json_decref(j);
		j = table;
	} else if (w->accept.form == ACCEPT_PARTIAL) {
		json_object_set_new(j, "kind", json_string("PartialObjectMetadata"));
		snprintf(api_version, sizeof api_version, "meta.k8s.io/%s", w->accept.version);
		json_object_set_new(j, "apiVersion", json_string(api_version));
	}
	line_set_json(&w->line, "{\"type\":\"BOOKMARK\",\"object\":", j);
}

static json_t *too_old(void)
{
	return status_new(410, "Expired", "too old resource version: the changes after it are no longer kept; list again");
}

static void suspend(void *user)
{
	struct http_watch *w = user;

	request_pause(w->request);
}

static void wake(void *user)
{
	struct http_watch *w = user;

	if (w->conn)
		pump_wake(w->conn);
	else
		request_wake(w->request);
}

/* The next line, if there is one. */
static enum watch_result fetch(struct http_watch *w)
{
	struct watch_event e;
	enum watch_result r = watch_next(w->watch, &e);

	if (w->request && !watch_is_starting(w->watch))
		request_follows(w->request);
	switch (r) {
	case WATCH_EVENT:
		set_event(w, &e);
		break;
	case WATCH_BOOKMARK:
	case WATCH_SYNCED:
		set_bookmark(w, e.rv, r == WATCH_SYNCED);
		break;
	case WATCH_GONE:
		line_set_json(&w->line, "{\"type\":\"ERROR\",\"object\":", too_old());
		w->over = true;
		break;
	case WATCH_END:
		w->over = true;
		break;
	case WATCH_IDLE:
		break;
	}
	return r;
}

/* What there is, up to max bytes. over_now: and nothing comes any more. */
static size_t write_lines(struct http_watch *w, char *out, size_t max, bool *over_now)
{
	size_t done = 0;

	for (;;) {
		if (w->line.active)
			done += line_write(&w->line, out + done, max - done);
		*over_now = w->over && !w->line.active && !done;
		if (done == max || w->line.active || w->over || fetch(w) == WATCH_IDLE)
			return done;
	}
}

static void http_watch_free(void *user)
{
	struct http_watch *w = user;

	watch_close(w->watch);
	line_done(&w->line);
	k8s_custom_release(w->kind);
	audit_finish(w->audit);
	free(w);
}

/* --- in the pump --- */

static ssize_t pump_read(void *user, char *out, size_t max)
{
	struct http_watch *w = user;
	bool over;
	size_t n;

	do
		n = write_lines(w, out, max, &over);
	while (!n && !over && !watch_arm(w->watch, NULL));
	return over ? PUMP_END : (ssize_t)n;
}

static const struct pump_source pump_source = { .read = pump_read, .free = http_watch_free };

/* --- in libmicrohttpd --- */

/* Nothing is left to say now. False: the connection stays. */
static bool leave(struct http_watch *w)
{
	struct pump_conn *c = watch_is_starting(w->watch) ? NULL : request_leave(w->request);

	if (!c)
		return false;
	watch_forget_hangup(w->watch);
	w->audit = audit_detach(w->request);
	w->request = NULL;
	w->conn = c;
	return true;
}

static ssize_t watch_read(void *cls, uint64_t pos, char *out, size_t max)
{
	struct http_watch *w = cls;

	(void)pos;
	for (;;) {
		bool over;
		size_t n = write_lines(w, out, max, &over);
		if (over)
			return MHD_CONTENT_READER_END_OF_STREAM;
		if (n)
			return n;
		if (leave(w))
			return MHD_CONTENT_READER_END_WITH_ERROR;
		if (watch_arm(w->watch, suspend))
			return 0;
	}
}

static void watch_read_over(void *cls)
{
	struct http_watch *w = cls;

	if (w->conn)
		pump_begin(w->conn, &pump_source, w);
	else
		http_watch_free(w);
}

/* --- opening --- */

static json_t *parse_start(const struct request *r, struct watch_opts *o)
{
	const char *rv = route_param(&r->route, "resourceVersion"), *timeout = route_param(&r->route, "timeoutSeconds");
	const char *initial_events = route_param(&r->route, "sendInitialEvents");
	bool any_rv = !rv || !*rv || !strcmp(rv, "0");
	json_t *s = watch_options_check(&r->route);
	unsigned random = 0;
	char *end;

	if (s)
		return s;
	o->bookmarks = route_flag(&r->route, "allowWatchBookmarks");
	if (initial_events && *initial_events) {
		o->initial = route_flag(&r->route, "sendInitialEvents");
		o->initial_end = o->initial && o->bookmarks;
	} else {
		o->initial = any_rv;
	}
	if (any_rv)
		o->rv = store_rv(r->srv->store);
	if (!any_rv) {
		o->rv = strtoull(rv, &end, 10);
		if (*end)
			return status_bad_request("invalid resource version \"%.64s\": must be a number", rv);
	}
	if (timeout && *timeout) {
		unsigned long long seconds = strtoull(timeout, &end, 10);
		if (*end || *timeout < '0' || *timeout > '9')
			return status_bad_request("timeoutSeconds: must be a number of seconds, not \"%.32s\"", timeout);
		o->timeout_ns = (seconds < TIMEOUT_MAX_S ? seconds : TIMEOUT_MAX_S) * NS_PER_S;
	}
	if (!o->timeout_ns && getrandom(&random, sizeof random, 0) > 0)
		o->timeout_ns = (TIMEOUT_MIN_S + random % TIMEOUT_MIN_S) * NS_PER_S;
	return NULL;
}

static void put_prefix(const struct request *r, const struct k8s_kind *k, const char *name, struct watch_opts *o,
		       char prefix[REG_KEY_MAX])
{
	if (name && (!k->namespaced || *r->route.ns)) {
		reg_key(k, r->route.ns, name, prefix);
		o->exact = true;
	} else {
		reg_prefix(k, k->namespaced && *r->route.ns ? r->route.ns : NULL, prefix);
	}
	o->prefix = prefix;
}

static void reply_open_error(struct request *r, int e)
{
	if (e == -EKEYEXPIRED)
		reply_status(r, too_old());
	else if (e == -ERANGE)
		reply_status(r, status_new(504, "Timeout", "Timeout: Too large resource version"));
	else
		reply_status(r, status_errno(e));
}

void api_watch(struct request *r, const struct k8s_kind *k)
{
	struct watch_opts o = { .wake = wake };
	struct http_watch *w;
	char prefix[REG_KEY_MAX];
	struct accept accept;
	const char *name, *include = route_param(&r->route, "includeObject");
	json_t *s;
	int e;

	if (!api_accept(r, &accept))
		return;
	s = parse_start(r, &o);
	if (!s)
		s = api_selectors(r, k, &o.labels, &o.fields, &name);
	if (s) {
		reply_status(r, s);
		return;
	}
	if (*r->route.name)
		name = r->route.name;
	put_prefix(r, k, name, &o, prefix);
	w = calloc(1, sizeof *w);
	if (!w) {
		k8s_selector_free(o.labels);
		k8s_selector_free(o.fields);
		reply_status(r, status_errno(-ENOMEM));
		return;
	}
	w->request = r;
	w->kind = k8s_custom_hold(k);
	w->accept = accept;
	snprintf(w->include, sizeof w->include, "%s", include && *include ? include : "Metadata");
	o.user = w;
	o.hangup_fd = MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	e = watch_open(r->srv->store, &o, &w->watch);
	if (e) {
		k8s_custom_release(k);
		free(w);
		reply_open_error(r, e);
		return;
	}
	reply_stream(r, 200, "application/json", 0, watch_read, watch_read_over, w);
	if (r->response)
		MHD_add_response_header(r->response, "Connection", "close");   // what has left does not come back
}
