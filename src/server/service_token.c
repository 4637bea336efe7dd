// SPDX-License-Identifier: Apache-2.0
#include "server/service_token.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/schema.h"
#include "k8s/schema_types.h"
#include "server/api.h"
#include "server/jwt.h"
#include "server/meta.h"
#include "server/negotiate.h"
#include "server/registry.h"
#include "server/status.h"

#define SECONDS_DEFAULT 3600
#define SECONDS_MIN 600
#define SECONDS_MAX (1ll << 32)
/* What pods ask for by themselves, and how long such tokens count in truth: programs that never read the file again live on. */
#define SECONDS_OF_PODS 3607
#define SECONDS_EXTENDED (365 * 24 * 3600ll)
#define USER_PREFIX "system:serviceaccount:"

static json_t *load(struct server *srv, const char *plural, const char *ns, const char *name)
{
	const struct k8s_kind *k = k8s_kind_find("", "v1", plural);
	char key[REG_KEY_MAX];
	own_obj struct obj *o = store_get(srv->store, reg_key(k, ns, name, key));

	return o ? obj_json(o) : NULL;
}

static json_t *reference(const json_t *obj)
{
	return json_pack("{s:s,s:s}", "name", jpath_str(obj, "metadata.name", ""), "uid", jpath_str(obj, "metadata.uid", ""));
}

/* --- making --- */

struct ask {
	struct server *srv;
	const char *ns, *name;           // of the account
	json_t *account, *bound, *node;  // owned; bound: the pod or Secret; node: the pod's, or itself what the token is bound to
	const char *bound_as;            // "pod", "secret"; NULL: none
	json_t *spec;                    // borrowed
	long long seconds, real_seconds;
};

static json_t *check_seconds(struct ask *a)
{
	const char *why = NULL;
	char text[128];

	a->seconds = jpath_int(a->spec, "expirationSeconds", SECONDS_DEFAULT);
	if (a->seconds < SECONDS_MIN)
		why = "may not specify a duration less than 10 minutes";
	else if (a->seconds > SECONDS_MAX)
		why = "may not specify a duration larger than 2^32 seconds";
	a->real_seconds = a->seconds;
	if (!why)
		return NULL;
	snprintf(text, sizeof text, "Invalid value: %lld: %s", a->seconds, why);
	return status_cause(status_new(422, "Invalid", "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: %s", text),
			    "FieldValueInvalid", text, "spec.expirationSeconds");
}

static const struct { const char *kind, *plural, *as; } bindable[] = {
	{ "Pod", "pods", "pod" }, { "Secret", "secrets", "secret" }, { "Node", "nodes", "node" },
};

/* What the token shall end with. */
static json_t *find_bound(struct ask *a, const struct k8s_kind *k)
{
	json_t *ref = json_object_get(a->spec, "boundObjectRef"), *obj;
	const char *kind = jpath_str(ref, "kind", ""), *name = jpath_str(ref, "name", ""), *uid = jpath_str(ref, "uid", "");
	const char *version = jpath_str(ref, "apiVersion", "");
	size_t i = 0, n = sizeof bindable / sizeof *bindable;
	char why[512];

	if (!ref)
		return NULL;
	while (i < n && strcmp(bindable[i].kind, kind))
		i++;
	if (i == n || strchr(version, '/'))
		return status_bad_request("cannot bind token to object of type %s%.64s, Kind=%.64s", strchr(version, '/') ? "" : "/", version,
					  kind);
	obj = load(a->srv, bindable[i].plural, a->ns, name);
	if (!obj)
		return status_not_found(k8s_kind_find("", "v1", bindable[i].plural), name);
	if (!strcmp(bindable[i].as, "node"))
		a->node = obj;
	else
		a->bound = obj;
	a->bound_as = a->bound ? bindable[i].as : NULL;
	if (*uid && strcmp(uid, jpath_str(obj, "metadata.uid", ""))) {
		snprintf(why, sizeof why, "the UID in the bound object reference (%.64s) does not match the UID in record. The object might "
			 "have been deleted and then recreated", uid);
		return status_conflict(k, a->name, why);
	}
	if (a->bound_as && !strcmp(a->bound_as, "pod") && strcmp(jpath_str(obj, "spec.serviceAccountName", ""), a->name))
		return status_bad_request("cannot bind token for serviceaccount \"%s\" to pod running with different serviceaccount name.",
					  a->name);
	return NULL;
}

/* A node gets tokens of its own pods only. */
static json_t *check_node(const struct ask *a, const struct k8s_kind *k, const struct identity *who)
{
	if (!identity_in(who, "system:nodes") || strncmp(who->name, "system:node:", 12))
		return NULL;
	if (!a->bound_as || strcmp(a->bound_as, "pod") || !*jpath_str(a->spec, "boundObjectRef.uid", ""))
		return status_forbidden(k, a->name, "node requested token not bound to a pod");
	if (strcmp(jpath_str(a->bound, "spec.nodeName", ""), who->name + 12))
		return status_forbidden(k, a->name, "node requested token bound to a pod scheduled on a different node");
	return NULL;
}

