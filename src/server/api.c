// SPDX-License-Identifier: Apache-2.0
#include "server/api.h"

#include <stdio.h>
#include <string.h>

#include "server/api_metrics.h"
#include "server/api_review.h"
#include "server/audit.h"
#include "server/auth.h"
#include "server/backup.h"
#include "server/api_subresource.h"
#include "server/service_token.h"
#include "server/status.h"

static void describe(const struct request *r, char *out, size_t size)
{
	const struct route *t = &r->route;

	if (!t->is_resource) {
		snprintf(out, size, "User \"%.128s\" cannot %s path \"%.256s\"", r->who->name, t->verb, t->path);
		return;
	}
	snprintf(out, size, "User \"%.128s\" cannot %s resource \"%.128s%s%.64s\" in API group \"%.128s\"%s%.128s%s", r->who->name,
		 t->verb, t->resource, *t->subresource ? "/" : "", t->subresource, t->group,
		 *t->ns ? " in the namespace \"" : " at the cluster scope", t->ns, *t->ns ? "\"" : "");
}

static json_t *forbidden(const struct request *r)
{
	const struct route *t = &r->route;
	struct k8s_kind k = { .group = t->group, .plural = t->resource };
	char why[1024];

	describe(r, why, sizeof why);
	if (t->is_resource)
		return status_forbidden(&k, t->name, why);
	return status_new(403, "Forbidden", "forbidden: %s", why);
}

json_t *api_refusal(struct request *r)
{
	struct auth_ask ask = auth_ask_of(&r->route);
	char why[AUTH_WHY_MAX] = "";
	bool allowed;

	if (r->srv->stopping)
		return status_new(503, "ServiceUnavailable", "the server is shutting down");
	allowed = auth_allowed_why(r->srv, r->who, &ask, r->audit ? why : NULL);
	audit_decided(r, allowed, why);
	return allowed ? NULL : forbidden(r);
}

bool api_accept(struct request *r, struct accept *a)
{
	if (!accept_parse(request_header(r, "Accept"), a))
		return true;
	reply_status(r, status_new(406, "NotAcceptable", "only the following media types are accepted: application/json"));
	return false;
}

static void not_found(struct request *r)
{
	reply_status(r, status_new(404, "NotFound", "the server could not find the requested resource"));
}

static void method_not_allowed(struct request *r)
{
	reply_status(r, status_new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"));
}

static const struct {
	const char *verb;
	void (*serve)(struct request *r, const struct k8s_kind *k);
	int named;   // 1: needs a name, 0: must have none, -1: either
} verbs[] = {
	{ "get", api_get, 1 }, { "list", api_list, 0 }, { "watch", api_watch, -1 }, { "create", api_create, 0 },
	{ "update", api_update, 1 }, { "patch", api_patch, 1 }, { "delete", api_delete, 1 },
	{ "deletecollection", api_delete_collection, 0 },
};

static void serve_object(struct request *r, const struct k8s_kind *k)
{
	if (!*r->route.name && (api_review(r, k) || api_bind(r, k)))
		return;
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		if (!strcmp(verbs[i].verb, r->route.verb)) {
			if (!k8s_kind_has_verb(k, r->route.verb))
				break;
			// POST goes to a collection, PUT and PATCH to an object.
			if (verbs[i].named >= 0 && verbs[i].named != !!*r->route.name)
				break;
			verbs[i].serve(r, k);
			return;
		}
	method_not_allowed(r);
}

static void serve_status(struct request *r, const struct k8s_kind *k)
{
	const char *verb = r->route.verb;

	if (!strcmp(verb, "get"))
		api_get(r, k);
	else if (!strcmp(verb, "update"))
		api_update(r, k);
	else if (!strcmp(verb, "patch"))
		api_patch(r, k);
	else
		method_not_allowed(r);
}

static void serve_resource(struct request *r)
{
	const struct route *t = &r->route;
	const struct k8s_kind *k = k8s_kind_find(t->group, t->version, t->resource);

	// Cluster-wide objects are not found below a namespace, and namespaced ones need one for a single object.
	if (!k || (!k->namespaced && *t->ns && strcmp(t->resource, "namespaces")) || (k->namespaced && !*t->ns && *t->name)) {
		not_found(r);
		return;
	}
	if (k->namespaced && !*t->ns && !strcmp(t->verb, "create")) {
		method_not_allowed(r);
		return;
	}
	if (!*t->subresource && api_metrics(r, k))
		return;
	if (!*t->subresource)
		serve_object(r, k);
	else if (!k8s_kind_has_subresource(k, t->subresource))
		not_found(r);
	else if (!strcmp(t->subresource, "status"))
		serve_status(r, k);
	else if (!api_subresource(r, k))
		method_not_allowed(r);
}

void api_serve(struct request *r)
{
	if (r->route.is_resource)
		serve_resource(r);
	else if (!api_health(r) && !api_discovery(r) && !api_openapi(r) && !backup_serve(r) && !service_token_documents(r))
		not_found(r);
}
