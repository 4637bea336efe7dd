// SPDX-License-Identifier: Apache-2.0
// Who may use the kubelet API: who asks is proven by a certificate of the client CA or by a token that the API server knows;
// what they may is the API server's to say (struct streaming_auth_ops), but for the group system:masters. Everyone else is
// refused, whatever the request.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/log.h"
#include "streaming_internal.h"

/* Without an API server to ask (in tests), these may. */
static const char *const users[] = {"kube-apiserver-kubelet-client", "system:kube-apiserver", "kube-apiserver"};

/* The index'th value of an attribute of the subject. False: there is none. A value with a NUL inside is none. */
static bool subject(gnutls_x509_crt_t crt, const char *oid, unsigned index, char name[AUTH_NAME_MAX])
{
	size_t len = AUTH_NAME_MAX;
	if (gnutls_x509_crt_get_dn_by_oid(crt, oid, index, 0, name, &len))
		return false;
	return strnlen(name, AUTH_NAME_MAX) == len;
}

/* The user of a certificate; new reference, NULL: it names nobody. */
static json_t *certificate_user(gnutls_x509_crt_t crt)
{
	char name[AUTH_NAME_MAX];
	json_t *groups = json_array();
	for (unsigned i = 0; i < 64 && subject(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, i, name); i++)
		json_array_append_new(groups, json_string(name));
	json_array_append_new(groups, json_string("system:authenticated"));
	if (!subject(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name))
		strcpy(name, "");
	return json_pack("{s:s, s:o}", "username", name, "groups", groups);
}

/* 0 and *user, NULL: no certificate was shown; else 401. */
static unsigned by_certificate(struct MHD_Connection *c, json_t **user)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	gnutls_session_t tls = info ? info->tls_session : NULL;
	gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT};
	unsigned status = 0, count = 0;
	gnutls_x509_crt_t crt;
	*user = NULL;
	const gnutls_datum_t *chain = tls ? gnutls_certificate_get_peers(tls, &count) : NULL;
	if (!chain || !count)
		return 0;
	if (gnutls_certificate_verify_peers(tls, &purpose, 1, &status) || status || gnutls_x509_crt_init(&crt))
		return MHD_HTTP_UNAUTHORIZED;
	if (!gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER))
		*user = certificate_user(crt);
	gnutls_x509_crt_deinit(crt);
	return *user ? 0 : MHD_HTTP_UNAUTHORIZED;
}

static unsigned by_token(struct streaming *s, struct MHD_Connection *c, json_t **user)
{
	const char *header = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
	if (!header || strncasecmp(header, "Bearer ", 7) || !s->auth)
		return MHD_HTTP_UNAUTHORIZED;
	header += 7 + strspn(header + 7, " ");
	int rc = s->auth->authenticate(s->auth_ctx, header, user);
	return rc == -EACCES ? MHD_HTTP_UNAUTHORIZED : rc ? MHD_HTTP_INTERNAL_SERVER_ERROR : 0;
}

static bool in_group(const json_t *user, const char *group)
{
	size_t i;
	json_t *g;
	json_array_foreach(json_object_get(user, "groups"), i, g)
		if (json_is_string(g) && !strcmp(json_string_value(g), group))
			return true;
	return false;
}

static const char *verb_of(const char *method)
{
	static const char *const verbs[][2] = {{"POST", "create"}, {"PUT", "update"}, {"PATCH", "patch"}, {"DELETE", "delete"}};
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		if (!strcmp(method, verbs[i][0]))
			return verbs[i][1];
	return "get";
}

/* Which part of the node a path is, as RBAC knows it. */
static const char *part_of(const char *path)
{
	static const char *const parts[][2] = {{"/stats", "stats"}, {"/metrics", "metrics"}, {"/logs", "log"}};
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		size_t n = strlen(parts[i][0]);
		if (!strncmp(path, parts[i][0], n) && (!path[n] || path[n] == '/'))
			return parts[i][1];
	}
	return "proxy";
}

static unsigned allowed(struct streaming *s, const json_t *user, const char *name, const char *method, const char *path)
{
	if (in_group(user, "system:masters"))
		return 0;
	if (s->auth) {
		int rc = s->auth->authorize(s->auth_ctx, user, verb_of(method), part_of(path));
		return rc == -EACCES ? MHD_HTTP_FORBIDDEN : rc ? MHD_HTTP_INTERNAL_SERVER_ERROR : 0;
	}
	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++)
		if (!strcmp(name, users[i]))
			return 0;
	return MHD_HTTP_FORBIDDEN;
}

unsigned streaming_authorize(struct streaming *s, struct MHD_Connection *c, const char *method, const char *path,
			     char name[AUTH_NAME_MAX])
{
	json_t *user = NULL;
	strcpy(name, "(anonymous)");
	unsigned code = by_certificate(c, &user);
	if (!code && !user)
		code = by_token(s, c, &user);
	if (!code) {
		const char *text = json_string_value(json_object_get(user, "username"));
		snprintf(name, AUTH_NAME_MAX, "%s", text && *text ? text : "(no name)");
		code = allowed(s, user, name, method, path);
	}
	json_decref(user);
	return code;
}