static bool is_for_api(const json_t *audiences)
{
	return json_array_size(audiences) == 1 && !strcmp(json_string_value(json_array_get(audiences, 0)), TOKEN_ISSUER);
}

static json_t *private_claims(const struct ask *a, json_int_t now)
{
	json_t *c = json_pack("{s:s,s:o}", "namespace", a->ns, "serviceaccount", reference(a->account));

	if (a->bound_as)
		json_object_set_new(c, a->bound_as, reference(a->bound));
	if (a->node)
		json_object_set_new(c, "node", reference(a->node));
	if (a->real_seconds != a->seconds)
		json_object_set_new(c, "warnafter", json_integer(now + a->seconds));
	return c;
}

static json_t *claims_of(struct ask *a, json_int_t now)
{
	json_t *audiences = json_object_get(a->spec, "audiences");
	char sub[600], jti[37];

	if (a->seconds == SECONDS_OF_PODS && a->bound_as && !strcmp(a->bound_as, "pod") && is_for_api(audiences))
		a->real_seconds = SECONDS_EXTENDED;
	snprintf(sub, sizeof sub, USER_PREFIX "%s:%s", a->ns, a->name);
	return json_pack("{s:O,s:I,s:I,s:s,s:s,s:o,s:I,s:s}", "aud", audiences, "exp", now + (json_int_t)a->real_seconds, "iat", now,
			 "iss", TOKEN_ISSUER, "jti", meta_uid(jti), "kubernetes.io", private_claims(a, now), "nbf", now, "sub", sub);
}

static json_t *answer(struct ask *a, json_t *request)
{
	json_int_t now = time(NULL);
	own_json json_t *claims = claims_of(a, now);
	own_free char *token = claims ? jwt_sign(a->srv->token_key, claims) : NULL;
	char created[40], expires[CLOCK_TEXT_MAX];

	if (!token)
		return status_internal("the token could not be signed");
	json_object_set_new(request, "metadata", json_pack("{s:s,s:s,s:s}", "name", a->name, "namespace", a->ns, "creationTimestamp",
							   meta_now(created)));
	json_object_set_new(a->spec, "expirationSeconds", json_integer(a->seconds));
	json_object_set_new(request, "status", json_pack("{s:s,s:s}", "token", token, "expirationTimestamp",
							 clock_text((uint64_t)(now + a->seconds) * NS_PER_S, 0, expires)));
	return NULL;
}

static json_t *grant(struct ask *a, const struct request *r, const struct k8s_kind *k, json_t *request)
{
	struct err e = ERR_INIT;
	json_t *s;

	if (k8s_decode_schema(&k8s_authentication_TokenRequest, "v1", "TokenRequest", request, NULL, &e))
		return status_bad_request("%s", e.text);
	a->spec = json_object_get(request, "spec");
	if (!a->spec && !json_object_set_new(request, "spec", json_object()))
		a->spec = json_object_get(request, "spec");
	if (!json_array_size(json_object_get(a->spec, "audiences")))
		json_object_set_new(a->spec, "audiences", json_pack("[s]", TOKEN_ISSUER));
	json_object_set_new(request, "kind", json_string("TokenRequest"));
	json_object_set_new(request, "apiVersion", json_string("authentication.k8s.io/v1"));
	a->account = load(a->srv, "serviceaccounts", a->ns, a->name);
	if (!a->account)
		return status_not_found(k, a->name);
	s = check_seconds(a);
	if (!s)
		s = find_bound(a, k);
	if (!s)
		s = check_node(a, k, r->who);
	if (!s && a->bound_as && *jpath_str(a->bound, "spec.nodeName", ""))
		a->node = load(a->srv, "nodes", "", jpath_str(a->bound, "spec.nodeName", ""));
	return s ? s : answer(a, request);
}

void service_token_create(struct request *r, const struct k8s_kind *k)
{
	struct ask a = { .srv = r->srv, .ns = r->route.ns, .name = r->route.name };
	own_json json_t *request = NULL;
	json_t *s = body_parse(request_header(r, "Content-Type"), r->body.data, r->body.len, &request, NULL);

	if (!s && !json_is_object(request))
		s = status_bad_request("the body of the request must be a TokenRequest");
	if (!s)
		s = grant(&a, r, k, request);
	if (s)
		reply_status(r, s);
	else
		reply_json(r, 201, json_incref(request));
	json_decref(a.account);
	json_decref(a.bound);
	json_decref(a.node);
}

/* --- checking --- */

/* Those of wanted that the token is for. NULL: none. */
static json_t *common_audiences(const json_t *claims, const json_t *wanted)
{
	json_t *have = json_object_get(claims, "aud"), *found = json_array(), *w, *h;
	size_t i, j;

	json_array_foreach((json_t *)wanted, i, w)
		json_array_foreach(have, j, h)
			if (json_is_string(h) && json_equal(w, h)) {
				json_array_append(found, w);
				break;
			}
	if (json_array_size(found))
		return found;
	json_decref(found);
	return NULL;
}

