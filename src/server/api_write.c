// SPDX-License-Identifier: Apache-2.0
// create, update, patch, delete: HTTP around registry.h.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/patch.h"
#include "server/api.h"
#include "server/api_write.h"
#include "server/registry.h"
#include "server/status.h"
#include "server/write_options.h"

#define WARNINGS_MAX 4096   // bytes; the HTTP library keeps a head in the connection's memory

/* --- the request while its change is under way --- */

void api_write_free(void *state)
{
	struct api_write *w = state;

	reg_fini(&w->reg);
	json_decref(w->body);
	buf_fini(&w->text);
	free(w);
}

/* May run on the committer thread: it only resumes the connection. */
static void committed(struct store_write *sw)
{
	request_wake(sw->user);
}

/* Warning: 299 - "unknown field \"spec.foo\"" for each, as far as a head has room for them. */
static void add_warnings(struct request *r, const json_t *texts)
{
	json_t *t;
	size_t i, room = WARNINGS_MAX;

	if (!r->response)
		return;
	json_array_foreach((json_t *)texts, i, t) {
		char header[512];
		size_t n = snprintf(header, sizeof header, "299 - \"");
		for (const char *p = json_string_value(t); p && *p && n < sizeof header - 4; p++) {
			if (*p == '"' || *p == '\\')
				header[n++] = '\\';
			header[n++] = (unsigned char)*p < 0x20 ? ' ' : *p;
		}
		if (n + 1 > room)
			return;
		room -= n + 1;
		strcpy(header + n, "\"");
		MHD_add_response_header(r->response, "Warning", header);
	}
}

/* Two threads less to wake up, where nobody else is kept waiting by a sync. */
static bool commit_alone(struct request *r, struct store_write *sw)
{
	uint64_t start = clock_mono_ns();

	if (!request_is_alone(r) || !store_commit_alone(r->srv->store, sw))
		return false;
	r->working_since += clock_mono_ns() - start;      // the disk's time, which nobody is charged for
	return true;
}

static void write_step(struct request *r)
{
	struct api_write *w = r->state;

	while (reg_step(&w->reg) == REG_SUBMIT) {
		if (commit_alone(r, &w->reg.sw))
			continue;
		w->reg.sw.done = committed;
		w->reg.sw.user = r;
		request_suspend(r, write_step);   // before the store has it: it may be done at once
		store_submit(r->srv->store, &w->reg.sw);
		return;
	}
	buf_fini(&w->text);
	if (w->reg.status)
		reply_status(r, take(w->reg.status));
	else
		w->reply(r, w);
	add_warnings(r, w->reg.unknown);
}

/* fieldManager, or the client's program name where objects have owners already. */
static void set_manager(struct request *r, struct api_write *w)
{
	const char *agent = request_header(r, "User-Agent");

	w->reg.manager = route_param(&r->route, "fieldManager");
	if (w->reg.manager && *w->reg.manager)
		return;
	snprintf(w->agent, sizeof w->agent, "%.*s", agent ? (int)strcspn(agent, "/ ") : 0, agent ? agent : "");
	w->reg.manager = NULL;
	w->reg.agent = *w->agent ? w->agent : "unknown";
}

struct api_write *api_write_new(struct request *r, const struct k8s_kind *k, enum reg_action action)
{
	struct api_write *w = calloc(1, sizeof *w);

	if (!w) {
		reply_status(r, status_errno(-ENOMEM));
		return NULL;
	}
	r->state = w;
	r->free_state = api_write_free;
	w->reg = (struct reg_write){ .srv = r->srv, .who = r->who, .kind = k, .action = action, .ns = r->route.ns,
				     .name = r->route.name, .subresource = r->route.subresource, .user = w };
	w->reply = api_write_reply_object;
	w->type = request_header(r, "Content-Type");
	set_manager(r, w);
	return w;
}

/* Before the body, whatever that may be. */
static json_t *check_options(const struct request *r, const struct api_write *w)
{
	const char *verb = r->route.verb;
	bool patch = !strcmp(verb, "patch");

	return write_options_check(&r->route, patch ? "PatchOptions" : !strcmp(verb, "create") ? "CreateOptions" : "UpdateOptions",
				   patch && w->patch == PATCH_APPLY);
}

bool api_write_body(struct request *r, struct api_write *w)
{
	json_t *s = check_options(r, w);

	if (!s)
		s = body_parse(w->type, r->body.data, r->body.len, &w->body, &w->reg.unknown);
	if (!s && !json_is_object(w->body))
		s = status_bad_request("the body of the request must be an object");
	if (s)
		reply_status(r, s);
	w->text = r->body;
	r->body = (struct buf)BUF_INIT;
	return !s;
}

