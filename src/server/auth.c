// SPDX-License-Identifier: Apache-2.0
#include "server/auth.h"

#include <gnutls/x509.h>
#include <string.h>

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

struct rule {
	const char *verbs;       // space-separated; "*": all
	const char *group;
	const char *resources;   // "pods pods/status"; "*": all
};

/* What a host does (upstream: ClusterRole system:node). */
static const struct rule node_rules[] = {
	{ "get list watch", "", "services pods nodes configmaps secrets persistentvolumes persistentvolumeclaims endpoints" },
	{ "create get update patch delete", "", "nodes" },
	{ "get update patch", "", "nodes/status pods/status persistentvolumeclaims/status" },
	{ "create delete", "", "pods" },
	{ "create", "", "pods/eviction serviceaccounts/token" },
	{ "create update patch", "", "events" },
	{ "create update patch", "events.k8s.io", "events" },
	{ "get create update patch delete list watch", "coordination.k8s.io", "leases" },
	{ "get list watch create update patch delete", "storage.k8s.io", "csinodes" },
	{ "get list watch", "storage.k8s.io", "volumeattachments csidrivers" },
	{ "get list watch", "node.k8s.io", "runtimeclasses" },
	{ "create", "authentication.k8s.io", "tokenreviews" },
	{ "create", "authorization.k8s.io", "subjectaccessreviews localsubjectaccessreviews" },
	{ "create get list watch", "certificates.k8s.io", "certificatesigningrequests" },
};

static const char *const public_paths[] = { "/healthz", "/livez", "/readyz", "/version", "/version/" };
static const char *const discovery_paths[] = { "/api", "/apis", "/openapi", "/healthz", "/livez", "/readyz", "/version" };

static bool has_word(const char *words, const char *word)
{
	size_t n = strlen(word);

	if (!strcmp(words, "*"))
		return true;
	for (const char *p = words; (p = strstr(p, word)); p += n)
		if ((p == words || p[-1] == ' ') && (!p[n] || p[n] == ' '))
			return true;
	return false;
}

static bool rules_allow(const struct rule *rules, size_t n, const struct route *r)
{
	char resource[256];

	if (strlen(r->resource) + strlen(r->subresource) + 2 > sizeof resource)
		return false;
	strcpy(resource, r->resource);
	if (*r->subresource)
		strcat(strcat(resource, "/"), r->subresource);
	for (size_t i = 0; i < n; i++)
		if (!strcmp(rules[i].group, r->group) && has_word(rules[i].verbs, r->verb) && has_word(rules[i].resources, resource))
			return true;
	return false;
}

static bool public_path(const struct route *r)
{
	if (strcmp(r->method, "GET") && strcmp(r->method, "HEAD"))
		return false;
	for (size_t i = 0; i < sizeof public_paths / sizeof *public_paths; i++)
		if (!strcmp(r->path, public_paths[i]))
			return true;
	return false;
}

static bool discovery_path(const struct route *r)
{
	for (size_t i = 0; i < sizeof discovery_paths / sizeof *discovery_paths; i++) {
		size_t n = strlen(discovery_paths[i]);
		if (!strncmp(r->path, discovery_paths[i], n) && (!r->path[n] || r->path[n] == '/'))
			return true;
	}
	return false;
}

bool auth_allowed(const struct identity *who, const struct route *r)
{
	if (identity_in(who, "system:masters"))
		return true;
	if (!r->is_resource)
		return public_path(r) || (identity_in(who, "system:authenticated") && discovery_path(r));
	if (identity_in(who, "system:nodes") && !strncmp(who->name, "system:node:", 12))
		return rules_allow(node_rules, sizeof node_rules / sizeof *node_rules, r);
	return false;
}
