// SPDX-License-Identifier: Apache-2.0
// Subresources other than status: each a row with its verbs and handler.
#include "server/api_subresource.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "server/api.h"
#include "server/api_write.h"
#include "server/binding.h"
#include "server/meta.h"
#include "server/pod_stream.h"
#include "server/scale.h"
#include "server/service_token.h"
#include "server/status.h"
#include "server/write_options.h"

/* --- pods/binding --- */

static json_t *make_bound(struct reg_write *reg, const json_t *cur, json_t **next)
{
	struct api_write *w = reg->user;

	return binding_apply(reg->kind, cur, w->body, next);
}

static void reply_created(struct request *r, struct api_write *w)
{
	(void)w;
	reply_json(r, 201, json_pack("{s:s,s:s,s:{},s:s,s:i}", "kind", "Status", "apiVersion", "v1", "metadata", "status", "Success",
				     "code", 201));
}

/* The body is of its kind and of the namespace of the URL. */
static json_t *check_body(struct request *r, struct api_write *w, const struct k8s_kind *k)
{
	json_t *s = meta_check_type(k, w->body);

	return s ? s : meta_check_namespace(k, w->body, r->route.ns);
}

/* And it names the pod of the URL. */
static bool is_about(struct request *r, struct api_write *w, const struct k8s_kind *k)
{
	json_t *s = check_body(r, w, k);

	if (!s && strcmp(jpath_str(w->body, "metadata.name", ""), w->reg.name))
		s = status_bad_request("name in URL does not match name in %s object", k->kind);
	if (s)
		reply_status(r, s);
	return !s;
}

static void bind_pod(struct request *r, const struct k8s_kind *k)
{
	struct api_write *w = api_write_new(r, k, REG_UPDATE);

	if (!w || !api_write_body(r, w) || !is_about(r, w, k8s_kind_find("", "v1", "bindings")))
		return;
	w->reg.make = make_bound;
	w->reply = reply_created;
	api_write_run(r, w);
}

/* POST of a Binding to bindings: the pod is the one that it names. */
bool api_bind(struct request *r, const struct k8s_kind *k)
{
	struct api_write *w;
	json_t *s;

	if (*k->group || strcmp(k->plural, "bindings") || strcmp(r->route.verb, "create"))
		return false;
	w = api_write_new(r, k8s_kind_find("", "v1", "pods"), REG_UPDATE);
	if (!w || !api_write_body(r, w))
		return true;
	s = check_body(r, w, k);
	if (s) {
		reply_status(r, s);
		return true;
	}
	w->reg.name = jpath_str(w->body, "metadata.name", "");
	w->reg.subresource = "binding";
	w->reg.make = make_bound;
	w->reply = reply_created;
	api_write_run(r, w);
	return true;
}

/* --- pods/eviction: a delete that asks the disruption budget (budget.c) --- */

static void evict_pod(struct request *r, const struct k8s_kind *k)
{
	struct api_write *w = api_write_new(r, k, REG_DELETE);
	struct k8s_kind eviction = { .group = "policy", .version = "v1", .kind = "Eviction", .namespaced = true };
	json_t *options, *s;

	if (!w || !api_write_body(r, w))
		return;
	if (!strcmp(jpath_str(w->body, "apiVersion", ""), "policy/v1beta1"))   // of old clients
		eviction.version = "v1beta1";
	if (!is_about(r, w, &eviction))
		return;
	options = json_object_get(w->body, "deleteOptions");
	s = json_is_object(options) ? delete_options_check(options) : NULL;
	if (s) {
		reply_status(r, s);
		return;
	}
	w->reg.delete_options = options;
	w->reply = reply_created;
	api_write_run(r, w);
}

/* --- pods/ephemeralcontainers, namespaces/finalize: a part of the object from the body or a patch --- */

static json_t *make_finalized(struct reg_write *reg, const json_t *cur, json_t **next)
{
	struct api_write *w = reg->user;
	json_t *finalizers = jpath_get(w->body, "spec.finalizers");

	*next = json_deep_copy(cur);
	if (!*next || jpath_set(*next, "spec.finalizers", finalizers ? json_incref(finalizers) : json_array()))
		return status_errno(-ENOMEM);
	return NULL;
}

static void finalize_namespace(struct request *r, const struct k8s_kind *k)
{
	struct api_write *w = api_write_new(r, k, REG_UPDATE);

	if (!w || !api_write_body(r, w))
		return;
	w->reg.make = make_finalized;
	api_write_run(r, w);
}

/* --- the table --- */

static const struct {
	const char *resource, *subresource, *verb;   // resource NULL: of any built-in kind that has it
	void (*serve)(struct request *r, const struct k8s_kind *k);
} rows[] = {
	{ "pods", "binding", "create", bind_pod },
	{ "pods", "eviction", "create", evict_pod },
	{ "pods", "ephemeralcontainers", "get", api_get },
	{ "pods", "ephemeralcontainers", "update", api_update },
	{ "pods", "ephemeralcontainers", "patch", api_patch },
	{ "pods", "resize", "get", api_get },
	{ "pods", "resize", "update", api_update },
	{ "pods", "resize", "patch", api_patch },
	{ "pods", "log", "get", pod_log },
	{ "pods", "exec", "get", pod_exec },
	{ "pods", "exec", "create", pod_exec },
	{ "pods", "attach", "get", pod_attach },
	{ "pods", "attach", "create", pod_attach },
	{ "pods", "portforward", "get", pod_port_forward },
	{ "pods", "portforward", "create", pod_port_forward },
	{ "serviceaccounts", "token", "create", service_token_create },
	{ "certificatesigningrequests", "approval", "get", api_get },
	{ "certificatesigningrequests", "approval", "update", api_update },
	{ "certificatesigningrequests", "approval", "patch", api_patch },
	{ NULL, "scale", "get", scale_get },
	{ NULL, "scale", "update", scale_update },
	{ NULL, "scale", "patch", scale_patch },
	{ "namespaces", "finalize", "update", finalize_namespace },
};

bool api_subresource(struct request *r, const struct k8s_kind *k)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if ((!rows[i].resource || (!k->custom && !strcmp(rows[i].resource, k->plural))) &&
		    !strcmp(rows[i].subresource, r->route.subresource) && !strcmp(rows[i].verb, r->route.verb)) {
			rows[i].serve(r, k);
			return true;
		}
	return false;
}