static enum reg_fields field_validation(const struct request *r)
{
	const char *mode = route_param(&r->route, "fieldValidation");

	if (!mode || !*mode || !strcmp(mode, "Warn"))
		return REG_FIELDS_WARN;
	return strcmp(mode, "Strict") ? REG_FIELDS_IGNORE : REG_FIELDS_STRICT;
}

void api_write_run(struct request *r, struct api_write *w)
{
	w->reg.dry_run = options_dry_run(&r->route, w->reg.delete_options);
	w->reg.fields = field_validation(r);
	if (!w->reg.unknown)
		w->reg.unknown = json_array();
	if (w->reg.fields == REG_FIELDS_IGNORE)
		json_array_clear(w->reg.unknown);
	write_step(r);
}

void api_write_reply_object(struct request *r, struct api_write *w)
{
	api_reply_object(r, w->reg.kind, w->reg.created ? 201 : 200, take(w->reg.out));
}

/* --- create, update --- */

/* The body is the next state. resourceVersion in it makes it a demand, which registry and metadata rules check. */
static json_t *make_from_body(struct reg_write *reg, const json_t *cur, json_t **next)
{
	struct api_write *w = reg->user;

	(void)cur;
	*next = take(w->body);
	return *next ? NULL : body_parse(w->type, w->text.data, w->text.len, next, NULL);   // asked again
}

static void run_body(struct request *r, const struct k8s_kind *k, enum reg_action action)
{
	struct api_write *w = api_write_new(r, k, action);

	if (!w || !api_write_body(r, w))
		return;
	w->reg.make = make_from_body;
	api_write_run(r, w);
}

void api_create(struct request *r, const struct k8s_kind *k)
{
	run_body(r, k, REG_CREATE);
}

void api_update(struct request *r, const struct k8s_kind *k)
{
	run_body(r, k, REG_UPDATE);
}

/* --- patch --- */

static const struct { const char *type; enum patch_type patch; } patch_types[] = {
	{ "application/json-patch+json", PATCH_JSON },
	{ "application/merge-patch+json", PATCH_MERGE },
	{ "application/strategic-merge-patch+json", PATCH_STRATEGIC },
	{ "application/apply-patch+yaml", PATCH_APPLY },
};

static json_t *patch_error(struct reg_write *reg, int r, const struct err *e)
{
	if (r == -EINVAL)
		return status_bad_request("%s", e->text);
	if (r == -ESTALE || r == -ENOENT)
		return status_about(422, "Invalid", reg->kind, reg->name, "the server rejected our request due to an error in our "
				    "request: %s", e->text);
	return status_errno(r);
}

static json_t *conflict_error(const json_t *conflicts)
{
	size_t n = json_array_size(conflicts), i;
	own_buf struct buf text = BUF_INIT;
	const char *last = "";
	json_t *s, *c;

	json_array_foreach((json_t *)conflicts, i, c) {
		const char *message = jpath_str(c, "message", ""), *field = jpath_str(c, "field", "");
		if (n == 1)
			buf_printf(&text, "%s: %s", message, field);
		else if (strcmp(message, last))   // "conflict with" of several is "conflicts with"
			buf_printf(&text, "%sconflicts%s:\n- %s", i ? "\n" : "", message + strlen("conflict"), field);
		else
			buf_printf(&text, "\n- %s", field);
		last = message;
	}
	s = status_new(409, "Conflict", "Apply failed with %zu conflict%s: %s", n, n == 1 ? "" : "s", text.data ? text.data : "");
	json_array_foreach((json_t *)conflicts, i, c)
		status_cause(s, "FieldManagerConflict", jpath_str(c, "message", ""), jpath_str(c, "field", ""));
	return s;
}

static json_t *unsupported_patch(void)
{
	return status_new(415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types "
			  "include: application/json-patch+json, application/merge-patch+json, "
			  "application/strategic-merge-patch+json, application/apply-patch+yaml");
}

json_t *api_write_patched(struct api_write *w, const struct k8s_kind *k, const json_t *cur, json_t **next)
{
	const char *subresource = w->reg.subresource;
	struct k8s_apply how = { .manager = w->reg.manager, .subresource = *subresource ? subresource : NULL, .force = w->force };
	own_json json_t *conflicts = NULL;
	struct err e = ERR_INIT;
	int r = -ENOTSUP;

	switch (w->patch) {
	case PATCH_JSON:
		r = k8s_patch_json(cur, w->body, next, &e);
		break;
	case PATCH_MERGE:
		r = k8s_patch_merge(cur, w->body, next, &e);
		break;
	case PATCH_STRATEGIC:
		r = k8s_patch_strategic(k, cur, w->body, next, &e);
		break;
	case PATCH_APPLY:
		r = k8s_patch_apply(k, cur, w->body, &how, next, &conflicts, &e);
		if (r == -EEXIST)
			return conflict_error(conflicts);
		break;
	}
	if (!r && !json_is_object(*next)) {
		json_decref(*next);
		*next = NULL;
		return status_bad_request("the patch does not leave an object");
	}
	return r ? patch_error(&w->reg, r, &e) : NULL;
}

