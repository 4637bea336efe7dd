// SPDX-License-Identifier: Apache-2.0
#include "server/api_review.h"

#include <errno.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/schema.h"
#include "server/auth.h"
#include "server/bootstrap_token.h"
#include "server/negotiate.h"
#include "server/rbac.h"
#include "server/service_token.h"
#include "server/status.h"

static json_t *user_info(const struct identity *who)
{
	json_t *groups = json_array(), *info = json_pack("{s:s}", "username", who->name);

	for (size_t i = 0; i < who->group_count; i++)
		json_array_append_new(groups, json_string(who->groups[i]));
	if (*who->uid)
		json_object_set_new(info, "uid", json_string(who->uid));
	json_object_set_new(info, "groups", groups);
	if (json_object_size(who->extra))
		json_object_set(info, "extra", who->extra);
	return info;
}

/* The review is not as it must be. */
static json_t *wrong(const struct request *r, const char *field, const char *text)
{
	const char *group = r->route.group;
	json_t *s = status_new(422, "Invalid", ".%s \"\" is invalid: %s: %s", group, field, text);

	status_cause(s, "FieldValueInvalid", text, field);
	json_object_set_new(json_object_get(s, "details"), "group", json_string(group));
	return s;
}

/* --- who --- */

static json_t *review_token(struct request *r, json_t *review)
{
	json_t *audiences = jpath_get(review, "spec.audiences"), *accepted = NULL;
	const char *token = jpath_str(review, "spec.token", ""), *why;
	struct identity *who = !*token ? NULL : bootstrap_token_is(token) ? bootstrap_token_identity(r->srv, token, &why) :
			service_token_identity(r->srv, token, audiences, &accepted, &why);

	if (!*token)
		return status_bad_request("token is required for TokenReview in authentication");
	if (who)
		json_object_set_new(review, "status", json_pack("{s:b,s:o,s:o*}", "authenticated", 1, "user", user_info(who), "audiences",
								accepted));
	else
		json_object_set_new(review, "status", json_pack("{s:{},s:s}", "user", "error", why));
	identity_free(who);
	return NULL;
}

static json_t *review_self(struct request *r, json_t *review)
{
	json_object_set_new(review, "status", json_pack("{s:o}", "userInfo", user_info(r->who)));
	return NULL;
}

/* --- what they may --- */

static json_t *parse_ask(const struct request *r, const json_t *spec, struct auth_ask *a)
{
	json_t *resource = json_object_get(spec, "resourceAttributes"), *other = json_object_get(spec, "nonResourceAttributes");
	const json_t *from = resource ? resource : other;

	if (!resource == !other)
		return wrong(r, "spec.resourceAttributes", "Invalid value: \"null\": exactly one of "
			     "nonResourceAttributes or resourceAttributes must be specified");
	*a = (struct auth_ask){ .verb = jpath_str(from, "verb", ""), .group = jpath_str(from, "group", ""),
				.resource = jpath_str(from, "resource", ""), .subresource = jpath_str(from, "subresource", ""),
				.ns = jpath_str(from, "namespace", ""), .name = jpath_str(from, "name", ""),
				.path = resource ? NULL : jpath_str(other, "path", "") };
	return NULL;
}

static json_t *answer_access(struct request *r, json_t *review, const struct identity *who)
{
	struct auth_ask a;
	json_t *s = parse_ask(r, json_object_get(review, "spec"), &a);

	if (!s)
		json_object_set_new(review, "status", json_pack("{s:b}", "allowed", auth_allowed(r->srv, who, &a)));
	return s;
}

static json_t *review_self_access(struct request *r, json_t *review)
{
	return answer_access(r, review, r->who);
}

static json_t *review_access(struct request *r, json_t *review)
{
	json_t *spec = json_object_get(review, "spec"), *groups = json_object_get(spec, "groups"), *g, *s;
	const char *names[64] = { NULL };
	struct identity *who;
	size_t i, n = 0;

	json_array_foreach(groups, i, g)
		if (n < 63 && json_is_string(g))
			names[n++] = json_string_value(g);
	if (!*jpath_str(spec, "user", "") && !n)
		return wrong(r, "spec.user", "Invalid value: \"\": at least one of user or group must be specified");
	who = identity_exact(jpath_str(spec, "user", ""), jpath_str(spec, "uid", ""), names);
	if (!who)
		return status_errno(-ENOMEM);
	s = answer_access(r, review, who);
	identity_free(who);
	return s;
}

static json_t *review_local_access(struct request *r, json_t *review)
{
	const char *ns = jpath_str(review, "spec.resourceAttributes.namespace", "");
	char text[320];

	if (jpath_get(review, "spec.nonResourceAttributes"))
		return wrong(r, "spec.nonResourceAttributes", "Invalid value: \"null\": disallowed on this kind of request");
	snprintf(text, sizeof text, "Invalid value: \"%.250s\": must match metadata.namespace", ns);
	if (strcmp(ns, r->route.ns))
		return wrong(r, "spec.resourceAttributes.namespace", text);
	return review_access(r, review);
}

static json_t *review_self_rules(struct request *r, json_t *review)
{
	const char *ns = jpath_str(review, "spec.namespace", "");
	own_json json_t *all = *ns ? rbac_rules(r->srv->rbac, r->who, ns) : NULL;
	json_t *resource, *other, *rule;
	size_t i;

	if (!*ns)
		return status_bad_request("no namespace on request");
	resource = json_array();
	other = json_array();
	json_array_foreach(all, i, rule)
		json_array_append(json_array_size(json_object_get(rule, "nonResourceURLs")) ? other : resource, rule);
	json_object_set_new(review, "status", json_pack("{s:b,s:o,s:o}", "incomplete", 0, "resourceRules", resource, "nonResourceRules",
							other));
	return NULL;
}

/* --- the table --- */

static const struct {
	const char *plural;
	json_t *(*answer)(struct request *r, json_t *review);   // sets status; returns NULL or a Status
} rows[] = {
	{ "tokenreviews", review_token },
	{ "selfsubjectreviews", review_self },
	{ "selfsubjectaccessreviews", review_self_access },
	{ "subjectaccessreviews", review_access },
	{ "localsubjectaccessreviews", review_local_access },
	{ "selfsubjectrulesreviews", review_self_rules },
};

static json_t *read_review(struct request *r, const struct k8s_kind *k, json_t **review)
{
	json_t *s = body_parse(request_header(r, "Content-Type"), r->body.data, r->body.len, review, NULL);
	struct err e = ERR_INIT;
	char version[128];

	if (s)
		return s;
	if (k8s_decode(k, *review, NULL, &e))
		return status_bad_request("%s", e.text);
	snprintf(version, sizeof version, "%s/%s", k->group, k->version);
	json_object_set_new(*review, "kind", json_string(k->kind));
	json_object_set_new(*review, "apiVersion", json_string(version));
	if (!json_object_get(*review, "metadata"))
		json_object_set_new(*review, "metadata", json_object());
	return NULL;
}

bool api_review(struct request *r, const struct k8s_kind *k)
{
	own_json json_t *review = NULL;
	json_t *s;

	if (strcmp(k->group, "authentication.k8s.io") && strcmp(k->group, "authorization.k8s.io"))
		return false;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (strcmp(rows[i].plural, k->plural) || strcmp(r->route.verb, "create"))
			continue;
		s = read_review(r, k, &review);
		if (!s)
			s = rows[i].answer(r, review);
		if (s)
			reply_status(r, s);
		else
			reply_json(r, 201, json_incref(review));
		return true;
	}
	return false;
}