static const char *check_times(const json_t *claims)
{
	long long now = time(NULL);

	if (strcmp(jpath_str(claims, "iss", ""), TOKEN_ISSUER))
		return "the token is from another issuer";
	if (jpath_int(claims, "exp", 0) <= now)
		return "service account token has expired";
	if (jpath_int(claims, "nbf", 0) > now + 60)
		return "service account token is not valid yet";
	return NULL;
}

/* An object that the token names must still be the same one. */
static bool still_there(struct server *srv, const char *plural, const char *ns, const json_t *ref)
{
	own_json json_t *obj = load(srv, plural, ns, jpath_str(ref, "name", ""));

	return obj && !strcmp(jpath_str(obj, "metadata.uid", ""), jpath_str(ref, "uid", "-"));
}

static void add_extra(json_t *extra, const char *key, const char *value)
{
	if (*value)
		json_object_set_new(extra, key, json_pack("[s]", value));
}

static struct identity *identity_of(const json_t *claims, const json_t *private, const char *ns)
{
	char name[600], group[300], jti[64];
	const char *groups[] = { "system:serviceaccounts", group, NULL };
	const char *account = jpath_str(private, "serviceaccount.name", "");
	struct identity *who;

	snprintf(name, sizeof name, USER_PREFIX "%s:%s", ns, account);
	snprintf(group, sizeof group, "system:serviceaccounts:%s", ns);
	snprintf(jti, sizeof jti, "JTI=%.40s", jpath_str(claims, "jti", ""));
	if (strcmp(name, jpath_str(claims, "sub", "")))
		return NULL;
	who = identity_new(name, jpath_str(private, "serviceaccount.uid", ""), groups);
	if (!who)
		return NULL;
	who->extra = json_object();
	add_extra(who->extra, "authentication.kubernetes.io/credential-id", jti);
	add_extra(who->extra, "authentication.kubernetes.io/node-name", jpath_str(private, "node.name", ""));
	add_extra(who->extra, "authentication.kubernetes.io/node-uid", jpath_str(private, "node.uid", ""));
	add_extra(who->extra, "authentication.kubernetes.io/pod-name", jpath_str(private, "pod.name", ""));
	add_extra(who->extra, "authentication.kubernetes.io/pod-uid", jpath_str(private, "pod.uid", ""));
	return who;
}

static const char *check_objects(struct server *srv, const json_t *private, const char *ns)
{
	json_t *pod = json_object_get(private, "pod"), *secret = json_object_get(private, "secret");

	if (!still_there(srv, "serviceaccounts", ns, json_object_get(private, "serviceaccount")))
		return "service account token has been invalidated: its account is gone";
	if ((pod && !still_there(srv, "pods", ns, pod)) || (secret && !still_there(srv, "secrets", ns, secret)))
		return "service account token has been invalidated: what it was bound to is gone";
	if (!pod && !secret && json_object_get(private, "node") && !still_there(srv, "nodes", "", json_object_get(private, "node")))
		return "service account token has been invalidated: the node it was bound to is gone";
	return NULL;
}

struct identity *service_token_identity(struct server *srv, const char *token, const json_t *audiences, json_t **accepted,
					const char **why)
{
	own_json json_t *claims = jwt_verify(srv->token_key, token), *api = NULL, *common = NULL;
	const json_t *private = json_object_get(claims, "kubernetes.io");
	const char *ns = jpath_str(private, "namespace", "");
	struct identity *who;

	*why = claims ? check_times(claims) : "invalid bearer token";
	if (*why)
		return NULL;
	api = json_pack("[s]", TOKEN_ISSUER);
	common = common_audiences(claims, json_array_size(audiences) ? audiences : api);
	*why = common ? check_objects(srv, private, ns) : "token audiences are not among those asked for";
	if (*why)
		return NULL;
	who = identity_of(claims, private, ns);
	if (!who)
		*why = "the token's claims contradict each other";
	else if (accepted)
		*accepted = take(common);
	return who;
}

/* --- for others --- */

static void reply_configuration(struct request *r)
{
	char uri[300];

	snprintf(uri, sizeof uri, strchr(r->srv->advertise, ':') ? "https://[%s]:%d/openid/v1/jwks" : "https://%s:%d/openid/v1/jwks",
		 r->srv->advertise, r->srv->port);
	reply_json(r, 200, json_pack("{s:s,s:s,s:[s],s:[s],s:[s]}", "issuer", TOKEN_ISSUER, "jwks_uri", uri, "response_types_supported",
				     "id_token", "subject_types_supported", "public", "id_token_signing_alg_values_supported", "ES256"));
}

bool service_token_documents(struct request *r)
{
	bool configuration = !strcmp(r->route.path, "/.well-known/openid-configuration");

	if (!configuration && strcmp(r->route.path, "/openid/v1/jwks"))
		return false;
	if (strcmp(r->route.verb, "get"))
		return false;
	if (configuration)
		reply_configuration(r);
	else
		reply_json(r, 200, jwt_key_set(r->srv->token_key));
	return true;
}