static json_t *make_patched(struct reg_write *reg, const json_t *cur, json_t **next)
{
	return api_write_patched(reg->user, reg->kind, cur, next);
}

/* Strategic merges need merge keys, which only built-in kinds have. */
static json_t *unsupported_for_custom(void)
{
	return status_new(415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types "
			  "include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml");
}

static json_t *parse_patch_type(const struct request *r, struct api_write *w)
{
	const char *type = request_header(r, "Content-Type");
	size_t n = type ? strcspn(type, "; ") : 0;

	for (size_t i = 0; i < sizeof patch_types / sizeof *patch_types; i++)
		if (type && strlen(patch_types[i].type) == n && !strncmp(type, patch_types[i].type, n)) {
			w->patch = patch_types[i].patch;
			return w->patch == PATCH_STRATEGIC && w->reg.kind->custom ? unsupported_for_custom() : NULL;
		}
	return unsupported_patch();
}

bool api_write_patch_body(struct request *r, struct api_write *w)
{
	json_t *s = parse_patch_type(r, w);

	w->force = route_flag(&r->route, "force");
	w->reg.records_owners = w->patch == PATCH_APPLY;
	if (!s)
		s = check_options(r, w);
	if (!s)
		s = body_parse(w->type, r->body.data, r->body.len, &w->body,
			       w->patch == PATCH_MERGE || w->patch == PATCH_STRATEGIC ? &w->reg.unknown : NULL);
	if (s)
		reply_status(r, s);
	buf_fini(&r->body);
	return !s;
}

void api_patch(struct request *r, const struct k8s_kind *k)
{
	struct api_write *w = api_write_new(r, k, REG_UPDATE);

	if (!w || !api_write_patch_body(r, w))
		return;
	w->reg.make = make_patched;
	w->reg.create_if_missing = w->patch == PATCH_APPLY && !*r->route.subresource;
	api_write_run(r, w);
}

/* --- delete --- */

/* DeleteOptions from the body or, as old clients send them, from the query. NULL and *options, or a Status. */
json_t *api_delete_options(struct request *r, json_t **options)
{
	const char *grace = route_param(&r->route, "gracePeriodSeconds"), *policy = route_param(&r->route, "propagationPolicy");
	own_json json_t *j = NULL;
	json_t *s;
	char *end;

	if (r->body.len) {
		s = body_parse(request_header(r, "Content-Type"), r->body.data, r->body.len, &j, NULL);
		if (s)
			return s;
	}
	if (!j)
		j = json_object();
	if (!json_is_object(j))
		return status_bad_request("the body of the request must be DeleteOptions");
	if (grace && !json_object_get(j, "gracePeriodSeconds")) {
		json_object_set_new(j, "gracePeriodSeconds", json_integer(strtoll(grace, &end, 10)));
		if (*end || !*grace)
			return status_bad_request("gracePeriodSeconds: must be a number, not \"%.32s\"", grace);
	}
	if (policy && !json_object_get(j, "propagationPolicy"))
		json_object_set_new(j, "propagationPolicy", json_string(policy));
	s = delete_options_check(j);
	if (!s && route_param(&r->route, "dryRun"))
		s = write_options_check(&r->route, "DeleteOptions", false);
	if (!s)
		*options = take(j);
	return s;
}

/* Pods and whatever still waits for something are answered with the object, the rest with a Status. */
static void reply_deleted(struct request *r, struct api_write *w)
{
	const struct k8s_kind *k = w->reg.kind;
	own_json json_t *j = NULL;

	if (!w->reg.deleted || (!strcmp(k->plural, "pods") && !*k->group)) {
		api_reply_object(r, k, 200, take(w->reg.out));
		return;
	}
	j = obj_json(w->reg.out);
	reply_json(r, 200, status_success(k, w->reg.name, jpath_str(j, "metadata.uid", NULL)));
}

void api_delete(struct request *r, const struct k8s_kind *k)
{
	struct api_write *w = api_write_new(r, k, REG_DELETE);
	json_t *s;

	if (!w)
		return;
	s = api_delete_options(r, &w->body);
	if (s) {
		reply_status(r, s);
		return;
	}
	w->reg.delete_options = w->body;
	w->reg.dry_run = options_dry_run(&r->route, w->body);
	w->reply = reply_deleted;
	write_step(r);
}
