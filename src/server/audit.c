// SPDX-License-Identifier: Apache-2.0
#include "server/audit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "server/audit_policy.h"
#include "server/meta.h"
#include "server/negotiate.h"
#include "server/obj.h"
#include "server/request.h"

#define BODY_MAX (1u << 20)      // bodies beyond it are left out
#define REASON_MAX 1024

struct audit {
	struct audit_policy *policy;
	struct audit_log *log;
};

/* What is known of a request so far. */
struct audit_event {
	struct audit *audit;
	struct audit_choice choice;
	uint64_t received_ns;
	char id[37];
	json_t *user, *impersonated, *status, *request, *response;
	json_t *last;                 // written when the answer is over, made before its request went; or NULL
	char *name;                   // of what was made
	char decision[8], reason[REASON_MAX];
};

int audit_open(const struct audit_options *o, struct audit **out, struct err *e)
{
	struct audit *a;
	int r;

	*out = NULL;
	if (!o->path)
		return 0;
	a = calloc(1, sizeof *a);
	if (!a)
		return err_set(e, ENOMEM, "out of memory");
	r = audit_policy_open(o->policy, &a->policy, e);
	if (!r)
		r = audit_log_open(o->path, o->max_bytes, o->keep, &a->log, e);
	if (r)
		audit_close(a);
	else
		*out = a;
	return r;
}

void audit_close(struct audit *a)
{
	if (!a)
		return;
	audit_log_close(a->log);
	audit_policy_free(a->policy);
	free(a);
}

void audit_counts(struct audit *a, struct audit_counts *c)
{
	audit_log_counts(a->log, c);
}

/* --- parts of an event --- */

/* Nobody stays out of the log by a byte that JSON cannot hold. */
static json_t *text_of(const char *text)
{
	json_t *j = json_string(text);
	own_free char *copy = j ? NULL : strdup(text);

	for (char *c = copy; c && *c; c++)
		if (*c & 0x80)
			*c = '?';
	return j ? j : json_string(copy ? copy : "");
}

static json_t *user_of(const struct identity *who)
{
	json_t *u = json_object(), *groups = json_array();

	if (!who)
		return json_decref(groups), u;
	json_object_set_new(u, "username", text_of(who->name));
	if (who->uid && *who->uid)
		json_object_set_new(u, "uid", json_string(who->uid));
	for (size_t i = 0; i < who->group_count; i++)
		json_array_append_new(groups, text_of(who->groups[i]));
	json_object_set_new(u, "groups", groups);
	if (who->extra)
		json_object_set(u, "extra", who->extra);
	return u;
}

static void put(json_t *o, const char *key, const char *text)
{
	if (text && *text)
		json_object_set_new(o, key, text_of(text));
}

static json_t *reference(const struct request *r, const struct audit_event *v)
{
	const struct route *t = &r->route;
	json_t *ref = json_object();

	put(ref, "resource", t->resource);
	put(ref, "namespace", t->ns);
	put(ref, "name", *t->name ? t->name : v->name);
	put(ref, "apiGroup", t->group);
	put(ref, "apiVersion", t->version);
	put(ref, "subresource", t->subresource);
	return ref;
}

static json_t *sources(const struct request *r)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *a = info ? info->client_addr : NULL;
	char text[INET6_ADDRSTRLEN] = "";

	if (a && a->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, text, sizeof text);
	else if (a && a->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, text, sizeof text);
	return *text ? json_pack("[s]", text) : json_array();
}

static json_t *make_event(struct request *r, const struct audit_event *v, const char *stage)
{
	const char *agent = request_header(r, "User-Agent");
	char received[CLOCK_TEXT_MAX], now[CLOCK_TEXT_MAX];
	json_t *j = json_pack("{s:s,s:s,s:s,s:s,s:s,s:o,s:s,s:O,s:o}", "kind", "Event", "apiVersion", "audit.k8s.io/v1", "level",
			      audit_level_name(v->choice.level), "auditID", v->id, "stage", stage, "requestURI", text_of(r->uri), "verb",
			      r->route.verb, "user", v->user, "sourceIPs", sources(r));

	if (!j)
		return NULL;   // no memory
	if (v->impersonated)
		json_object_set(j, "impersonatedUser", v->impersonated);
	put(j, "userAgent", agent);
	if (r->route.is_resource)
		json_object_set_new(j, "objectRef", reference(r, v));
	if (v->request)
		json_object_set(j, "requestObject", v->request);
	json_object_set_new(j, "requestReceivedTimestamp", json_string(clock_text(v->received_ns, 6, received)));
	json_object_set_new(j, "stageTimestamp", json_string(clock_text(clock_real_ns(), 6, now)));
	if (*v->decision)
		json_object_set_new(j, "annotations", json_pack("{s:s,s:o}", "authorization.k8s.io/decision", v->decision,
							       "authorization.k8s.io/reason", text_of(v->reason)));
	return j;
}

