// SPDX-License-Identifier: Apache-2.0
#include "server/auth.h"

#include <gnutls/x509.h>
#include <string.h>

#include "server/node_auth.h"
#include "server/rbac.h"

#define CHAIN_MAX 8

static struct identity *verify_chain(const gnutls_datum_t *certs, unsigned n, gnutls_x509_trust_list_t trust)
{
	gnutls_typed_vdata_st purpose = { .type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (void *)GNUTLS_KP_TLS_WWW_CLIENT };
	gnutls_x509_crt_t chain[CHAIN_MAX];
	struct identity *who = NULL;
	unsigned made = 0, status = 1;

	if (n > CHAIN_MAX)
		n = CHAIN_MAX;
	for (; made < n; made++) {
		if (gnutls_x509_crt_init(&chain[made]) < 0)
			break;
		if (gnutls_x509_crt_import(chain[made], &certs[made], GNUTLS_X509_FMT_DER) < 0) {
			gnutls_x509_crt_deinit(chain[made]);
			break;
		}
	}
	if (made == n && gnutls_x509_trust_list_verify_crt2(trust, chain, n, &purpose, 1, 0, &status, NULL) >= 0 && !status)
		who = identity_from_certificate(chain[0]);
	while (made)
		gnutls_x509_crt_deinit(chain[--made]);
	return who;
}

struct identity *auth_session(gnutls_session_t session, gnutls_x509_trust_list_t trust, bool *invalid)
{
	unsigned n = 0;
	const gnutls_datum_t *certs = gnutls_certificate_get_peers(session, &n);
	struct identity *who;

	*invalid = false;
	if (!certs || !n)
		return NULL;
	who = verify_chain(certs, n, trust);
	*invalid = !who;
	return who;
}

/* --- what is allowed --- */

static const char *const public_paths[] = { "/healthz", "/livez", "/readyz", "/version", "/version/" };
static const char *const discovery_paths[] = { "/api", "/apis", "/openapi", "/healthz", "/livez", "/readyz", "/version" };

struct auth_ask auth_ask_of(const struct route *r)
{
	return (struct auth_ask){ .verb = r->verb, .group = r->group, .resource = r->resource, .subresource = r->subresource,
				  .ns = r->ns, .name = r->name, .path = r->is_resource ? NULL : r->path };
}

static bool public_path(const struct auth_ask *a)
{
	for (size_t i = 0; i < sizeof public_paths / sizeof *public_paths; i++)
		if (!strcmp(a->path, public_paths[i]))
			return true;
	return false;
}

static bool discovery_path(const struct auth_ask *a)
{
	for (size_t i = 0; i < sizeof discovery_paths / sizeof *discovery_paths; i++) {
		size_t n = strlen(discovery_paths[i]);
		if (!strncmp(a->path, discovery_paths[i], n) && (!a->path[n] || a->path[n] == '/'))
			return true;
	}
	return false;
}

static bool open_path(const struct identity *who, const struct auth_ask *a)
{
	if (!a->path || (strcmp(a->verb, "get") && strcmp(a->verb, "head")))
		return false;
	return public_path(a) || (identity_in(who, "system:authenticated") && discovery_path(a));
}

bool auth_allowed_why(struct server *srv, const struct identity *who, const struct auth_ask *a, char *why)
{
	if (why)
		*why = '\0';
	if (identity_in(who, "system:masters") || open_path(who, a))
		return true;
	if (node_auth_is_node(who) && node_auth_allows(srv, who, a))
		return true;
	return srv && srv->rbac && rbac_allows(srv->rbac, who, a, why);
}

bool auth_allowed(struct server *srv, const struct identity *who, const struct auth_ask *a)
{
	return auth_allowed_why(srv, who, a, NULL);
}
