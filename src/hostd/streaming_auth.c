// SPDX-License-Identifier: Apache-2.0
// Who may use the kubelet API: holders of a certificate of the client CA that are in the group system:masters, or are
// the API server's own kubelet client. Everyone else is refused, whatever the request.
#include <string.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/log.h"
#include "streaming_internal.h"

static const char *const users[] = {"kube-apiserver-kubelet-client", "system:kube-apiserver", "kube-apiserver"};
static const char *const groups[] = {"system:masters"};

static bool listed(const char *name, const char *const list[], size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(name, list[i]))
			return true;
	return false;
}

/* The index'th value of an attribute of the subject. False: there is none. A value with a NUL inside is none. */
static bool subject(gnutls_x509_crt_t crt, const char *oid, unsigned index, char name[AUTH_NAME_MAX])
{
	size_t len = AUTH_NAME_MAX;
	if (gnutls_x509_crt_get_dn_by_oid(crt, oid, index, 0, name, &len))
		return false;
	return strnlen(name, AUTH_NAME_MAX) == len;
}

static bool allowed(gnutls_x509_crt_t crt, char user[AUTH_NAME_MAX])
{
	char group[AUTH_NAME_MAX];
	if (!subject(crt, GNUTLS_OID_X520_COMMON_NAME, 0, user))
		strcpy(user, "(no name)");
	else if (listed(user, users, sizeof(users) / sizeof(users[0])))
		return true;
	for (unsigned i = 0; i < 64 && subject(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, i, group); i++)
		if (listed(group, groups, sizeof(groups) / sizeof(groups[0])))
			return true;
	return false;
}

unsigned streaming_authorize(struct MHD_Connection *c, char user[AUTH_NAME_MAX])
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	gnutls_session_t tls = info ? info->tls_session : NULL;
	gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT};
	unsigned status = 0, count = 0;
	gnutls_x509_crt_t crt;
	strcpy(user, "(anonymous)");
	if (!tls)
		return MHD_HTTP_UNAUTHORIZED;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(tls, &count);
	if (!chain || !count || gnutls_certificate_verify_peers(tls, &purpose, 1, &status) || status)
		return MHD_HTTP_UNAUTHORIZED;
	if (gnutls_x509_crt_init(&crt))
		return MHD_HTTP_UNAUTHORIZED;
	unsigned code = MHD_HTTP_UNAUTHORIZED;
	if (!gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER))
		code = allowed(crt, user) ? 0 : MHD_HTTP_FORBIDDEN;
	gnutls_x509_crt_deinit(crt);
	return code;
}