static int append(const char *data, size_t len, void *user)
{
	return buf_append(user, data, len);
}

static void write_event(const struct audit_event *v, json_t *j)
{
	own_buf struct buf b = BUF_INIT;

	if (j && !json_dump_callback(j, append, &b, JSON_COMPACT) && !buf_puts(&b, "\n"))
		audit_log_line(v->audit->log, b.data, b.len);
	json_decref(j);
}

/* --- a request's way --- */

void audit_begin(struct request *r)
{
	struct audit *a = r->srv->audit;
	struct audit_choice c;
	struct audit_event *v;

	if (!a || r->audit)
		return;
	c = audit_policy_choose(a->policy, r->who, &r->route);
	if (c.level == AUDIT_NONE || !(v = calloc(1, sizeof *v)))
		return;
	*v = (struct audit_event){ .audit = a, .choice = c, .received_ns = clock_real_ns(), .user = user_of(r->who) };
	meta_uid(v->id);
	r->audit = v;
	if (c.stages & AUDIT_RECEIVED)
		write_event(v, make_event(r, v, "RequestReceived"));
}

void audit_impersonated(struct request *r)
{
	if (r->audit && !r->audit->impersonated)
		r->audit->impersonated = user_of(r->who);
}

void audit_decided(struct request *r, bool allowed, const char *reason)
{
	if (!r->audit)
		return;
	strcpy(r->audit->decision, allowed ? "allow" : "forbid");
	snprintf(r->audit->reason, sizeof r->audit->reason, "%s", reason);
}

void audit_body(struct request *r)
{
	if (!r->audit || r->audit->choice.level < AUDIT_REQUEST || !r->body.len || r->body.len > BODY_MAX || !r->route.is_resource)
		return;
	json_t *s = body_parse(request_header(r, "Content-Type"), r->body.data, r->body.len, &r->audit->request, NULL);
	json_decref(s);    // what cannot be read is answered with why
	if (r->audit->choice.omit_managed_fields)
		json_object_del(json_object_get(r->audit->request, "metadata"), "managedFields");
}

void audit_status(struct request *r, const json_t *status)
{
	if (r->audit && !r->audit->status)
		r->audit->status = json_deep_copy(status);
}

void audit_text(struct request *r, const char *text, size_t len)
{
	if (!r->audit || r->audit->choice.level < AUDIT_REQUEST_RESPONSE || r->audit->response || len > BODY_MAX || !r->route.is_resource)
		return;
	r->audit->response = json_loadb(text, len, 0, NULL);
	if (r->audit->choice.omit_managed_fields)
		json_object_del(json_object_get(r->audit->response, "metadata"), "managedFields");
}

void audit_object(struct request *r, struct obj *o)
{
	if (!r->audit)
		return;
	if (!*r->route.name && !r->audit->name)
		r->audit->name = strdup(obj_name(o).name);
	audit_text(r, obj_text(o), o->text_len);
}

void audit_started(struct request *r)
{
	if (r->audit && r->audit->choice.stages & AUDIT_STARTED)
		write_event(r->audit, make_event(r, r->audit, "ResponseStarted"));
}

static json_t *response_status(const struct request *r, const struct audit_event *v)
{
	static const char *const kept[] = { "status", "message", "reason", "details" };
	json_t *s = json_pack("{s:{}}", "metadata");

	for (size_t i = 0; i < sizeof kept / sizeof *kept && r->code >= 400; i++)
		if (json_object_get(v->status, kept[i]))
			json_object_set(s, kept[i], json_object_get(v->status, kept[i]));
	json_object_set_new(s, "code", json_integer(r->code));
	return s;
}

static json_t *last_event(struct request *r, const struct audit_event *v)
{
	json_t *j = v->choice.stages & AUDIT_COMPLETE ? make_event(r, v, "ResponseComplete") : NULL;

	if (j)
		json_object_set_new(j, "responseStatus", response_status(r, v));
	if (j && v->response)
		json_object_set(j, "responseObject", v->response);
	return j;
}

static void event_free(struct audit_event *v)
{
	json_decref(v->user);
	json_decref(v->impersonated);
	json_decref(v->status);
	json_decref(v->request);
	json_decref(v->response);
	json_decref(v->last);
	free(v->name);
	free(v);
}

void audit_end(struct request *r)
{
	if (!r->audit)
		return;
	write_event(r->audit, last_event(r, r->audit));
	event_free(take(r->audit));
}

struct audit_event *audit_detach(struct request *r)
{
	if (r->audit)
		r->audit->last = last_event(r, r->audit);
	return take(r->audit);
}

void audit_finish(struct audit_event *v)
{
	char now[CLOCK_TEXT_MAX];

	if (!v)
		return;
	if (v->last)
		json_object_set_new(v->last, "stageTimestamp", json_string(clock_text(clock_real_ns(), 6, now)));
	write_event(v, take(v->last));
	event_free(v);
}
