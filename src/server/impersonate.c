// SPDX-License-Identifier: Apache-2.0
#include "server/impersonate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "k8s/kind.h"
#include "server/audit.h"
#include "server/auth.h"
#include "server/status.h"

#define GROUPS_MAX 60

struct asked {
	const char *user, *uid, *groups[GROUPS_MAX + 4];
	size_t group_count;
	bool other;      // a header that is not supported
};

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct asked *a = cls;

	(void)kind;
	if (strncasecmp(name, "Impersonate-", 12) || !value)
		return MHD_YES;
	if (!strcasecmp(name, "Impersonate-User"))
		a->user = value;
	else if (!strcasecmp(name, "Impersonate-Uid"))
		a->uid = value;
	else if (!strcasecmp(name, "Impersonate-Group") && a->group_count < GROUPS_MAX)
		a->groups[a->group_count++] = value;
	else
		a->other = true;
	return MHD_YES;
}

static json_t *check(const struct request *r, const char *group, const char *resource, const char *ns, const char *name)
{
	const struct auth_ask ask = { .verb = "impersonate", .group = group, .resource = resource, .subresource = "", .ns = ns,
				      .name = name };
	struct k8s_kind k = { .group = group, .plural = resource };
	char why[512];

	if (auth_allowed(r->srv, r->who, &ask))
		return NULL;
	snprintf(why, sizeof why, "User \"%.200s\" cannot impersonate resource \"%s\" in API group \"%s\" at the cluster scope",
		 r->who->name, resource, group);
	return status_forbidden(&k, name, why);
}

/* "system:serviceaccount:NS:NAME": its namespace and name. */
static bool split_account(const char *user, char ns[256], const char **name)
{
	const char *colon;

	if (strncmp(user, "system:serviceaccount:", 22) || !(colon = strchr(user + 22, ':')) || colon - user - 22 > 255)
		return false;
	snprintf(ns, 256, "%.*s", (int)(colon - user - 22), user + 22);
	*name = colon + 1;
	return true;
}

static json_t *check_all(const struct request *r, const struct asked *a)
{
	const char *account;
	char ns[256];
	json_t *s;

	if (split_account(a->user, ns, &account))
		s = check(r, "", "serviceaccounts", ns, account);
	else
		s = check(r, "", "users", "", a->user);
	for (size_t i = 0; i < a->group_count && !s; i++)
		s = check(r, "", "groups", "", a->groups[i]);
	if (!s && a->uid)
		s = check(r, "authentication.k8s.io", "uids", "", a->uid);
	return s;
}

static enum MHD_Result on_name(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	bool *asked = cls;

	(void)kind;
	(void)value;
	*asked |= !strncasecmp(name, "Impersonate-", 12);
	return *asked ? MHD_NO : MHD_YES;
}

bool impersonate_asked(const struct request *r)
{
	bool asked = false;

	MHD_get_connection_values(r->conn, MHD_HEADER_KIND, on_name, &asked);
	return asked;
}

json_t *impersonate(struct request *r)
{
	struct asked a = { 0 };
	const char *account;
	char ns[256], group[300];
	struct identity *who;
	json_t *s;

	MHD_get_connection_values(r->conn, MHD_HEADER_KIND, on_header, &a);
	if (!a.user || a.other)
		return status_bad_request("impersonation takes Impersonate-User, with at most %d Impersonate-Group and one Impersonate-Uid; "
					  "extra fields are not supported", GROUPS_MAX);
	s = check_all(r, &a);
	if (s)
		return s;
	if (!a.group_count && split_account(a.user, ns, &account)) {
		snprintf(group, sizeof group, "system:serviceaccounts:%s", ns);
		a.groups[a.group_count++] = "system:serviceaccounts";
		a.groups[a.group_count++] = group;
	}
	who = identity_new(a.user, a.uid ? a.uid : "", a.groups);
	if (!who)
		return status_errno(-ENOMEM);
	identity_free(r->token_who);
	r->token_who = who;
	r->who = who;
	audit_impersonated(r);
	return NULL;
}
